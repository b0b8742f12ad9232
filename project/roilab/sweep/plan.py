"""The plan of a sweep: arms, seeds, and a run folder for each pair."""

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
_HUGE = 1e12  # no figure of a sweep is larger


@dataclass(frozen=True)
class Arm:
    """One setting to compare.

    Attributes:
        config_file: what its training starts from.
        overrides: what makes the arm, as `key=value`.
        published: figures of others for such an arm, in percent, by `task/metric`.
        weights_of: the name of an arm that is trained in the same way, and whose weights this one
            evaluates in another; empty: it is trained itself.
        config: tells one resolved config from another.
        max_iter: how many iterations it is trained.
    """

    name: str
    config_file: str
    overrides: tuple[str, ...]
    published: Mapping[str, float]
    weights_of: str = ""
    config: str = ""
    max_iter: int | None = None

    def __hash__(self) -> int:
        return hash(self.name)  # no two of a sweep have the same


@dataclass(frozen=True)
class Sweep:
    """A question: what some settings change.

    Attributes:
        file: where it was read from.
        arms: the settings, with different names.
        baseline: the name of the arm that the others are compared with.
        seeds: each arm is trained with each of them.
        metrics: what is compared, as `task/metric`, the most important first.
        source: where the published figures are from.
        question: what is asked, in a sentence or two.
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
        """The run folder whose weights it takes."""
        if not self.arm.weights_of:
            return None
        return self.folder.parent.parent / folder_name(self.arm.weights_of) / self.folder.name

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides of the training: those of its arm, and its own."""
        place = texts.write("train.output_dir", str(self.folder))
        return (*self.arm.overrides, f"train.seed={self.seed}", place)


def plan(sweep: Sweep, output: Path) -> list[Trial]:
    """A cell for each seed and arm, seed by seed, so that early results compare all arms."""
    return [
        Trial(arm, seed, output / folder_name(arm.name) / f"seed_{seed}")
        for seed in sweep.seeds
        for arm in sweep.arms
    ]


def chosen(cells: Sequence[Trial], pattern: str) -> list[Trial]:
    """The cells of the arms that have this name, or whose name matches, with * for anything.

    Raises:
        UserError: there is none.
    """
    found = [
        cell for cell in cells if cell.arm.name == pattern or fnmatchcase(cell.arm.name, pattern)
    ]
    if not found:
        raise UserError(
            "no arm has such a name",
            key="--only",
            found=pattern,
            expected=f"one of {', '.join(dict.fromkeys(cell.arm.name for cell in cells))}",
        )
    return found


def folder_name(arm: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.+=-]+", "_", arm)


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,2` as seeds.

    Raises:
        UserError: not whole numbers from 0, or one of them twice.
    """
    parts = [part.strip() for part in text.split(",")]
    return check_seeds([int(part) if part.isdecimal() else part for part in parts])


def check_seeds(seeds: Any, file: str | Path | None = None) -> tuple[int, ...]:
    """The seeds of a list.

    Raises:
        UserError: not whole numbers from 0, or one of them twice.
    """
    listed = seeds if isinstance(seeds, list | tuple) else []
    sound = all(type(seed) is int and seed >= 0 for seed in listed)
    if not sound or not listed or len(set(listed)) < len(listed):
        raise UserError(
            "the seeds cannot be read",
            file=file,
            key="seeds",
            found=seeds,
            expected="different whole numbers from 0, such as 0,1,2",
        )
    return tuple(listed)


def save_sweep(sweep: Sweep, command: str, output: Path) -> tuple[Sweep, list[str]]:
    """Leave in the folder of a sweep what its report needs to know of it.

    Returns:
        The sweep with the seeds that the folder has had before, and all commands that made it.

    Raises:
        UserError: the folder holds another sweep, of which arms would be lost.
    """
    commands: list[str] = []
    if (output / _FILE).is_file():
        before, commands = load_saved_sweep(output)
        lost = [arm.name for arm in before.arms if arm.name not in {a.name for a in sweep.arms}]
        if lost:
            raise UserError(
                "the folder holds another sweep",
                file=output,
                found=f"{before.file}, with {', '.join(lost)}",
                expected=f"the arms {', '.join(arm.name for arm in sweep.arms)}, or fewer",
                remedy="choose another --output; --only trains some arms of a sweep",
            )
        sweep = replace(sweep, seeds=tuple(sorted({*before.seeds, *sweep.seeds})))
    commands = list(dict.fromkeys([*commands, command]))
    content = {"commands": commands, **asdict(sweep)}
    write_whole(output / _FILE, json.dumps(content, indent=2) + "\n")
    return sweep, commands


def load_saved_sweep(output: Path) -> tuple[Sweep, list[str]]:
    """The sweep of a folder, and the commands that made it.

    Raises:
        UserError: the folder holds none.
    """
    path = output / _FILE
    if not path.exists():
        raise UserError(
            "not the folder of a sweep",
            file=output,
            found=f"no {_FILE}",
            expected="what --output named",
        )
    what, remedy = "the record of a sweep", "delete this file: the command of the sweep writes it"
    data = read_json(path, what=what, remedy=remedy)
    try:
        return _from_record(data)
    except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        found = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UserError(f"{what} is damaged", file=path, found=found, remedy=remedy) from error


def _from_record(data: Any) -> tuple[Sweep, list[str]]:
    """A sweep and its commands as `save` writes them; raises errors of many kinds if it is none."""
    data = dict(data)
    commands = _texts(data.pop("commands"))
    arms = tuple(Arm(**{**arm, "overrides": _texts(arm["overrides"])}) for arm in data.pop("arms"))
    for arm in arms:
        _texts([arm.name, arm.config_file, arm.weights_of, arm.config])
        if not all(map(_is_number, dict(arm.published).values())):
            raise ValueError(f"published: {arm.published}")
        if arm.max_iter is not None and not _is_number(arm.max_iter):
            raise ValueError(f"max_iter: {arm.max_iter}")
    sweep = Sweep(
        arms=arms,
        seeds=check_seeds(data.pop("seeds")),
        metrics=_texts(data.pop("metrics")),
        **data,
    )
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
    return type(value) in (int, float) and abs(value) < _HUGE
