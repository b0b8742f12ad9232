"""What a sweep consists of: arms, seeds, and a run folder for each pair."""

import ast
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from roilab.engine import config
from roilab.errors import UserError
from roilab.evaluation.difference import METRICS

TASKS = ("bbox", "segm", "keypoints")
_KEYS = ("base", "overrides", "arms", "baseline", "seeds", "metrics", "published")
_FILE = "sweep.json"


@dataclass(frozen=True)
class Arm:
    """One setting to compare.

    Attributes:
        config_file: what its training starts from.
        overrides: what makes the arm, as `key=value`.
        published: figures of others for such an arm, in percent, by `task/metric`.
        weights_of: the name of an arm that is trained in the same way, and whose weights this one
            evaluates in another; empty: it is trained itself.
    """

    name: str
    config_file: str
    overrides: tuple[str, ...]
    published: Mapping[str, float]
    weights_of: str = ""

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
        metrics: what is compared, as `task/metric`; empty: the AP, AP50 and AP75 of every task.
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
class Cell:
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
        """All that the training is told: of this arm, of this cell."""
        place = as_override("train.output_dir", str(self.folder))
        return (*self.arm.overrides, f"train.seed={self.seed}", place)


def load(file: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """A sweep from a lazy file, and from overrides, of which `key=a,b` makes arms.

    Args:
        file: with a dict `sweep`, see configs/ablations; or a training config, for which the
            overrides make all arms.
        overrides: of every arm, after its own.

    Raises:
        UserError: the file is neither, has keys that no sweep has, or contradicts itself.
    """
    found = config.read(file)
    if "sweep" in found:
        sweep = _read(Path(file), config.plain(found)["sweep"])
    elif "model" in found:
        alone = Arm("", str(file), (), {})
        sweep = Sweep(str(file), (alone,), "", (0,), (), "")
    else:
        raise UserError(
            "neither a sweep nor a training config",
            file=file,
            expected="a dict `sweep`, as in configs/ablations, or a key `model`",
        )
    return _checked(_with_overrides(sweep, overrides))


def _read(file: Path, data: Any) -> Sweep:
    data = _dict(file, "sweep", data)
    for key in data:
        if key not in _KEYS:
            raise UserError(
                "unknown key", file=file, key=f"sweep.{key}", expected=f"one of {', '.join(_KEYS)}"
            )
    arms = _dict(file, "sweep.arms", data.get("arms"))
    shared = _dict(file, "sweep.overrides", data.get("overrides", {}))
    published = _dict(file, "sweep.published", data.get("published", {}))
    rows = _dict(file, "sweep.published.rows", published.get("rows", {}))
    for name in rows.keys() - arms.keys():
        raise UserError(
            "a published row is of no arm",
            file=file,
            key="sweep.published.rows",
            found=name,
            expected=f"one of {', '.join(arms)}",
        )

    def arm(name: str, setting: Any) -> Arm:
        """Of overrides, or of a config of its own."""
        start = setting if isinstance(setting, str) else data.get("base", "")
        own = {} if isinstance(setting, str) else dict(_dict(file, f"sweep.arms.{name}", setting))
        weights_of = own.pop("weights_of", "")
        # The file's parent and not the working directory, as it is for what the file imports.
        place = os.path.relpath(file.parent / start)
        texts = tuple(as_override(key, value) for key, value in {**shared, **own}.items())
        return Arm(name, place, texts, rows.get(name, {}), weights_of)

    return Sweep(
        file=str(file),
        arms=tuple(arm(name, setting) for name, setting in arms.items()),
        baseline=data.get("baseline", next(iter(arms), "")),
        seeds=tuple(data.get("seeds", (0,))),
        metrics=tuple(data.get("metrics", ())),
        source=published.get("source", ""),
        question=_question(file),
    )


def _question(file: Path) -> str:
    """The first paragraph of a file's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def _dict(file: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError("not a sweep", file=file, key=key, found=value, expected="a dict")
    return value


def _with_overrides(sweep: Sweep, overrides: Sequence[str]) -> Sweep:
    """The sweep with overrides of all arms; `key=a,b` makes an arm of each value."""
    choices = [_choices(text) for text in overrides]
    shared = [texts[0] for texts in choices if len(texts) == 1]
    grid = list(itertools.product(*(texts for texts in choices if len(texts) > 1)))

    def named(arm: str, point: Sequence[str]) -> str:
        return ", ".join([*([arm] if arm else []), *map(_short, point)])

    arms = tuple(
        replace(
            arm,
            name=named(arm.name, point),
            weights_of=named(arm.weights_of, point) if arm.weights_of else "",
            overrides=(*arm.overrides, *shared, *point),
        )
        for arm in sweep.arms
        for point in grid
    )
    first = sweep.arms.index(_named(sweep, "baseline", sweep.baseline)) * len(grid)
    return replace(sweep, arms=arms, baseline=arms[first].name)


def _choices(text: str) -> list[str]:
    """`key=a,b` as `key=a` and `key=b`; any other override alone."""
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException:
        return [text]  # what is wrong is said when the config is loaded
    if not parsed.is_sweep_override():
        return [text]
    return [f"{parsed.key_or_group}={value}" for value in parsed.sweep_string_iterator()]


def _short(text: str) -> str:
    """`a.b.key=value` as `key=value`."""
    key, _, value = text.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _named(sweep: Sweep, key: str, name: str) -> Arm:
    for arm in sweep.arms:
        if arm.name == name:
            return arm
    raise UserError(
        "there is no such arm",
        file=sweep.file,
        key=f"sweep.{key}",
        found=name,
        expected=f"one of {', '.join(arm.name for arm in sweep.arms)}" if sweep.arms else "an arm",
    )


def _checked(sweep: Sweep) -> Sweep:
    folders = [folder_name(arm.name) for arm in sweep.arms]
    for arm, folder in zip(sweep.arms, folders, strict=True):
        if not folder.strip("._") or folders.count(folder) > 1:
            raise UserError(
                "the arms need names that can be told apart, or several values: key=a,b",
                file=sweep.file,
                key="sweep.arms",
                found=arm.name,
            )
    for arm in sweep.arms:
        if (
            arm.weights_of
            and _named(sweep, f"arms.{arm.name}.weights_of", arm.weights_of).weights_of
        ):
            raise UserError(
                "the weights are of an arm that is not trained itself",
                file=sweep.file,
                key=f"sweep.arms.{arm.name}.weights_of",
                found=arm.weights_of,
            )
    check_seeds(sweep.seeds, sweep.file)
    figures = [*sweep.metrics, *(name for arm in sweep.arms for name in arm.published)]
    for name in figures:
        task, _, metric = name.partition("/")
        if task not in TASKS or metric not in METRICS:
            raise UserError(
                "there is no such metric",
                file=sweep.file,
                key="sweep.metrics",
                found=name,
                expected=f"{', '.join(TASKS)}, / and {', '.join(METRICS)}",
            )
    return sweep


def folder_name(arm: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.+=-]+", "_", arm)


def as_override(key: str, value: Any) -> str:
    """`key=value` in Hydra's grammar."""
    return f"{key}={_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_literal, value)) + "]"
    if isinstance(value, str):
        return str(QuotedString(value, Quote.single).with_quotes())
    return "null" if value is None else str(value).lower()


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,2` as seeds.

    Raises:
        UserError: not whole numbers from 0, or one of them twice.
    """
    parts = [part.strip() for part in text.split(",")]
    seeds = tuple(int(part) if part.isdecimal() else part for part in parts)
    return check_seeds(seeds)


def check_seeds(seeds: Sequence[Any], file: str | None = None) -> tuple[int, ...]:
    """The seeds as they are.

    Raises:
        UserError: not whole numbers from 0, or one of them twice.
    """
    sound = all(type(seed) is int and seed >= 0 for seed in seeds)
    if not sound or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(
            "the seeds cannot be read",
            file=file,
            key="seeds",
            found=", ".join(map(str, seeds)),
            expected="different whole numbers from 0, such as 0,1,2",
        )
    return tuple(seeds)


def plan(sweep: Sweep, output: Path) -> list[Cell]:
    """A cell for each seed and arm, seed by seed, so that early results compare all arms.

    Arms that take another's weights come last, when these are there.
    """
    return [
        Cell(arm, seed, output / folder_name(arm.name) / f"seed_{seed}")
        for seed in sweep.seeds
        for arm in sorted(sweep.arms, key=lambda arm: bool(arm.weights_of))
    ]


def chosen(cells: Sequence[Cell], pattern: str) -> list[Cell]:
    """The cells of the arms whose name matches, with * for anything.

    Raises:
        UserError: there is none.
    """
    found = [cell for cell in cells if fnmatchcase(cell.arm.name, pattern)]
    if not found:
        raise UserError(
            "no arm has such a name",
            key="--only",
            found=pattern,
            expected=f"one of {', '.join(dict.fromkeys(cell.arm.name for cell in cells))}",
        )
    return found


def save(sweep: Sweep, command: str, output: Path) -> None:
    """Leave in the folder of a sweep what its report needs to know of it."""
    content = {"command": command, **asdict(sweep)}
    config.write_text(output / _FILE, json.dumps(content, indent=2) + "\n")


def saved(output: Path) -> tuple[Sweep, str]:
    """The sweep of a folder, and the command that made it.

    Raises:
        UserError: the folder holds none.
    """
    path = output / _FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        command = data.pop("command")
        arms = tuple(
            Arm(**{**arm, "overrides": tuple(arm["overrides"])}) for arm in data.pop("arms")
        )
        seeds, metrics = (tuple(data.pop(key)) for key in ("seeds", "metrics"))
        return Sweep(arms=arms, seeds=seeds, metrics=metrics, **data), command
    except FileNotFoundError as error:
        raise UserError(
            "not the folder of a sweep",
            file=output,
            found=f"no {_FILE}",
            expected="what --output named",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError("the record of a sweep is damaged", file=path, found=error) from error
