"""From a config to a trained and evaluated run folder."""

import logging
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, EventWriter
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig

from roilab.cpu.malloc import keep_freed_memory
from roilab.data.loaders import Batch
from roilab.data.seeding import INITIALISATION, seed_everything
from roilab.device import device_of, share_cores
from roilab.engine import config, distributed, fingerprint, train_state, trusted
from roilab.engine.build import build_model, load_weights, weights_of
from roilab.engine.config_diff import difference_table, differences
from roilab.engine.lock import locked
from roilab.engine.loop import Loop
from roilab.engine.max_detections import limits_note
from roilab.engine.preflight import try_step
from roilab.engine.provenance import write_provenance
from roilab.engine.resume import check_resumable, fingerprints, refuse_begun, require_begun
from roilab.engine.run_folder import Run
from roilab.engine.run_record import digests
from roilab.engine.schedule import warmup_length
from roilab.engine.setup import Setup
from roilab.engine.signals import Interrupted, Stop, stop_on_signals
from roilab.engine.train_state import TrainState
from roilab.engine.trainer import Trainer, build_trainer
from roilab.engine.training_log import make_writers
from roilab.engine.validate import evaluate_model
from roilab.errors import UserError, machine_failure
from roilab.evaluation.ap import Results
from roilab.files import refuse_link, writing
from roilab.text import counted

log = logging.getLogger(__name__)

LOCK = ".training.lock"


@dataclass(frozen=True)
class ConfigSource:
    """The source of a config, for the record: file, overrides, command."""

    config_file: str | Path
    overrides: Sequence[str] = field(default_factory=tuple)
    command: Sequence[str] = field(default_factory=tuple)


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
            or a loss diverges.
        Interrupted: the training was asked to end; it is saved.
    """
    run = Run(Path(setup.cfg.train.output_dir))
    if resume:
        require_begun(run)
    try:
        with _alone(run), stop_on_signals() as stop:
            return _train(setup, run, stop, resume, source, allow_changed_data)
    except Exception as error:
        failure = _failure(error, run)
        if failure is None:
            raise
        raise failure from error


def _train(
    setup: Setup,
    run: Run,
    stop: Stop,
    resume: bool,
    source: ConfigSource | None,
    allow_changed_data: bool,
) -> Results:
    cfg = setup.cfg
    notes = _allow_own_parts(cfg)
    data = fingerprints(setup)
    if resume:
        notes += check_resumable(run, setup, data, allow_changed_data=allow_changed_data)
    else:
        refuse_begun(run)
    start_logging(run)
    for note in notes:
        log.warning(note)
    file = train_state.newest(run) if resume else None
    comm.synchronize()  # no process reads the files that the first one replaces
    if comm.is_main_process():
        _write_beginning(setup, run, source)
        fingerprint.record(run.folder, data)
    comm.synchronize()
    trainer, done = _begin(setup, run, file, resume=resume)
    loop = Loop(
        cfg,
        run,
        trainer,
        done,
        batches=_batches(setup, done.iteration + 1),
        images=len(setup.training_set),
        val=setup.val,
        writers=_writers(setup, run, done.iteration + 1),
        stop=stop,
    )
    try:
        return loop.run_to_end()
    except Interrupted as error:
        again = shlex.join([*source.command, "--resume"]) if source else "train(resume=True)"
        what = f"saved after iteration {done.iteration}" if run.states() else "nothing to save yet"
        log.warning("%s: %s; go on with: %s", error, what, again)
        raise
    finally:
        for writer in loop.writers:
            writer.close()


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Let no other process train in the run folder meanwhile; the first of several sees to it."""
    with ExitStack() as stack:
        if comm.is_main_process():
            with writing(run.folder):
                run.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(run.folder / LOCK))
        comm.synchronize()
        yield


def _failure(error: Exception, run: Run) -> UserError | None:
    """The error for an exception that neither config nor data caused; None for other exceptions."""
    if distributed.is_lost_peer(error):
        return UserError(
            distributed.LOST_PEER, found=str(error).splitlines()[0], remedy=describe_saved(run)
        )
    return machine_failure(error, describe_saved(run))


def describe_saved(run: Run) -> str:
    """A sentence for messages: the checkpoint of an interrupted training, and how to resume it."""
    states = run.states()
    if not states:
        return "nothing was saved yet: start again"
    newest = max(states, key=lambda path: path.stat().st_mtime_ns)
    return f"go on with --resume, from {newest}"


def replay(setup: Setup, file: str) -> list[dict[str, float]]:
    """The losses of each batch of the step that follows a saved state, of one process.

    Raises:
        UserError: there is no such file in the run folder, or it is of another model.
    """
    cfg, run = setup.cfg, Run(Path(setup.cfg.train.output_dir))
    path = run.folder / file
    if not path.is_file():
        there = sorted(each.name for each in run.folder.glob("*.pth"))
        raise UserError(
            "there is no such state to replay",
            key="--replay",
            file=path,
            expected=f"one of {', '.join(there)}" if there else "a file of the run folder",
        )
    trainer = build_trainer(cfg)
    iteration = train_state.load_train_state(path, trainer).iteration + 1
    batches = iter(_batches(setup, iteration))
    with EventStorage(iteration):
        return trainer.replay(iteration, [next(batches) for _ in range(cfg.train.accumulate)])


