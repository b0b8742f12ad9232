"""Output of a training: terminal, log, metrics files, trackers."""

import datetime
import importlib
import json
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from detectron2.utils import comm
from detectron2.utils.events import EventWriter, JSONWriter, TensorboardXWriter, get_event_storage
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from roilab.device import memory_used
from roilab.engine import config
from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.files import refuse_link, write_whole
from roilab.text import counted

log = logging.getLogger(__name__)

TRACKERS = ("wandb", "trackio")
_LOGGERS = ("detectron2", "fvcore", "roilab")
_STEPS = 100  # the window of the mean time of a step


def start_logging(run: Run) -> None:
    """Log to the terminal and to log.txt of the run folder, and no longer to that of another.

    A file that lines are added to may be no link.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    for path in (run.metrics_file, *run.folder.glob("log.txt*")):
        refuse_link(path)
    setup_logger.cache_clear()
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            if type(handler) is logging.StreamHandler:  # setup_logger adds these
                logger.removeHandler(handler)
        setup_logger(str(run.folder / "log.txt"), comm.get_rank(), name=name)
    # They log how many bytes a list of annotations has, and a line for each class by its number.
    for name in ("detectron2.data.common", "detectron2.data.samplers.distributed_sampler"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def make_writers(
    run: Run, cfg: DictConfig, *, start: int, images: int
) -> Iterator[list[EventWriter]]:
    """The open writers of a training from iteration `start` on; none but in the main process.

    Metrics that an earlier process wrote from that iteration on are removed.

    Args:
        images: the size of the training set.

    Raises:
        UserError: there is no such tracker, or it does not start.
    """
    if not comm.is_main_process():
        yield []
        return
    train = cfg.train
    trackers = []
    if train.tracker is not None:  # first: it may fail, and it prints
        settings = config.to_plain_data(cfg)
        trackers = [ExperimentTracker(train.tracker, run.folder.absolute().name, settings)]
    if run.metrics_file.is_file():
        _remove_metrics(run, start)
    share = cfg.dataloader.train.total_batch_size * train.accumulate / images
    writers = [
        JSONWriter(str(run.metrics_file)),
        TensorboardXWriter(str(run.folder), purge_step=start),
        Console(start, train.max_iter, share),
        *trackers,
    ]
    try:
        yield writers
    finally:
        for writer in writers:
            writer.close()


def _remove_metrics(run: Run, start: int) -> None:
    """Remove from metrics.json the lines from iteration `start` on, and incomplete ones."""
    kept = []
    for line in run.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
        # A line is incomplete where the process was killed while it wrote.
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            if json.loads(line)["iteration"] < start:
                kept.append(line + "\n")
    write_whole(run.metrics_file, "".join(kept))


@contextmanager
def timed(timings: dict[str, float], activity: str) -> Iterator[None]:
    """Add the seconds of the block to those of an activity."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[activity] += time.perf_counter() - start


def log_timings(timings: Mapping[str, float], iterations: int, seconds: float) -> None:
    """Log the share that each activity has of the seconds of a training."""
    parts = {**timings, "all else": seconds - sum(timings.values())}
    shares = ", ".join(f"{activity} {value / seconds:.1%}" for activity, value in parts.items())
    length = datetime.timedelta(seconds=round(seconds))
    log.info("%s in %s: %s", counted(iterations, "iteration"), length, shares)


class Console(EventWriter):
    """A progress bar on a terminal, with the latest metrics below it; elsewhere a log line.

    The line is in log.txt in either case.

    Args:
        start: the first iteration.
        epochs_per_step: the share of the training set that a step uses.
    """

    def __init__(self, start: int, max_iter: int, epochs_per_step: float) -> None:
        self.max_iter = max_iter
        self.epochs_per_step = epochs_per_step
        self.stack = ExitStack()
        self.bar: tqdm | None = None
        if sys.stderr.isatty():
            self._open_bar(start)

    def _open_bar(self, start: int) -> None:
        self.stack.enter_context(logging_redirect_tqdm(list(map(logging.getLogger, _LOGGERS))))
        for handler in logging.getLogger("roilab").handlers:
            if getattr(handler, "stream", None) in (sys.stdout, sys.stderr):
                # The handler is tqdm's and goes with it. What the bar shows needs no line.
                handler.addFilter(lambda record: record.name != __name__)
        bar = tqdm(total=self.max_iter, initial=start, dynamic_ncols=True)
        self.bar = self.stack.enter_context(bar)
        # A bar is cut at the edge of the terminal, as text alone is not.
        below = tqdm(bar_format="{desc}{bar}", position=1, leave=False, dynamic_ncols=True)
        self.below = self.stack.enter_context(below)

    def step(self) -> None:
        """Count an iteration that is done."""
        if self.bar is not None:
            self.bar.update()

    def write(self) -> None:
        parts = self._parts()
        if "loss" not in parts:
            return
        log.info("  ".join(parts.values()))
        if self.bar is not None:
            # The bar itself has the others; the components of the loss come last and may be cut.
            order = ("epoch", "loss", "rate", "memory", "components")
            shown = [parts[name] for name in order if name in parts]
            self.below.set_description_str("  ".join(shown))

    def _parts(self) -> dict[str, str]:
        """The latest metrics as text, in the order of a line."""
        storage = get_event_storage()
        done = storage.iter + 1
        latest = storage.latest_with_smoothing_hint()
        values = {name: value for name, (value, _) in latest.items()}
        parts = {
            "iteration": f"{done}/{self.max_iter}",
            "epoch": f"epoch {done * self.epochs_per_step:.2f}",
        }
        seconds = 0.0
        if "time" in values:
            seconds = storage.history("time").avg(_STEPS)
            left = datetime.timedelta(seconds=round(seconds * (self.max_iter - done)))
            parts["left"] = f"eta {left}"
        if "total_loss" in values:
            parts["loss"] = f"loss {values['total_loss']:.4g}"
            components = [
                f"{name.removeprefix('loss_')} {value:.3g}"
                for name, value in values.items()
                if name.startswith("loss_")
            ]
            parts["components"] = f"({', '.join(components)})"
        if "lr" in values:
            parts["rate"] = f"lr {values['lr']:.3g}"
        if "time" in values and "data_time" in values:
            share = storage.history("data_time").avg(_STEPS) / max(seconds, 1e-9)
            parts["time"] = f"{seconds:.3g} s/it ({share:.0%} loading)"
        parts["memory"] = f"{memory_used() / 2**30:.1f} GiB"
        return parts

    def close(self) -> None:
        self.stack.close()


class ExperimentTracker(EventWriter):
    """Weights & Biases, or trackio, which has the same interface.

    Args:
        name: one of `TRACKERS`.
        run: the name of the run there.
        settings: the resolved config.

    Raises:
        UserError: it is not installed, or does not start.
    """

    def __init__(self, name: str, run: str, settings: dict[str, Any]) -> None:
        try:
            self.module = importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                "the tracker is not installed",
                key="train.tracker",
                found=error,
                expected=name,
                remedy=f"pip install {name}",
            ) from error
        try:
            self.module.init(project="roilab", name=run, config=settings)
        except Exception as error:  # of many kinds: no login, no network, no disk
            raise UserError(
                "the tracker does not start",
                key="train.tracker",
                found=f"{name}: {error}",
                remedy="follow its message, or train without: train.tracker=null",
            ) from error
        self.written = -1

    def write(self) -> None:
        new: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in get_event_storage().latest().items():
            if iteration > self.written:
                new[iteration][name] = value
        for self.written, values in sorted(new.items()):
            self.module.log(values, step=self.written)

    def close(self) -> None:
        self.module.finish()
