"""What a terminal, a log and the files show of a training."""

import datetime
import importlib
import json
import logging
import resource
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from detectron2.utils.events import (
    EventStorage,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
    get_event_storage,
)
from omegaconf import DictConfig
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from roilab.engine import config
from roilab.engine.run import Run
from roilab.errors import UserError

log = logging.getLogger(__name__)

TRACKERS = ("wandb", "trackio")
_LOGGERS = ("detectron2", "fvcore", "roilab")


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
    """All that is to be told of a training from an iteration on; what was told of it is removed.

    Raises:
        UserError: the tracker is not installed.
    """
    forget(run.metrics_file, start)
    writers: list[EventWriter] = [
        JSONWriter(str(run.metrics_file)),
        TensorboardXWriter(str(run.folder), purge_step=start),
        Console(start, max_iter, images_a_step / train_images),
    ]
    if tracker is not None:
        writers.append(Tracker(tracker, run.folder.name, config.plain(cfg)))
    return writers


def forget(metrics: Path, start: int) -> None:
    """Take the lines from iteration `start` on out of a metrics file, and one that was cut."""
    if not metrics.is_file():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["iteration"] < start:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # the process was killed while it wrote
    config.write_text(metrics, "".join(kept))


class Console(EventWriter):
    """A live bar on a terminal; elsewhere a line at each `write`.

    Args:
        start: the first iteration.
        epochs_a_step: how large a part of the training set a step takes.
    """

    def __init__(self, start: int, max_iter: int, epochs_a_step: float) -> None:
        self.start, self.max_iter, self.epochs_a_step = start, max_iter, epochs_a_step
        self.bar, self.stack = None, ExitStack()
        if sys.stderr.isatty():
            loggers = [logging.getLogger(name) for name in _LOGGERS]
            self.stack.enter_context(logging_redirect_tqdm(loggers))
            self.bar = self.stack.enter_context(
                tqdm(total=max_iter, initial=start, unit="it", file=sys.stderr, dynamic_ncols=True)
            )

    def step(self) -> None:
        """An iteration is done."""
        if self.bar is not None:
            self.bar.update()

    def write(self) -> None:
        storage = get_event_storage()
        if self.bar is not None:
            self.bar.set_postfix_str(self._figures(storage), refresh=False)
        else:
            done = storage.iter + 1
            left = f"eta {self._left(storage)}  " if done < self.max_iter else ""
            log.info("%d/%d  %s%s", done, self.max_iter, left, self._figures(storage))

    def _figures(self, storage: EventStorage) -> str:
        latest = {name: value for name, (value, _) in storage.latest().items()}
        losses = {name: value for name, value in latest.items() if name.startswith("loss_")}
        parts = [f"epoch {(storage.iter + 1) * self.epochs_a_step:.1f}"]
        if "total_loss" in latest:
            shown = ", ".join(f"{name[5:]} {value:.3f}" for name, value in losses.items())
            parts.append(f"loss {latest['total_loss']:.3f} ({shown})")
        if "lr" in latest:
            parts.append(f"lr {latest['lr']:.2g}")
        if "time" in latest and self.bar is None:
            seconds = storage.history("time").median(20)
            loading = storage.history("data_time").median(20)
            parts.append(f"{seconds:.3g} s/it, loading {100 * loading / seconds:.0f}%")
        return "  ".join([*parts, _memory()])

    def _left(self, storage: EventStorage) -> datetime.timedelta:
        if "time" not in storage.histories():
            return datetime.timedelta()
        seconds = storage.history("time").median(1000) * (self.max_iter - storage.iter - 1)
        return datetime.timedelta(seconds=round(seconds))

    def close(self) -> None:
        self.stack.close()


def _memory() -> str:
    """The most that was in use so far: of the GPU, or of the process."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        used = torch.cuda.max_memory_allocated()
    else:
        # In bytes on macOS, in kilobytes elsewhere.
        unit = 1 if sys.platform == "darwin" else 1024
        used = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{used / 2**30:.1f} GiB"


class Tracker(EventWriter):
    """Weights & Biases, or trackio, which has the same interface.

    Args:
        name: of the module.
        run: what the run is called there.
        settings: the resolved config.
    """

    def __init__(self, name: str, run: str, settings: dict[str, Any]) -> None:
        try:
            self.module = importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                "the tracker is not installed",
                key="train.tracker",
                found=f"{name} ({error})",
                remedy=f"pip install {name}",
            ) from error
        self.module.init(project="roilab", name=run, config=settings)
        self.written = -1

    def write(self) -> None:
        storage = get_event_storage()
        new: dict[int, dict[str, float]] = {}
        for name, (value, iteration) in storage.latest().items():
            if iteration > self.written:
                new.setdefault(iteration, {})[name] = value
        for iteration, values in sorted(new.items()):
            self.module.log(values, step=iteration)
            self.written = iteration

    def close(self) -> None:
        self.module.finish()
