"""The state of a training beside its weights, their average, and its checkpoints."""

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from detectron2.utils import comm
from torch import Tensor, nn

from roilab.data.loaders import Batch
from roilab.engine import distributed
from roilab.engine.checkpoint import read_checkpoint, save_atomically, verified
from roilab.engine.config import UNBUILDABLE
from roilab.engine.run_folder import FINAL, LAST, Run
from roilab.engine.run_record import remove_digests
from roilab.errors import UserError, machine_failure
from roilab.files import open_plain
from roilab.text import first_of
from roilab.via.formats.coco_values import is_finite_number

if TYPE_CHECKING:
    from roilab.engine.train import Trainer

log = logging.getLogger(__name__)


class MovingAverage:
    """An exponential moving average of a model's weights (Polyak and Juditsky, 1992).

    In the first steps the average is over fewer: the decay is (1 + n) / (10 + n) until it reaches
    `decay`, so that the random initial weights are soon forgotten. Buffers that are not floats are
    copied.

    Args:
        decay: the share of the old average that stays, in (0, 1); 0.999: about 1,000 steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the model's weights after a step."""
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        new = model.state_dict()
        floats = [name for name, value in self.weights.items() if value.is_floating_point()]
        averages = [self.weights[name] for name in floats]
        torch._foreach_lerp_(averages, [new[name] for name in floats], 1 - keep)
        for name in self.weights.keys() - set(floats):
            self.weights[name].copy_(new[name])

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Within the block, the model has the average as its weights."""
        raw = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(raw)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        return {"steps": self.steps, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        self.weights = {n: state["weights"][n].to(old.device) for n, old in self.weights.items()}


class NonFiniteLoss(ArithmeticError):
    """A loss that is infinite or not a number; the message has all losses of the step."""

    def __init__(self, losses: Mapping[str, float]) -> None:
        super().__init__(", ".join(f"{name} {value:g}" for name, value in losses.items()))


@dataclass
class TrainState:
    """The state of a training beside its weights. Iterations count from 0; -1 means none.

    Attributes:
        iteration, evaluated: the last one done, and the last after which the model was evaluated.
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

    @property
    def is_evaluated(self) -> bool:
        """Whether the weights of the last step are evaluated."""
        return self.evaluated == self.iteration

    def is_due(self, period: int) -> bool:
        """Whether something that happens every `period` iterations, if it is not 0, is due now."""
        done = self.iteration + 1
        return period > 0 and done > 0 and done % period == 0

    def update_best(self, value: float | None, *, less_is_better: bool) -> bool:
        """Update the best by the value of an evaluation; returns whether it is the best so far."""
        sign = -1 if less_is_better else 1
        better = value is not None and (self.best is None or sign * value > sign * self.best)
        self.since_best += 1
        if better:
            self.best = value
            self.best_iteration = self.iteration
            self.since_best = 0
        return better

    def save_diverged(
        self, run: Run, trainer: "Trainer", batches: Iterable[Batch], error: NonFiniteLoss
    ) -> UserError:
        """Save the state before a step whose loss is not finite; returns the error to raise."""
        iteration = self.iteration + 1
        own_files = [item["file_name"] for batch in batches for item in batch]
        files = list(itertools.chain.from_iterable(comm.all_gather(own_files)))
        name = f"diverged_{iteration:07d}.pth"
        if comm.is_main_process():
            _save(run.folder / name, {**trainer.state_dict(), **asdict(self), "files": files})
        return UserError(
            f"the loss is not finite at iteration {iteration}",
            file=run.folder / name,
            found=f"{error}\n            images {', '.join(files)}",
            expected="finite losses",
            remedy="look at these images and their annotations; lower optimizer.lr, lengthen the "
            f"warm-up, or set train.clip_norm=1; replay={name} repeats the step",
        )

    def note_unreadable(self, batches: Iterable[Batch], images: int, max_share: float) -> None:
        """Log images that could not be read, once each.

        Raises:
            UserError: more than `max_share` of the `images` of the training set could not be read.
        """
        items = [item for batch in batches for item in batch]
        failures: list[tuple[str, str]] = []  # of this process: file, reason
        for item in items:
            failures += item.pop("unreadable", ())
        failures = list(itertools.chain.from_iterable(comm.all_gather(failures)))
        if not failures:
            return
        for file, reason in failures:
            if file not in self.unreadable:
                self.unreadable[file] = reason
                log.warning("%s cannot be read (%s): another is used in its place", file, reason)

        count = len(self.unreadable)
        none_left = any(comm.all_gather(any("image" not in item for item in items)))
        if count > max_share * images or none_left:
            listed = first_of([f"{file} ({reason})" for file, reason in self.unreadable.items()])
            raise UserError(
                "too many images cannot be read",
                key="train.max_unreadable",
                found=f"{count} of {images}: {listed}",
                expected=f"at most {max_share:g} of them",
                remedy="repair or remove these files, or allow a larger share",
            )


