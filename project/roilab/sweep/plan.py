"""The plan of a sweep: arms, seeds, a run folder for each pair, and the record in its folder."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from roilab.engine import overrides as texts
from roilab.errors import UserError
from roilab.files import read_json, write_whole

_FILE = "sweep.json"
_LARGEST = 1e12  # no figure of a sweep is larger


@dataclass(frozen=True)
class Arm:
    """One setting to compare.

    Attributes:
        overrides: the differences that define the arm, as `key=value`.
        published: others' figures for such an arm, in percent, by `task/metric`.
        weights_of: the name of an arm that is trained in the same way, whose weights this one
            evaluates in another way; empty: it is trained itself.
        config: a digest of the resolved config.
    """

    name: str
    config_file: str
    overrides: tuple[str, ...]
    published: Mapping[str, float] = field(hash=False)
    weights_of: str = ""
    config: str = ""
    max_iter: int | None = None


@dataclass(frozen=True)
class Sweep:
    """A question: what some settings change.

    Attributes:
        baseline: the name of the arm that the others are compared with.
        seeds: each arm is trained with each of them.
        metrics: the compared metrics as `task/metric`, the most important first.
        source: where the published figures are from.
        commands: those that have run it.
        folds: of a cross-validation, the overrides that make each fold's data; each arm is trained
            on each of them with each seed.
    """

    file: str
    arms: tuple[Arm, ...]
    baseline: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    source: str
    question: str = ""
    commands: tuple[str, ...] = ()
    folds: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        return Path(self.file).stem


@dataclass(frozen=True)
class Trial:
    """One training: an arm with a seed, in a run folder of its own.

    Attributes:
        fold: the number of the fold in a cross-validation; None: there is none.
        fold_overrides: those that make the data of the fold.
    """

    arm: Arm
    seed: int
    folder: Path
    fold: int | None = None
    fold_overrides: tuple[str, ...] = ()

    @property
    def source(self) -> Path | None:
        """The run folder whose weights it evaluates; None: it is trained itself."""
        if not self.arm.weights_of:
            return None
        depth = 1 if self.fold is None else 2
        inside = Path(*self.folder.parts[-depth:])
        return self.folder.parents[depth] / folder_name(self.arm.weights_of) / inside

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides of its arm, with those of its fold, its seed and its folder."""
        output = texts.write("train.output_dir", str(self.folder))
        return (*self.arm.overrides, *self.fold_overrides, f"train.seed={self.seed}", output)

    @property
    def place(self) -> str:
        """Its fold, if any, and its seed, for messages."""
        return f"{'' if self.fold is None else f'fold {self.fold}, '}seed {self.seed}"

    @property
    def title(self) -> str:
        """Its arm, fold and seed, for messages."""
        return f"arm '{self.arm.name}', {self.place}"


def plan_trials(sweep: Sweep, output: Path) -> list[Trial]:
    """A trial for each seed, fold and arm, one after the other, so that early results compare all
    arms.
    """
    folds: list[tuple[int | None, str, tuple[str, ...]]] = [
        (fold, f"fold_{fold}", overrides) for fold, overrides in enumerate(sweep.folds)
    ]
    return [
        Trial(arm, seed, output / folder_name(arm.name) / part / f"seed_{seed}", fold, overrides)
        for seed in sweep.seeds
        for fold, part, overrides in folds or [(None, "", ())]
        for arm in sweep.arms
    ]


def select_trials(trials: Sequence[Trial], only: str) -> list[Trial]:
    """The trials of the arms with this name, or with a name that matches, where * is anything.

    Raises:
        UserError: no arm matches.
    """
    names = dict.fromkeys(trial.arm.name for trial in trials)
    selected = [name for name in names if name == only or fnmatchcase(name, only)]
    if not selected:
        expected = f"one of {', '.join(names)}"
        raise UserError("no arm has such a name", key="only", found=only, expected=expected)
    return [trial for trial in trials if trial.arm.name in selected]


