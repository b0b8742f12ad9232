"""The plan of a sweep: arms, seeds, a run folder for each pair, and the record in its folder."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
        config_file: the config that its training starts from.
        overrides: the differences that define the arm, as `key=value`.
        published: others' figures for such an arm, in percent, by `task/metric`.
        weights_of: the name of an arm that is trained in the same way, whose weights this one
            evaluates in another way; empty: it is trained itself.
        config: a digest of the resolved config.
        max_iter: the number of iterations of its training.
    """

    name: str
    config_file: str
    overrides: tuple[str, ...]
    published: Mapping[str, float]
    weights_of: str = ""
    config: str = ""
    max_iter: int | None = None

    def __hash__(self) -> int:
        return hash(self.name)  # no two arms of a sweep have the same


@dataclass(frozen=True)
class Sweep:
    """A question: what some settings change.

    Attributes:
        file: the file that defines it.
        arms: the settings, with different names.
        baseline: the name of the arm that the others are compared with.
        seeds: each arm is trained with each of them.
        metrics: the compared metrics as `task/metric`, the most important first.
        source: where the published figures are from.
        question: the question in a sentence or two.
    """

    file: str
    arms: tuple[Arm, ...]
    baseline: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    source: str
    question: str = ""

    @property
    def name(self) -> str:
        return Path(self.file).stem

    def others(self) -> list[Arm]:
        """All arms but the baseline."""
        return [arm for arm in self.arms if arm.name != self.baseline]


@dataclass(frozen=True)
class Trial:
    """One training: an arm with a seed, in a run folder of its own."""

    arm: Arm
    seed: int
    folder: Path

    @property
    def source(self) -> Path | None:
        """The run folder whose weights it evaluates; None: it is trained itself."""
        if not self.arm.weights_of:
            return None
        return self.folder.parent.parent / folder_name(self.arm.weights_of) / self.folder.name

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides of its arm, with its seed and its folder."""
        output = texts.write("train.output_dir", str(self.folder))
        return (*self.arm.overrides, f"train.seed={self.seed}", output)

    @property
    def title(self) -> str:
        """Its arm and seed, for messages."""
        return f"arm '{self.arm.name}', seed {self.seed}"


def plan_trials(sweep: Sweep, output: Path) -> list[Trial]:
    """A trial for each seed and arm, seed by seed, so that early results compare all arms."""
    return [
        Trial(arm, seed, output / folder_name(arm.name) / f"seed_{seed}")
        for seed in sweep.seeds
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
        raise UserError(
            "no arm has such a name",
            key="only",
            found=only,
            expected=f"one of {', '.join(names)}",
        )
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
    sound = all(type(seed) is int and seed >= 0 for seed in listed)
    if not sound or not listed or len(set(listed)) < len(listed):
        raise UserError(
            "the seeds cannot be read",
            file=file,
            key="seeds" if file is None else "sweep.seeds",
            found=seeds,
            expected="different whole numbers from 0, such as 0,1,2",
        )
    return tuple(listed)


def save_sweep(sweep: Sweep, command: str, output: Path) -> tuple[Sweep, list[str]]:
    """Write into the folder of a sweep what its report needs to know about it.

    Returns:
        The sweep with the seeds of earlier calls as well, and all commands that ran it.

    Raises:
        UserError: the folder holds another sweep, whose arms would be lost.
    """
    commands: list[str] = []
    if (output / _FILE).is_file():
        before, commands = load_saved_sweep(output)
        kept = {arm.name for arm in sweep.arms}
        lost = [arm.name for arm in before.arms if arm.name not in kept]
        if lost:
            raise UserError(
                "the folder holds another sweep",
                file=output,
                found=f"{before.file}, with {', '.join(lost)}",
                expected=f"the arms {', '.join(arm.name for arm in sweep.arms)}, or fewer",
                remedy="choose another folder, output=DIR; only=ARM trains one arm of a sweep",
            )
        sweep = replace(sweep, seeds=tuple(sorted({*before.seeds, *sweep.seeds})))
    commands = list(dict.fromkeys([*commands, command]))
    content = {"commands": commands, **asdict(sweep)}
    write_whole(output / _FILE, json.dumps(content, indent=2) + "\n")
    return sweep, commands


def load_saved_sweep(output: Path) -> tuple[Sweep, list[str]]:
    """The sweep of a folder, and the commands that ran it.

    Raises:
        UserError: the folder holds none, or its record is damaged.
    """
    path = output / _FILE
    if not path.exists():
        raise UserError(
            "not the folder of a sweep",
            file=output,
            found=f"no {_FILE}",
            expected="the output folder of a sweep",
        )
    what, remedy = "the record of a sweep", "delete this file: the command of the sweep writes it"
    data = read_json(path, what=what, remedy=remedy)
    try:
        return _from_record(data)
    except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UserError(f"{what} is damaged", file=path, found=reason, remedy=remedy) from error


def _from_record(data: Any) -> tuple[Sweep, list[str]]:
    """A sweep and its commands from the data of `save_sweep`; raises errors of many kinds."""
    data = dict(data)
    commands = _texts(data.pop("commands"))
    arms = tuple(Arm(**{**arm, "overrides": _texts(arm["overrides"])}) for arm in data.pop("arms"))
    for arm in arms:
        _texts([arm.name, arm.config_file, arm.weights_of, arm.config])
        if not all(map(_is_number, dict(arm.published).values())):
            raise ValueError(f"published: {arm.published}")
        if arm.max_iter is not None and not _is_number(arm.max_iter):
            raise ValueError(f"max_iter: {arm.max_iter}")
    seeds, metrics = check_seeds(data.pop("seeds")), _texts(data.pop("metrics"))
    sweep = Sweep(arms=arms, seeds=seeds, metrics=metrics, **data)
    _texts([sweep.file, sweep.baseline, sweep.source, sweep.question])
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names) or sweep.baseline not in names or not sweep.metrics:
        raise ValueError(f"arms {', '.join(names)}, baseline {sweep.baseline}")
    return sweep, list(commands)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values} in place of texts")
    return tuple(values)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST
