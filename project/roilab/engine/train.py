"""The training loop, from a config to a trained and evaluated run folder.

It reads as Detectron2's `tools/lazyconfig_train_net.py`: `train` is its do_train,
`evaluate_weights` its do_test, and `Trainer.step` the step of its SimpleTrainer. What there are
hooks for, `TrainingLoop` does after each step: checkpoint, evaluation, log.
"""

import itertools
import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import Tensor, nn

from roilab.cpu.malloc import keep_freed_memory
from roilab.data.loaders import Batch
from roilab.data.sampling import INITIALISATION, STEP, seed_everything
from roilab.device import device_of, dtype_of, memory_used, share_cores
from roilab.engine import build_model, config, distributed, train_state, trusted
from roilab.engine.build_data import build_loader
from roilab.engine.checkpoint import refuse_other_weights
from roilab.engine.preflight import try_step
from roilab.engine.provenance import ConfigSource
from roilab.engine.resume import begin, locked_run, log_resumed, logged_interruption
from roilab.engine.run_folder import Run
from roilab.engine.setup import Setup, limits_note
from roilab.engine.signals import Interrupted, Stop, stop_on_signals
from roilab.engine.train_state import MovingAverage, NonFiniteLoss, TrainState, save_to_resume
from roilab.engine.training_log import log_timings, make_writers, start_logging, timed
from roilab.engine.validate import Losses, evaluate_model, validate
from roilab.errors import UserError
from roilab.evaluation import Evaluation
from roilab.evaluation.ap import Results, flat
from roilab.text import counted

log = logging.getLogger(__name__)


def train(
    setup: Setup,
    *,
    resume: bool = False,
    source: ConfigSource | None = None,
    allow_changed_data: bool = False,
) -> Results:
    """Train, evaluate and leave a complete run folder at `train.output_dir`; returns the AP.

    Args:
        allow_changed_data: resume also where the data are not those that the run was begun with.

    Raises:
        UserError: there is nothing to resume, the folder holds another run, the data have changed,
            a loss is not finite, too many images cannot be read, or the disk is full.
        Interrupted: a signal ended the training; it is saved.
    """
    cfg = setup.cfg
    run = Run(Path(cfg.train.output_dir))
    with train_state.explained(run), locked_run(run, resume=resume), stop_on_signals() as stop:
        checkpoint = begin(setup, run, source, resume=resume, allow_changed=allow_changed_data)
        device = device_of(cfg.train.device)
        if device.type == "cpu":
            share_cores(cfg.dataloader.train.num_workers)
            if cfg.train.cpu_kernels:
                keep_freed_memory()

        seed_everything(cfg.train.seed, INITIALISATION)
        model = build_model.build_model(cfg, training=True)
        try_step(cfg, model, setup.training_set, setup.val)
        weights = build_model.weights_of(cfg)
        if checkpoint is None and weights.source:
            build_model.load_weights(model, weights)

        trainer = Trainer(cfg, model)
        log.info("%s, %s, %s", device, trainer.dtype, counted(torch.get_num_threads(), "thread"))
        state = TrainState()
        if checkpoint is not None:
            state = train_state.load_train_state(checkpoint, trainer)
        if resume:
            log_resumed(run, checkpoint, state.iteration + 1)
        with logged_interruption(run, state, source):
            return TrainingLoop(setup, run, trainer, state, stop).run_to_end()


def build_train_loader(setup: Setup, iteration: int) -> Iterable[Batch]:
    """The batches of a training from an iteration on, `train.accumulate` for each."""
    train = setup.cfg.train
    first = iteration * train.accumulate
    options = {"seed": train.seed, "first": first}
    return build_loader(setup.cfg, "dataloader.train", setup.training_set, **options)