def save_weights(run: Run, name: str, weights: dict[str, Tensor], iteration: int) -> None:
    """Write weights alone, for evaluation and prediction, to a file of the run folder."""
    _save(run.folder / name, {"model": weights, "iteration": iteration})


def _save(path: Path, state: dict[str, Any]) -> None:
    """Raise UserError where the file cannot be written; the one before it is untouched."""
    try:
        save_atomically(state, path)
    except (OSError, RuntimeError, UserError) as error:  # torch words a full disk itself
        if machine_failure(error):
            raise
        reason = error.found if isinstance(error, UserError) else str(error).splitlines()[0]
        others = ", ".join(sorted(file.name for file in path.parent.glob("model_*.pth")))
        raise UserError(
            "a checkpoint cannot be written",
            file=path,
            found=reason,
            expected="room on the disk, and the right to write there",
            remedy="make room and go on with resume=true; "
            + (f"these are whole: {others}" if others else "none was written before"),
        ) from error


def save_to_resume(
    run: Run, trainer: "Trainer", state: TrainState, *, final: bool, kept: int
) -> None:
    """Write a checkpoint to go on from; the oldest beyond `kept` are removed."""
    name = FINAL if final else f"model_{state.iteration:07d}.pth"
    _save(run.folder / name, {**trainer.state_dict(), **asdict(state)})
    run.write({LAST: name})
    old = run.checkpoints()[:-kept]
    remove_digests(run.folder, [file.name for file in old])
    for file in old:
        file.unlink()


def load_train_state(path: Path, trainer: "Trainer") -> TrainState:
    """Load a saved state into a trainer; returns the progress of the training.

    Raises:
        UserError: the file does not hold a whole state, or holds that of another model.
    """
    values = {"measured": {}, **read_checkpoint(path)}  # older checkpoints have none
    try:
        trainer.load_state_dict(values)
        return _train_state(values)
    except UserError as error:
        raise error.replace(
            message="the checkpoint is of another model",
            file=path,
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


def _train_state(values: dict[str, Any]) -> TrainState:
    """The progress among the values of a checkpoint; KeyError or TypeError for what is not it."""
    state = TrainState(**{field.name: values[field.name] for field in fields(TrainState)})
    numbers = state.measured.values() if isinstance(state.measured, dict) else [None]
    checks = {
        "best": state.best is None or type(state.best) in (int, float),
        "unreadable": isinstance(state.unreadable, dict),
        "measured": all(map(is_finite_number, numbers)),
    }
    for name, value in vars(state).items():
        if not checks.get(name, type(value) is int):
            raise TypeError(f"{name} is {value!r}")
    return state


def newest(run: Run) -> Path | None:
    """The sound checkpoint of the latest iteration; the log names those that are not sound.

    Raises:
        UserError: there are checkpoints, and none is sound.
    """
    passed_over = "%s cannot be read and is passed over: %s"
    files = run.states()
    readable = []
    for file in files:
        try:
            open_plain(file).close()  # opening a pipe would wait
            # The tensors stay on the disk; a truncated file has lost its table of contents.
            state = torch.load(file, "cpu", weights_only=True, mmap=True)
            readable.append((int(state["iteration"]), file.name, file))
        except Exception as error:  # torch raises many kinds for a file that is no checkpoint
            log.warning(passed_over, file, str(error).split("\n")[0])
    for _, _, file in sorted(readable, reverse=True):
        try:
            with verified(file):
                return file
        except UserError as error:
            log.warning(passed_over, file, f"{error.message}, {error.found}")
    if files:
        raise UserError(
            "no checkpoint of the run is sound",
            file=run.folder,
            found=", ".join(file.name for file in files),
            remedy="put a sound copy in place, or delete them: the training then begins anew",
        )
    return None


def describe_saved(run: Run) -> str:
    """A sentence for messages: the checkpoint of an interrupted training, and how to resume it."""
    latest = max(run.states(), key=lambda path: path.stat().st_mtime_ns, default=None)
    if latest is None:
        return "nothing was saved yet: start again"
    return f"go on with resume=true, from {latest}"


@contextmanager
def explained(run: Run) -> Iterator[None]:
    """Within the block, a lost process or too little memory is a UserError with the checkpoint."""
    try:
        yield
    except Exception as error:
        remedy = describe_saved(run)
        failure = distributed.lost_peer(error, remedy) or machine_failure(error, remedy)
        if failure is None:
            raise
        raise failure from error