def folder_name(arm: str) -> str:
    """The name of an arm with characters that every file system takes."""
    return re.sub(r"[^\w.+=-]+", "_", arm)


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of a text such as `0,1,2`; raises as `check_seeds` does."""
    parts = [part.strip() for part in text.split(",")]
    return check_seeds([int(part) if part.isdecimal() else part for part in parts])


def check_seeds(seeds: Any, file: str | Path | None = None) -> tuple[int, ...]:
    """The seeds of a list, which a file may define.

    Raises:
        UserError: not whole numbers from 0, or one of them twice.
    """
    listed = seeds if isinstance(seeds, list | tuple) else []
    valid = {seed for seed in listed if type(seed) is int and seed >= 0}
    if not listed or len(valid) < len(listed):
        message = "the seeds cannot be read"
        key = "seeds" if file is None else "sweep.seeds"
        expected = "different whole numbers from 0, such as 0,1,2"
        raise UserError(message, file=file, key=key, found=seeds, expected=expected)
    return tuple(listed)


def save_sweep(sweep: Sweep, command: str, output: Path) -> Sweep:
    """Write into the folder of a sweep what its report needs to know about it.

    Returns the sweep with the command, and with the seeds and commands of earlier calls as well.

    Raises:
        UserError: the folder holds another sweep, whose arms would be lost.
    """
    commands = [command]
    if (output / _FILE).is_file():
        before = load_saved_sweep(output)
        names = [arm.name for arm in sweep.arms]
        lost = [arm.name for arm in before.arms if arm.name not in names]
        if lost or before.folds != sweep.folds:
            raise UserError(
                "the folder holds another sweep",
                file=output,
                found=f"{before.file}, with {', '.join(lost) or 'other folds'}",
                expected=f"the arms {', '.join(names)}, or fewer",
                remedy="choose another folder, output=DIR; only=ARM trains one arm of a sweep",
            )
        sweep = replace(sweep, seeds=tuple(sorted({*before.seeds, *sweep.seeds})))
        commands = [*before.commands, command]
    sweep = replace(sweep, commands=tuple(dict.fromkeys(commands)))
    write_whole(output / _FILE, json.dumps(asdict(sweep), indent=2) + "\n")
    return sweep


def load_saved_sweep(output: Path) -> Sweep:
    """The sweep of a folder.

    Raises:
        UserError: the folder holds none, or its record is damaged.
    """
    path = output / _FILE
    if not path.exists():
        message = "not the folder of a sweep"
        expected = "the output folder of a sweep"
        raise UserError(message, file=output, found=f"no {_FILE}", expected=expected)
    what = "the record of a sweep"
    remedy = "delete this file: the command of the sweep writes it"
    data = read_json(path, what=what, remedy=remedy)
    try:
        return _sweep_of_record(data)
    except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UserError(f"{what} is damaged", file=path, found=reason, remedy=remedy) from error


def _sweep_of_record(data: dict[str, Any]) -> Sweep:
    """The sweep of a record; ValueError, TypeError and their like for what no sweep has."""
    arms = tuple(Arm(**{**arm, "overrides": _texts(arm["overrides"])}) for arm in data.pop("arms"))
    for arm in arms:
        _texts([arm.name, arm.config_file, arm.weights_of, arm.config])
        numbers = list(arm.published.values())
        if arm.max_iter is not None:
            numbers.append(arm.max_iter)
        if not all(type(n) in (int, float) and abs(n) < _LARGEST for n in numbers):
            raise ValueError(f"published: {arm.published}, max_iter: {arm.max_iter}")
    seeds = check_seeds(data.pop("seeds"))
    metrics = _texts(data.pop("metrics"))
    commands = _texts(data.pop("commands"))
    folds = tuple(map(_texts, data.pop("folds", [])))  # earlier versions have none
    sweep = Sweep(arms=arms, seeds=seeds, metrics=metrics, commands=commands, folds=folds, **data)
    _texts([sweep.file, sweep.baseline, sweep.source, sweep.question])
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names) or sweep.baseline not in names or not metrics:
        raise ValueError(f"arms {', '.join(names)}, baseline {sweep.baseline}")
    return sweep


def _texts(values: Any) -> tuple[str, ...]:
    """The values, which have to be a list of texts."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values} in place of texts")
    return tuple(values)
