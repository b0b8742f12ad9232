"""The loop of a training: steps, evaluations, checkpoints, and what ends it."""

import contextlib
import functools
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import NoReturn

from detectron2.utils import comm
from detectron2.utils.events import EventStorage, EventWriter
from omegaconf import DictConfig

from roilab.data.dataset import DetectionDataset
from roilab.data.loaders import Batch
from roilab.device import memory_used
from roilab.engine import distributed
from roilab.engine.run_folder import Run
from roilab.engine.signals import Interrupted, Stop
from roilab.engine.train_state import TrainState, save_to_resume, save_train_state, save_weights
from roilab.engine.trainer import NonFiniteLoss, Trainer
from roilab.engine.validate import Losses, validate
from roilab.errors import UserError
from roilab.evaluation import Evaluation
from roilab.evaluation.ap import Results
from roilab.text import counted

log = logging.getLogger(__name__)

BEST, EMA = "model_best.pth", "model_final_ema.pth"


def _counted(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the time of a method of the loop to what it has spent on this."""

    def decorate(method: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(method)
        def counted(self: "Loop", *arguments: object, **keywords: object) -> None:
            start = time.perf_counter()
            try:
                method(self, *arguments, **keywords)
            finally:
                self.spent[what] += time.perf_counter() - start

        return counted

    return decorate


class Loop:
    """From where a training is to its end.

    Args:
        cfg: of the run, as `prepare` leaves it.
        batches: those of the steps to come.
        images: how many the training set has.
        val: what is evaluated on.
        writers: write what the storage holds, in the main process.
    """

    def __init__(
        self,
        cfg: DictConfig,
        run: Run,
        trainer: Trainer,
        progress: TrainState,
        *,
        batches: Iterable[Batch],
        images: int,
        val: DetectionDataset,
        writers: list[EventWriter],
        stop: Stop,
    ) -> None:
        self.cfg, self.run, self.trainer, self.progress = cfg, run, trainer, progress
        self.batches, self.images, self.val = batches, images, val
        self.writers, self.stop = writers, stop
        self.main = comm.is_main_process()
        self.begun = progress.iteration
        self.together = False  # whether all processes end
        self.found = Evaluation({}, [], None)
        self.spent: dict[str, float] = defaultdict(float)  # seconds, by what they went to

    def run_to_end(self) -> Results:
        """Train, evaluate, save; returns the AP of the final weights (in the main process).

        Raises:
            UserError: a loss is not finite, too many images cannot be read, or the disk is full.
            Interrupted: the training was asked to end; it is saved.
        """
        start = time.perf_counter()
        with EventStorage(self.progress.iteration + 1) as self.storage:
            try:
                self._train()
                self._finish()
                self._account(self.progress.iteration - self.begun, time.perf_counter() - start)
            except Interrupted:
                if self.progress.iteration > self.begun:
                    self._write()
                    self._save(final=self._is_over())
                if self.together:
                    comm.synchronize()  # the first process that ends has the others ended
                raise
        return self.found.results

    def _train(self) -> None:
        # An evaluation, or a line of the log, that was cut with the process.
        cut_line = self.main and self._is_line_missing()
        if cut_line:
            self._put_measured()
        if self._due(self.cfg.train.eval_period) and not self._is_evaluated():
            self._evaluate()
        if cut_line:
            self._write_line()
        batches = iter(self.batches) if not self._is_over() else iter(())
        self._heed()
        while not self._is_over():
            self._iterate(batches)

    def _is_over(self) -> bool:
        train, progress = self.cfg.train, self.progress
        return progress.iteration + 1 >= train.max_iter or self._is_stale()

    def _is_stale(self) -> bool:
        patience = self.cfg.train.patience
        return patience is not None and self.progress.since_best >= patience

    def _is_evaluated(self) -> bool:
        return self.progress.evaluated == self.progress.iteration

    def _is_line_missing(self) -> bool:
        """Whether the log has no line of the last step, as a process that was killed leaves it."""
        done = (line["iteration"] for line in self.run.metrics() if "total_loss" in line)
        return bool(self.progress.measured) and self.progress.iteration not in done

    def _due(self, period: int) -> bool:
        done = self.progress.iteration + 1
        return period > 0 and done > 0 and done % period == 0

    def _iterate(self, batches: Iterator[Batch]) -> None:
        """One step, and what is due after it."""
        train, iteration = self.cfg.train, self.progress.iteration + 1
        self.storage.iter = iteration
        start = time.perf_counter()
        taken = list(itertools.islice(batches, train.accumulate))
        self._note_unreadable(taken)
        loaded = time.perf_counter()
        rate = self.trainer.learning_rate
        try:
            losses = self.trainer.step(iteration, taken)
        except NonFiniteLoss as error:
            self._diverged(iteration, taken, error)
        self.progress.iteration = iteration
        now = time.perf_counter()
        self.spent["data"] += loaded - start
        self.spent["steps"] += now - loaded
        if self.main:
            measured = {**losses, "total_loss": sum(losses.values()), "lr": rate}
            self.progress.measured = measured
            self._put_measured()
            self.storage.put_scalars(data_time=loaded - start, time=now - start)
        self._after_step()

    def _put_measured(self) -> None:
        """Put what the last step measured into the storage."""
        self.storage.iter = self.progress.iteration
        smoothed = dict(self.progress.measured)
        self.storage.put_scalar("lr", smoothed.pop("lr"), smoothing_hint=False)
        self.storage.put_scalars(**smoothed)

    def _after_step(self) -> None:
        train = self.cfg.train
        if not self._is_over():
            if self._due(train.checkpoint_period):
                self._save(final=False)
            self._heed()
            if self._due(train.eval_period):
                self._evaluate()
        self._write_line()
        self._show()

    def _write_line(self) -> None:
        """Write the line of the last step where one is due."""
        # The last line also has the last evaluation, which is still to come.
        if self._is_evaluated() or (self._due(self.cfg.train.log_period) and not self._is_over()):
            self._write()

    def _heed(self) -> None:
        """End here if any process was asked to."""
        number = distributed.largest(self.stop.number)
        if number:
            self.together = True
            raise Interrupted(number)

    @_counted("logging")
    def _show(self) -> None:
        for writer in self.writers:
            getattr(writer, "step", lambda: None)()

    @_counted("logging")
    def _write(self) -> None:
        self.storage.put_scalar("memory", memory_used() / 2**30, smoothing_hint=False)
        for writer in self.writers:
            writer.write()

    @_counted("checkpoints")
    def _save(self, *, final: bool) -> None:
        if self.main:
            kept = self.cfg.train.checkpoints_kept
            save_to_resume(self.run, self.trainer, self.progress, final=final, kept=kept)

    @_counted("evaluation")
    def _evaluate(self) -> None:
        """AP and losses of the model, AP of its average; the best is kept, the rest is noted."""
        self.storage.iter = max(self.progress.iteration, 0)
        model, ema = self.trainer.model, self.trainer.ema
        self.found, losses = self._validate()
        metrics = {**losses, **_flat(self.found.results), "inference_time": self.found.seconds}
        self.averaged: Results = {}
        if ema is not None:
            with ema.in_place_of(model):
                averaged, _ = self._validate()
            self.averaged = averaged.results
            metrics |= {f"ema/{name}": value for name, value in _flat(self.averaged).items()}
        metrics = distributed.from_main(metrics)
        self.progress.evaluated = self.progress.iteration
        if self.main:
            found = {name: value for name, value in metrics.items() if value is not None}
            self.storage.put_scalars(**found, smoothing_hint=False)
        self._note_best(metrics)
        log.info(
            "after iteration %d: %s",
            self.progress.iteration,
            ", ".join(
                f"{name} {value:.4g}"
                for name, value in metrics.items()
                if value is not None and name.endswith(("/AP", "_total_loss"))
            ),
        )

    def _validate(self) -> tuple[Evaluation, Losses]:
        """The model's AP and losses; a signal ends it at once in the process that saves.

        The others are ended by what has begun them.
        """
        with self.stop.at_once() if self.main else contextlib.nullcontext():
            return validate(self.cfg, self.trainer.model, self.val)

    def _note_best(self, metrics: dict[str, float | None]) -> None:
        name, progress = self.cfg.train.best, self.progress
        if name is None:
            return
        value = metrics[name]
        if not progress.take(value, less_is_better=name.endswith("loss")):
            if self._is_stale():
                log.info("%s has not improved in %d evaluations", name, progress.since_best)
            return
        if self.main:
            log.info("%s is the best so far: %s", name, BEST)
            results = self.averaged if name.startswith("ema/") else self.found.results
            self._save_weights(BEST, averaged=name.startswith("ema/"))
            self.run.write_results(results, "results_best.json")

    def _save_weights(self, name: str, *, averaged: bool) -> None:
        ema = self.trainer.ema
        weights = ema.weights if averaged and ema is not None else self.trainer.model.state_dict()
        save_weights(self.run, name, weights, self.progress.iteration)

    def _finish(self) -> None:
        """Leave the final weights and their AP."""
        self._save(final=True)
        # The first process alone has results.
        missing = distributed.any_process(self.main and not self.found.results)
        if missing or not self._is_evaluated():
            self._evaluate()
        self._write()
        if not self.main:
            return
        self.run.close_log()
        self.run.write_evaluation(self.found, self.val.coco_ids)
        if self.trainer.ema is not None:
            self._save_weights(EMA, averaged=True)
            self.run.write_results(self.averaged, "results_ema.json")

    def _account(self, iterations: int, seconds: float) -> None:
        """Say what the time went to."""
        parts = {**self.spent, "all else": seconds - sum(self.spent.values())}
        log.info(
            "%s in %s: %s",
            counted(iterations, "iteration"),
            timedelta(seconds=round(seconds)),
            ", ".join(f"{what} {value / seconds:.1%}" for what, value in parts.items()),
        )

    def _diverged(self, iteration: int, batches: list[Batch], error: NonFiniteLoss) -> NoReturn:
        files = [item["file_name"] for batch in batches for item in batch]
        everywhere = [name for share in comm.all_gather(files) for name in share]
        saved = f"diverged_{iteration:07d}.pth"
        if self.main:
            self._write()
            save_train_state(self.run, saved, self.trainer, self.progress, files=everywhere)
        raise UserError(
            f"the loss is not finite at iteration {iteration}",
            file=self.run.folder / saved,
            found=f"{error}\n            images {', '.join(everywhere)}",
            expected="finite losses",
            remedy="look at these images and their annotations; lower optimizer.lr, lengthen the "
            f"warm-up, or set train.clip_norm=1; --replay {saved} repeats the step",
        ) from error

    def _note_unreadable(self, batches: list[Batch]) -> None:
        """Report images that could not be read, once each; too many of them end the training."""
        met = [pair for batch in batches for item in batch for pair in item.pop("unreadable", ())]
        known = self.progress.unreadable
        if not distributed.any_process(bool(met)):
            return
        for file, reason in itertools.chain.from_iterable(comm.all_gather(met)):
            if file not in known:
                known[file] = reason
                log.warning("%s cannot be read (%s): another is taken in its place", file, reason)
        share = self.cfg.train.max_unreadable
        none_left = distributed.any_process(any("image" not in i for b in batches for i in b))
        if len(known) > share * self.images or none_left:
            raise UserError(
                "too many images cannot be read",
                key="train.max_unreadable",
                found=f"{len(known)} of {self.images}: {_few(known)}",
                expected=f"at most {share:g} of them",
                remedy="mend or remove these files, or allow a larger share",
            )


def _flat(results: Results) -> dict[str, float | None]:
    return {
        f"{task}/{name}": value
        for task, metrics in results.items()
        for name, value in metrics.items()
    }


def _few(files: dict[str, str], shown: int = 5) -> str:
    names = [f"{name} ({reason})" for name, reason in itertools.islice(files.items(), shown)]
    return ", ".join(names) + (", ..." if len(files) > shown else "")
