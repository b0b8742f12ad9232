"""The state of a training beside its weights, and the checkpoints that it resumes from."""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from roilab.engine.checkpoint import read_checkpoint, save_atomically, verified
from roilab.engine.config import UNBUILDABLE
from roilab.engine.run_folder import FINAL, LAST, Run
from roilab.engine.run_record import remove_digests
from roilab.engine.stored_results import is_number
from roilab.engine.trainer import Trainer
from roilab.errors import UserError, machine_failure
from roilab.files import open_plain

log = logging.getLogger(__name__)


@dataclass
class TrainState:
    """The state of a training beside its weights. Iterations count from 0; -1 means none.

    Attributes:
        iteration: the last one that is done.
        evaluated: the last one after which the model was evaluated.
        best, best_iteration: the best value of `train.best` so far, and where.
        since_best: how many evaluations ago that was.
        unreadable: images that could not be read, with the reason.
        measured: the losses and the learning rate of the last step, for its line of the log, which
            is written after the checkpoint.
    """

    iteration: int = -1
    evaluated: int = -1
    best: float | None = None
    best_iteration: int = -1
    since_best: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)

    def take(self, value: float | None, *, less_is_better: bool) -> bool:
        """Take in the value of an evaluation; whether it is the best so far."""
        sign = -1 if less_is_better else 1
        better = value is not None and (self.best is None or sign * value > sign * self.best)
        if better:
            self.best, self.best_iteration, self.since_best = value, self.iteration, 0
        else:
            self.since_best += 1
        return better


def save_train_state(
    run: Run, name: str, trainer: Trainer, progress: TrainState, **more: Any
) -> None:
    """Write the whole state of a training to a file of the run folder, or nothing."""
    _write(run.folder / name, {**trainer.state_dict(), **asdict(progress), **more})


def save_weights(run: Run, name: str, weights: dict[str, Tensor], iteration: int) -> None:
    """Write weights alone, for evaluation and prediction, to a file of the run folder."""
    _write(run.folder / name, {"model": weights, "iteration": iteration})


def _write(path: Path, state: dict[str, Any]) -> None:
    """Raise UserError where it cannot be written; what was there before is untouched."""
    try:
        save_atomically(state, path)
    except (OSError, RuntimeError, UserError) as error:  # torch has its own words for a full disk
        if machine_failure(error):
            raise
        found = error.found if isinstance(error, UserError) else str(error).splitlines()[0]
        others = sorted(file.name for file in path.parent.glob("model_*.pth"))
        raise UserError(
            "a checkpoint cannot be written",
            file=path,
            found=found,
            expected="room on the disk, and the right to write there",
            remedy="make room and go on with --resume; "
            + (f"these are whole: {', '.join(others)}" if others else "none was written before"),
        ) from error


def save_to_resume(
    run: Run, trainer: Trainer, progress: TrainState, *, final: bool, kept: int
) -> None:
    """Write a checkpoint to go on from; the oldest beyond `kept` are removed."""
    name = FINAL if final else f"model_{progress.iteration:07d}.pth"
    save_train_state(run, name, trainer, progress)
    run.write(LAST, name)
    old = run.checkpoints()[:-kept]
    remove_digests(run.folder, [file.name for file in old])
    for file in old:
        file.unlink()


def load_train_state(path: Path, trainer: Trainer) -> TrainState:
    """Put a trainer into a saved state, and return how far it is.

    Raises:
        UserError: the file is no whole state, or that of another model.
    """
    state = read_checkpoint(path)
    try:
        trainer.load_state_dict(state)
        return _progress(state)
    except UserError as error:
        raise UserError(
            "the checkpoint is of another model",
            file=path,
            found=error.found,
            expected=error.expected,
            remedy="resume with the run's own config, or train in another folder",
        ) from error
    except UNBUILDABLE as error:
        raise UserError(
            "the checkpoint does not hold the state of this training",
            file=path,
            found=f"{type(error).__name__}: {error}",
            expected="model, optimizer and progress, as roilab train saves them",
            remedy="to start from its weights: train.init_checkpoint, in a new folder",
        ) from error


def _progress(state: dict[str, Any]) -> TrainState:
    state = {"measured": {}, **state}  # older checkpoints have none
    progress = TrainState(**{name: state[name] for name in asdict(TrainState())})
    for name in ("iteration", "evaluated", "best_iteration", "since_best"):
        if type(getattr(progress, name)) is not int:
            raise TypeError(f"{name} is {getattr(progress, name)!r}")
    if progress.best is not None and type(progress.best) not in (int, float):
        raise TypeError(f"best is {progress.best!r}")
    if not isinstance(progress.unreadable, dict):
        raise TypeError(f"unreadable is {progress.unreadable!r}")
    measured = progress.measured
    if not isinstance(measured, dict) or not all(map(is_number, measured.values())):
        raise TypeError(f"measured is {measured!r}")
    return progress


def newest(run: Run) -> Path | None:
    """The checkpoint that is furthest among the sound ones; the log names those passed over.

    Raises:
        UserError: there are checkpoints, and none is sound.
    """
    candidates: dict[Path, int] = {}
    files = run.states()
    for file in files:
        try:
            open_plain(file).close()  # a pipe would be waited for
            # The tensors stay on the disk; a file that was cut has lost its table of contents.
            candidates[file] = int(
                torch.load(file, "cpu", weights_only=True, mmap=True)["iteration"]
            )
        except Exception as error:  # torch raises many kinds for a file that is none
            _pass_over(file, str(error).split("\n")[0])
    for file in sorted(candidates, key=lambda file: (candidates[file], file.name), reverse=True):
        try:
            with verified(file):
                return file
        except UserError as error:
            _pass_over(file, f"{error.message}, {error.found}")
    if files:
        raise UserError(
            "no checkpoint of the run is sound",
            file=run.folder,
            found=", ".join(file.name for file in files),
            remedy="put a sound copy in place, or delete them: the training then begins anew",
        )
    return None


def _pass_over(file: Path, reason: str) -> None:
    log.warning("%s cannot be read and is passed over: %s", file, reason)
