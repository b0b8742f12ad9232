"""The state of a trial, as its run folder shows it, and its record there."""

import json
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.evaluation.ap import Results
from roilab.files import read_json, write_whole
from roilab.sweep.plan import Trial
from roilab.via.formats.coco_values import is_finite_number

_FILE = "cell.json"
_CENTURY = 3.2e9  # seconds
_TAIL = 2**16  # bytes that are read at the end of a log


@dataclass(frozen=True)
class State:
    """The state of a trial.

    Attributes:
        kind: `open` has not begun, `cut` continues from a checkpoint, `queued` waits for a machine
            of a cluster, `training` runs, `failed` failed the last time, `done` has results.
        results: AP in percent by task and metric, of a trial that is done.
        error: why a trial failed, was cut, or waits, in one line; empty where it is not known.
        seconds: the duration of its process, over all calls but those that were killed.
    """

    kind: Literal["open", "cut", "queued", "training", "failed", "done"]
    results: Results | None = None
    error: str = ""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The state in few words, with its reason."""
        kind = "saved" if self.kind == "cut" else self.kind
        return f"{kind}: {self.error}" if self.error else self.kind

    @classmethod
    def of_error(cls, error: BaseException) -> "State":
        """The state of a trial that an exception ended."""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return cls("failed", error=lines[0])


# Is called with a trial and its new state.
OnUpdate = Callable[[Trial, State], object]


def trial_identity(trial: Trial) -> dict[str, object]:
    """The identity of a trial, independent of where it and its config are stored."""
    identity = {"arm": trial.arm.name, "seed": trial.seed, "config": trial.arm.config}
    return identity | ({"fold": list(trial.fold_overrides)} if trial.fold_overrides else {})


def is_of_other_trial(record: Mapping[str, Any], trial: Trial) -> bool:
    """Whether the record in a trial's folder is of one that would be trained in another way."""
    return any(record.get(key) != value for key, value in trial_identity(trial).items())


def state_of(trial: Trial) -> State:
    """The state that a trial's run folder shows.

    Raises:
        UserError: the folder holds another trial, or a run that is not of a sweep.
    """
    run = Run(trial.folder)
    record = load_record(trial)
    if record is None:
        if run.config_file.is_file():
            message = f"the folder of {trial.title} holds another run"
            remedy = f"delete {trial.folder}, or choose another folder of the sweep, output=DIR"
            raise UserError(message, file=trial.folder, remedy=remedy)
        return State("open")
    trained = run.results_file.is_file() or run.weights.is_file()
    if trained and is_of_other_trial(record, trial):
        arm = [trial.arm.config_file, *trial.arm.overrides, *trial.fold_overrides]
        compare = shlex.join(["roilab", "config", "diff", str(trial.folder), *arm])
        raise UserError(
            f"{trial.title} was run with other settings",
            file=run.config_file,
            found="a config that differs from the arm's",
            remedy=f"choose another folder of the sweep, output=DIR, or delete {trial.folder}; to "
            f"see what differs: {compare}",
        )
    seconds = record.get("seconds", 0.0)
    if run.results_file.is_file():
        return State("done", run.results(), seconds=seconds)
    if record.get("error"):
        return State("failed", error=record["error"], seconds=seconds)
    kind: Literal["cut", "open"] = "cut" if trained else "open"
    return State(kind, error=record.get("ended", ""), seconds=seconds)


def logged_values(trial: Trial) -> dict[str, float]:
    """The last value of everything that a trial's training logs; empty before it does."""
    latest: dict[str, float] = {}
    for line in last_lines(Run(trial.folder).metrics_file):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):  # a line that is read or written in part
            continue
        if isinstance(values, dict) and all(map(is_finite_number, values.values())):
            latest |= values
    return latest


def iterations_of(values: Mapping[str, float]) -> int:
    """The number of iterations after which a training logged these values."""
    return int(values.get("iteration", -1)) + 1


def last_lines(path: Path) -> list[str]:
    """The last lines of a file that may still grow; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []


def checkpoint_of(trial: Trial) -> str:
    """The name of the file that a trial continues from; empty where it has none."""
    weights = Run(trial.folder).weights
    return weights.name if weights.is_file() else ""


def load_record(trial: Trial) -> dict[str, Any] | None:
    """The record of a trial in its run folder; None without one.

    Raises:
        UserError: the record is damaged.
    """
    path = trial.folder / _FILE
    if not path.exists():
        return None
    what = "the record of a trial"
    remedy = f"delete {trial.folder}, which trains it anew"
    record = read_json(path, what=what, remedy=remedy)
    if not _is_record(record):
        message = f"{what} is damaged"
        expected = '{"arm": ..., "seed": ..., "config": ..., "seconds": 1.5, "error": ""}'
        raise UserError(message, file=path, found=record, expected=expected, remedy=remedy)
    return record


def _is_record(data: Any) -> bool:
    if not isinstance(data, dict):
        return False
    seconds = data.get("seconds", 0.0)
    reasons = (data.get("error", ""), data.get("ended", ""))
    is_duration = is_finite_number(seconds) and abs(seconds) < _CENTURY
    return is_duration and all(isinstance(reason, str) for reason in reasons)


def save_record(trial: Trial, seconds: float, *, error: str = "", ended: str = "") -> None:
    """Write the record of a trial, with why its training failed or was cut."""
    reasons = {"error": error, "ended": ended}
    content = {**trial_identity(trial), "seconds": round(seconds, 3), **reasons}
    write_whole(trial.folder / _FILE, json.dumps(content, indent=2) + "\n")


def record_end(trial: Trial, *, error: str = "", ended: str = "") -> None:
    """Record why a training failed or was cut, if the trial has begun."""
    record = load_record(trial)
    if record is not None:
        save_record(trial, record.get("seconds", 0.0), error=error, ended=ended)
