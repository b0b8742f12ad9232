"""Output of a training: terminal, log, metrics files, trackers."""

import datetime
import importlib
import json
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from detectron2.utils.events import EventWriter, JSONWriter, TensorboardXWriter, get_event_storage
from omegaconf import DictConfig
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from roilab.device import memory_used
from roilab.engine import config
from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.files import write_whole

log = logging.getLogger(__name__)

TRACKERS = ("wandb", "trackio")
_LOGGERS = ("roilab", "detectron2", "fvcore")
_STEPS = 100  # that the time of a step is the mean of


def make_writers(
    run: Run,
    *,
    start: int,
    max_iter: int,
    images_a_step: int,
    train_images: int,
    tracker: str | None,
    cfg: DictConfig,
) -> list[EventWriter]:
    """The writers of a training from iteration `start` on; later lines of before are removed.

    Raises:
        UserError: there is no such tracker, or it does not start.
    """
    # First: it may fail, and it prints.
    trackers = (
        []
        if tracker is None
        else [ExperimentTracker(tracker, run.folder.absolute().name, config.to_plain_data(cfg))]
    )
    truncate_metrics(run.metrics_file, start)
    return [
        JSONWriter(str(run.metrics_file)),
        TensorboardXWriter(str(run.folder), purge_step=start),
        Console(start, max_iter, images_a_step / train_images),
        *trackers,
    ]


def truncate_metrics(metrics: Path, start: int) -> None:
    """Take the lines from iteration `start` on out of a metrics file, and any that was cut."""
    if not metrics.is_file():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["iteration"] < start:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # the process was killed while it wrote
    write_whole(metrics, "".join(kept))


class Console(EventWriter):
    """A bar on a terminal, with the figures of the last `write` below; elsewhere a line of the log.

    The line is in log.txt in either case.

    Args:
        start: the first iteration.
        epochs_a_step: how large a part of the training set a step takes.
    """

    def __init__(self, start: int, max_iter: int, epochs_a_step: float) -> None:
        self.max_iter, self.epochs_a_step = max_iter, epochs_a_step
        self.stack = ExitStack()
        self.bar: tqdm | None = None
        if sys.stderr.isatty():
            self._show(start)

    def _show(self, start: int) -> None:
        self.stack.enter_context(logging_redirect_tqdm([logging.getLogger(n) for n in _LOGGERS]))
        for handler in logging.getLogger("roilab").handlers:
            if getattr(handler, "stream", None) in (sys.stdout, sys.stderr):
                # The handler is tqdm's and goes with it. What the bar shows needs no line.
                handler.addFilter(lambda record: record.name != __name__)
        self.bar = self.stack.enter_context(
            tqdm(total=self.max_iter, initial=start, dynamic_ncols=True)
        )
        # A bar is cut at the edge of the terminal, as text alone is not.
        self.below = self.stack.enter_context(
            tqdm(bar_format="{desc}{bar}", position=1, leave=False, dynamic_ncols=True)
        )

    def step(self) -> None:
        """Count an iteration that is done."""
        if self.bar is not None:
            self.bar.update()

    def write(self) -> None:
        found = self._figures()
        if "loss" not in found:
            return
        log.info("  ".join(found.values()))
        if self.bar is not None:
            # What the bar itself has is left out; the parts of the loss may be cut.
            order = ("epoch", "loss", "rate", "memory", "parts")
            self.below.set_description_str(
                "  ".join(found[name] for name in order if name in found)
            )

    def _figures(self) -> dict[str, str]:
        """The storage's figures as text, in the order of a line."""
        storage = get_event_storage()
        done = storage.iter + 1
        values = {name: v for name, (v, _) in storage.latest_with_smoothing_hint().items()}
        found = {
            "iteration": f"{done}/{self.max_iter}",
            "epoch": f"epoch {done * self.epochs_a_step:.2f}",
        }
        if "time" in values:
            seconds = storage.history("time").avg(_STEPS)
            left = datetime.timedelta(seconds=round(seconds * (self.max_iter - done)))
            found["left"] = f"eta {left}"
        if "total_loss" in values:
            found["loss"] = f"loss {values['total_loss']:.4g}"
            parts = [f"{k[5:]} {v:.3g}" for k, v in values.items() if k.startswith("loss_")]
            found["parts"] = f"({', '.join(parts)})"
        if "lr" in values:
            found["rate"] = f"lr {values['lr']:.3g}"
        if "time" in values and "data_time" in values:
            share = storage.history("data_time").avg(_STEPS) / max(seconds, 1e-9)
            found["time"] = f"{seconds:.3g} s/it ({share:.0%} loading)"
        return {**found, "memory": f"{memory_used() / 2**30:.1f} GiB"}

    def close(self) -> None:
        self.stack.close()


class ExperimentTracker(EventWriter):
    """Weights & Biases, or trackio, which has the same interface.

    Args:
        name: one of `TRACKERS`.
        run: what the run is called there.
        settings: the resolved config.

    Raises:
        UserError: there is no such tracker, or it does not start.
    """

    def __init__(self, name: str, run: str, settings: dict[str, Any]) -> None:
        self.module = tracker_module(name)
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
        new: dict[int, dict[str, float]] = {}
        for name, (value, iteration) in get_event_storage().latest().items():
            if iteration > self.written:
                new.setdefault(iteration, {})[name] = value
        for iteration, values in sorted(new.items()):
            self.module.log(values, step=iteration)
            self.written = iteration

    def close(self) -> None:
        self.module.finish()


def tracker_module(name: str) -> ModuleType:
    """The module of a tracker.

    Raises:
        UserError: there is no such tracker, or it is not installed.
    """
    if name not in TRACKERS:
        raise UserError(
            "there is no such tracker",
            key="train.tracker",
            found=name,
            expected=f"{', '.join(TRACKERS)}, or null",
        )
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            "the tracker is not installed",
            key="train.tracker",
            found=error,
            expected=name,
            remedy=f"pip install {name}",
        ) from error