def _allow_own_parts(cfg: DictConfig) -> list[str]:
    """Let the run folder be opened without a question where the config names the user's own parts.

    Returns:
        What the log should say.
    """
    notes = []
    try:
        allowed, others = trusted.allow_own(config.to_plain_data(cfg))
    except UserError as error:  # such as a home folder that may not be written
        return [f"parts of your own are not noted as allowed, and the run folder asks: {error}"]
    if allowed:
        notes.append(
            f"run folders may name these parts from now on, as your own: {', '.join(allowed)} "
            f"(kept in {trusted.settings_file()})"
        )
    if others:
        options = " ".join(f"--trust {name}" for name in others)
        notes.append(
            f"run folders may not name {', '.join(others)}, which is not your own: to open this "
            f"run, add to the command {options}"
        )
    return notes


def start_logging(run: Run) -> None:
    """Log to the terminal and to log.txt of the run folder, and no longer to that of another.

    Raises:
        UserError: a file that lines are added to is a link.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    for path in (run.metrics_file, *run.folder.glob("log.txt*")):
        refuse_link(path)
    setup_logger.cache_clear()
    for name in ("detectron2", "fvcore", "roilab"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            if type(handler) is logging.StreamHandler:  # as setup_logger makes them
                logger.removeHandler(handler)
        setup_logger(str(run.folder / "log.txt"), comm.get_rank(), name=name)
    # How many bytes a list of annotations has.
    logging.getLogger("detectron2.data.common").setLevel(logging.WARNING)


def _write_beginning(setup: Setup, run: Run, source: ConfigSource | None) -> None:
    """Write the files of a run folder before the first step, and the first lines of its log."""
    cfg = setup.cfg
    run.begin_anew()
    run.write_meaning(cfg, setup.training_set)
    if source is not None:
        write_provenance(
            run,
            config_file=source.config_file,
            overrides=source.overrides,
            command=source.command,
            seed=cfg.train.seed,
        )
        changed = differences(config.load_config(source.config_file), cfg)
        if changed:
            log.info("what differs from %s:\n%s", source.config_file, difference_table(changed))
    max_iter = cfg.train.max_iter
    if cfg.lr_multiplier.get("warmup_iters", 0) is None and (length := warmup_length(max_iter)):
        log.info(
            "warm-up over the first %d of %d iterations (lr_multiplier.warmup_iters sets it)",
            length,
            max_iter,
        )
    log.info("train: %s", setup.training_set.summary())
    log.info("val: %s", setup.val.summary())
    if note := limits_note(cfg, setup.val):
        log.warning("val: %s", note)


def _begin(
    setup: Setup, run: Run, file: Path | None, *, resume: bool
) -> tuple[Trainer, TrainState]:
    """The trainer as the run begins, or goes on from a file."""
    cfg = setup.cfg
    device = device_of(cfg.train.device)
    if device.type == "cpu":
        share_cores(cfg.dataloader.train.num_workers)
        keep_freed_memory()
    seed_everything(cfg.train.seed, INITIALISATION)
    model = build_model(cfg, training=True)
    try_step(cfg, model, setup.training_set, setup.val)
    if file is None:
        weights = weights_of(cfg)
        if weights.source:
            load_weights(model, *weights)
    trainer = build_trainer(cfg, model)
    done = TrainState() if file is None else train_state.load_train_state(file, trainer)
    threads = counted(torch.get_num_threads(), "thread")
    log.info("%s, %s, %s", device, trainer.dtype, threads)
    if resume:
        came = f"from {file}" if file else "from its beginning: it was cut before a checkpoint"
        if file and file.name not in digests(run.folder):
            came += ", which is unverified: it has no digest"
        log.info("goes on at iteration %d, %s", done.iteration + 1, came)
    return trainer, done


def _batches(setup: Setup, iteration: int) -> Iterable[Batch]:
    """The batches of the steps from an iteration on."""
    cfg = setup.cfg
    return config.build(
        cfg.dataloader.train,
        "dataloader.train",
        dataset=setup.training_set,
        seed=cfg.train.seed,
        first=iteration * cfg.train.accumulate,
    )


def _writers(setup: Setup, run: Run, start: int) -> list[EventWriter]:
    cfg = setup.cfg
    if not comm.is_main_process():
        return []
    return make_writers(
        run,
        start=start,
        max_iter=cfg.train.max_iter,
        images_a_step=cfg.dataloader.train.total_batch_size * cfg.train.accumulate,
        train_images=len(setup.training_set),
        tracker=cfg.train.tracker,
        cfg=cfg,
    )


def evaluate_weights(setup: Setup) -> Results:
    """AP of `train.init_checkpoint`; leaves results.json and their meaning at `train.output_dir`.

    Raises:
        UserError: no weights are named, they cannot be had, or the folder holds a training.
    """
    cfg, run = setup.cfg, Run(Path(setup.cfg.train.output_dir))
    weights = weights_of(cfg)
    if not weights.source:
        raise UserError(
            "there are no weights to evaluate",
            key="train.init_checkpoint",
            found="''",
            expected="a path, a URL, or a name in `weights`",
            remedy="to evaluate a run folder: roilab evaluate --run RUN",
        )
    notes = _allow_own_parts(cfg)
    with _alone(run):
        refuse_begun(run)
        start_logging(run)
        for note in notes:
            log.warning(note)
        if note := limits_note(cfg, setup.val):
            log.warning("val: %s", note)
        model = build_model(cfg)
        load_weights(model, weights.source, (), weights.named)  # what is evaluated must fit whole
        found = evaluate_model(cfg, model, setup.val)
        if comm.is_main_process():
            run.write_meaning(cfg, setup.val)
            run.write_evaluation(found, setup.val.coco_ids)
        return found.results