class Trainer:
    """A model with its optimizer, learning-rate schedule, loss scaler and moving average.

    Args:
        model: gives a dict of losses in training mode; has its initial weights.
    """

    def __init__(self, cfg: DictConfig, model: nn.Module) -> None:
        train = cfg.train
        self.model = model
        self.clip_norm = train.clip_norm
        self.seed = train.seed
        self.device = next(model.parameters()).device
        self.dtype = dtype_of(train.precision, self.device)
        self.parallel: Any = distributed.parallel(model)
        self.optimizer = build_model.build_optimizer(cfg, model)
        multiplier = config.build(cfg.lr_multiplier, "lr_multiplier")
        self.schedule = LRMultiplier(self.optimizer, multiplier, train.max_iter)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.ema = None if train.ema is None else MovingAverage(model, train.ema)
        if train.compile:
            build_model.compile_backbone(model)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, of the largest group of parameters."""
        groups = self.optimizer.param_groups
        return max(groups, key=lambda g: sum(p.numel() for p in g["params"]))["lr"]

    def step(self, iteration: int, batches: Sequence[Batch]) -> Losses:
        """One step on the mean gradient of the batches; returns the mean losses by name.

        Losses are means over the processes, too.

        Raises:
            NonFiniteLoss: a loss is not finite; the weights are those before the step.
        """
        build_model.train_mode(self.model)
        self.optimizer.zero_grad()
        sums: Losses = {}
        for number, batch in enumerate(batches):
            # Several processes exchange their gradients once a step, not once a batch.
            waits = number < len(batches) - 1 and self.parallel is not self.model
            with self.parallel.no_sync() if waits else nullcontext():
                losses = self.losses(iteration, number, batch)
                for name, value in self._values(losses).items():
                    sums[name] = sums.get(name, 0.0) + value / len(batches)
                total = torch.stack(list(losses.values())).sum() / len(batches)
                self.scaler.scale(total).backward()

        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.ema is not None:
            self.ema.update(self.model)
        return sums

    def losses(self, iteration: int, number: int, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch by name, also those that are not numbers.

        Args:
            number: of the batch among those of the iteration, from 0; both seed the samples.
        """
        seed_everything(self.seed, STEP, iteration, number, comm.get_rank())
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            try:
                losses = self.parallel(batch)
            except FloatingPointError:  # Detectron2's, where proposals are no finite numbers
                losses = None
        if any(comm.all_gather(losses is None)):
            return {"region proposals": torch.tensor(math.nan, device=self.device)}
        heads = getattr(self.model, "roi_heads", None)
        return distributed.of_whole_batch(losses, getattr(heads, "loss_counts", {}))

    def _values(self, losses: dict[str, Tensor]) -> Losses:
        """The losses as numbers, in one transfer from the device; raises NonFiniteLoss."""
        stacked = torch.stack([value.detach().float() for value in losses.values()])
        values = dict(zip(losses, distributed.mean(stacked).tolist(), strict=True))
        if not all(map(math.isfinite, values.values())):
            raise NonFiniteLoss(values)
        return values

    def state_dict(self) -> dict[str, Any]:
        """All that a step depends on, beside its number and its batches."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state, see `load_train_state`."""
        refuse_other_weights(self.model.state_dict(), state["model"])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        names = ("model", "optimizer", "schedule", "scaler", "ema")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class TrainingLoop:
    """The steps of a training from its state to its end, with what is due after each.

    Args:
        run: the folder for checkpoints, metrics and results.
        state: the progress so far; it is updated.
        stop: ends the loop after the step at hand.
    """

    def __init__(
        self, setup: Setup, run: Run, trainer: Trainer, state: TrainState, stop: Stop
    ) -> None:
        self.cfg = setup.cfg
        self.setup = setup
        self.run = run
        self.trainer = trainer
        self.state = state
        self.stop = stop
        self.main = comm.is_main_process()
        self.first = state.iteration + 1  # iteration of this process
        self.images = len(setup.training_set)
        self.batches = build_train_loader(setup, self.first)
        self.all_end = False  # whether all processes end together
        self.evaluation = Evaluation({}, [], None)  # the last one
        self.ema_results = Results()
        self.timings: dict[str, float] = defaultdict(float)  # seconds, by activity

    def run_to_end(self) -> Results:
        """Train, evaluate, save; returns the AP of the final weights (in the main process)."""
        start = time.perf_counter()
        writers = make_writers(self.run, self.cfg, start=self.first, images=self.images)
        with writers as self.writers, EventStorage(self.first) as self.storage:
            try:
                self._before_train()
                batches = iter(() if self._is_over() else self.batches)
                self._end_if_asked()
                while not self._is_over():
                    self._run_step(batches)
                    self._after_step()
                self._after_train()
                done = self.state.iteration + 1 - self.first
                log_timings(self.timings, done, time.perf_counter() - start)
            except Interrupted:
                if self.state.iteration >= self.first:
                    self._write()
                    self._save(final=self._is_over())
                if self.all_end:
                    comm.synchronize()  # the first process that ends has the others ended
                raise
        return self.evaluation.results

    def _before_train(self) -> None:
        """Make up for an evaluation, or a line of the log, that was cut with the process."""
        logged = (line["iteration"] for line in self.run.metrics() if "total_loss" in line)
        is_cut = self.main and bool(self.state.measured) and self.state.iteration not in logged
        if is_cut:
            self._put_measured()
        if self.state.is_due(self.cfg.train.eval_period) and not self.state.is_evaluated:
            self._evaluate()
        if is_cut:
            self._write_line()

    def _run_step(self, batches: Iterator[Batch]) -> None:
        iteration = self.storage.iter = self.state.iteration + 1
        start = time.perf_counter()
        step_batches = list(itertools.islice(batches, self.cfg.train.accumulate))
        self.state.note_unreadable(step_batches, self.images, self.cfg.train.max_unreadable)
        loaded = time.perf_counter()

        learning_rate = self.trainer.learning_rate
        try:
            losses = self.trainer.step(iteration, step_batches)
        except NonFiniteLoss as error:
            if self.main:
                self._write()
            raise self.state.save_diverged(self.run, self.trainer, step_batches, error) from error
        self.state.iteration = iteration

        end = time.perf_counter()
        self.timings["data"] += loaded - start
        self.timings["steps"] += end - loaded
        if self.main:
            total = sum(losses.values())
            self.state.measured = {**losses, "total_loss": total, "lr": learning_rate}
            self._put_measured()
            self.storage.put_scalars(data_time=loaded - start, time=end - start)

    def _after_step(self) -> None:
        if not self._is_over():
            if self.state.is_due(self.cfg.train.checkpoint_period):
                self._save(final=False)
            self._end_if_asked()
            if self.state.is_due(self.cfg.train.eval_period):
                self._evaluate()
        self._write_line()
        with timed(self.timings, "logging"):
            for writer in self.writers:
                getattr(writer, "step", lambda: None)()

    def _after_train(self) -> None:
        self._save(final=True)
        # The first process alone has results.
        is_missing = any(comm.all_gather(self.main and not self.evaluation.results))
        if is_missing or not self.state.is_evaluated:
            self._evaluate()
        self._write()
        if self.main:
            self.run.close_log()
            self.run.write_evaluation(self.evaluation, self.setup.val.coco_ids)
            if self.trainer.ema is not None:
                self._save_weights("model_final_ema.pth", averaged=True)
                self.run.write_results(self.ema_results, "results_ema.json")

    def _is_over(self) -> bool:
        return self.state.iteration + 1 >= self.cfg.train.max_iter or self._is_stale()

    def _is_stale(self) -> bool:
        patience = self.cfg.train.patience
        return patience is not None and self.state.since_best >= patience

    def _end_if_asked(self) -> None:
        if number := max(comm.all_gather(self.stop.number)):
            self.all_end = True
            raise Interrupted(number)

    def _put_measured(self) -> None:
        self.storage.iter = self.state.iteration
        losses = {name: value for name, value in self.state.measured.items() if name != "lr"}
        self.storage.put_scalar("lr", self.state.measured["lr"], smoothing_hint=False)
        self.storage.put_scalars(**losses)

    def _write_line(self) -> None:
        # The last line also has the last evaluation, which is still to come.
        is_due = self.state.is_due(self.cfg.train.log_period) and not self._is_over()
        if self.state.is_evaluated or is_due:
            self._write()

    def _write(self) -> None:
        with timed(self.timings, "logging"):
            self.storage.put_scalar("memory", memory_used() / 2**30, smoothing_hint=False)
            for writer in self.writers:
                writer.write()

    def _save(self, *, final: bool) -> None:
        if self.main:
            kept = self.cfg.train.checkpoints_kept
            with timed(self.timings, "checkpoints"):
                save_to_resume(self.run, self.trainer, self.state, final=final, kept=kept)

    def _save_weights(self, name: str, *, averaged: bool) -> None:
        ema = self.trainer.ema
        weights = ema.weights if averaged and ema is not None else self.trainer.model.state_dict()
        train_state.save_weights(self.run, name, weights, self.state.iteration)

    def _evaluate(self) -> None:
        """AP and losses of the model, AP of its average; keeps the best, logs the rest."""
        with timed(self.timings, "evaluation"):
            self.storage.iter = max(self.state.iteration, 0)
            self.evaluation, losses = self._validate()
            metrics = {**losses, **flat(self.evaluation.results)}
            metrics["inference_time"] = self.evaluation.seconds
            if self.trainer.ema is not None:
                with self.trainer.ema.in_place_of(self.trainer.model):
                    self.ema_results = self._validate()[0].results
                metrics |= {f"ema/{name}": v for name, v in flat(self.ema_results).items()}
            metrics = comm.all_gather(metrics)[0]  # the first process alone has the AP
            self.state.evaluated = self.state.iteration

            numbers = {name: value for name, value in metrics.items() if value is not None}
            if self.main:
                self.storage.put_scalars(**numbers, smoothing_hint=False)
            self._note_best(metrics)
            ends = ("/AP", "_total_loss")
            shown = [f"{name} {v:.4g}" for name, v in numbers.items() if name.endswith(ends)]
            log.info("after iteration %d: %s", self.state.iteration, ", ".join(shown))

    def _validate(self) -> tuple[Evaluation, Losses]:
        """AP and losses; a signal ends it at once in the first process, and then the others."""
        with self.stop.at_once() if self.main else nullcontext():
            return validate(self.cfg, self.trainer.model, self.setup.val)

    def _note_best(self, metrics: dict[str, float | None]) -> None:
        """Keep the weights where they are the best so far by `train.best`."""
        name = self.cfg.train.best
        if name is None:
            return
        if not self.state.update_best(metrics[name], less_is_better=name.endswith("loss")):
            if self._is_stale():
                log.info("%s has not improved in %d evaluations", name, self.state.since_best)
        elif self.main:
            log.info("%s is the best so far: model_best.pth", name)
            averaged = name.startswith("ema/")
            self._save_weights("model_best.pth", averaged=averaged)
            results = self.ema_results if averaged else self.evaluation.results
            self.run.write_results(results, "results_best.json")


def evaluate_weights(setup: Setup) -> Results:
    """AP of `train.init_checkpoint`; leaves results.json and their meaning at `train.output_dir`.

    Raises:
        UserError: no weights are named, they cannot be loaded, or the folder holds a training.
    """
    cfg = setup.cfg
    run = Run(Path(cfg.train.output_dir))
    weights = build_model.weights_of(cfg)
    if not weights.source:
        raise UserError(
            "there are no weights to evaluate",
            key="train.init_checkpoint",
            found="''",
            expected="a path, a URL, or a name in `weights`",
            remedy="to evaluate a run folder: roilab evaluate run=RUN",
        )
    notes = trusted.allow_own_parts(config.to_plain_data(cfg))
    limits = limits_note(cfg, setup.val)
    if limits:
        notes.append(f"val: {limits}")
    with locked_run(run):
        start_logging(run)
        for note in notes:
            log.warning(note)
        model = build_model.build_model(cfg)
        # Without `may_differ`: all weights that are evaluated have to be the file's.
        build_model.load_weights(model, weights._replace(may_differ=()))
        evaluation = evaluate_model(cfg, model, setup.val)
        if comm.is_main_process():
            run.write_metadata(cfg, setup.val)
            run.write_evaluation(evaluation, setup.val.coco_ids)
        return evaluation.results
