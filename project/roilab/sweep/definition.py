"""A sweep from its file and the command line."""

import ast
import copy
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from roilab.engine import config
from roilab.engine import overrides as texts
from roilab.engine.config_diff import differences
from roilab.engine.train_keys import dependent_on
from roilab.errors import UserError
from roilab.evaluation.ap import TASK_NAMES
from roilab.evaluation.bootstrap import METRICS
from roilab.sweep.plan import Arm, Sweep, check_seeds, folder_name

_KEYS = ("base", "overrides", "arms", "baseline", "seeds", "metrics", "published")
_PUBLISHED = ("source", "rows")
# What is compared without a word of it.
_METRICS = tuple(f"{task}/{name}" for task in TASK_NAMES for name in ("AP", "AP50", "AP75"))
# What the folder of a sweep has beside those of its arms.
_TAKEN = ("plots", "pictures", "jobs")
# What each cell has of its own.
_SET = {"train.seed": "--seeds", "train.output_dir": "--output"}


def load_sweep(file: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """A sweep from a lazy file, and from overrides, of which `key=a,b` makes arms.

    Args:
        file: with a dict `sweep`, see configs/ablations; or a training config, for which the
            overrides make all arms.
        overrides: of every arm, after its own.

    Raises:
        UserError: the file is neither, has keys that no sweep has, or contradicts itself.
    """
    found = config.read_config(file)
    if "sweep" in found and not config.is_code(file):
        raise UserError(
            "a sweep is written in Python, since it names configs, which are run",
            file=file,
            expected="NAME.py, as in configs/ablations",
            remedy="write it so, if it is yours",
        )
    if "sweep" in found:
        sweep = _read(Path(file), config.to_plain_data(found)["sweep"])
    elif "model" in found:
        alone = Arm("", str(file), (), {})
        sweep = Sweep(str(file), (alone,), "", (0,), _METRICS, "")
    else:
        raise UserError(
            "neither a sweep nor a training config",
            file=file,
            expected="a dict `sweep`, as in configs/ablations, or a key `model`",
        )
    return _checked(_with_overrides(sweep, overrides))


def resolve(sweep: Sweep) -> Sweep:
    """The sweep with what its arms' configs hold. Their models are built, without memory.

    Raises:
        UserError: a config has no such key, its model cannot be built, two arms are the same, or an
            arm would take weights that were trained in another way.
    """
    cfgs = {arm.name: config.load_config(arm.config_file, arm.overrides) for arm in sweep.arms}
    arms: list[Arm] = []
    for arm in sweep.arms:
        cfg = cfgs[arm.name]
        _try_model(cfg)
        text = json.dumps(config.to_plain_data(cfg), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        for other in arms:
            if other.config == digest:
                raise _wrong(sweep, "arms", "two arms are the same", f"{other.name}, {arm.name}")
        arms.append(replace(arm, config=digest, max_iter=cfg.train.get("max_iter")))
        if arm.weights_of:
            keys = [row.key for row in differences(cfgs[arm.weights_of], cfg)]
            trained = [key for key in keys if dependent_on(key) != "evaluation"]
            if trained:
                key = f"arms.{arm.name}.weights_of"
                message = "its weights would be trained in another way"
                raise _wrong(
                    sweep, key, message, f"{arm.weights_of} differs in {', '.join(trained)}"
                )
    return replace(sweep, arms=tuple(arms))


def _try_model(cfg: DictConfig) -> None:
    """Build a model on no device, for data of any kind."""
    cfg = copy.deepcopy(cfg)
    for key in ("num_classes", "num_keypoints"):
        if cfg.data.get(key) is None:
            cfg.data[key] = 2
    with torch.device("meta"):
        config.build(cfg.model, "model")


def _wrong(
    sweep: Sweep, key: str, message: str, found: object, expected: str | None = None
) -> UserError:
    return UserError(message, file=sweep.file, key=f"sweep.{key}", found=found, expected=expected)


def _read(file: Path, data: Any) -> Sweep:
    data = _dict(file, "sweep", data, _KEYS)
    arms = _dict(file, "sweep.arms", data.get("arms"))
    shared = _dict(file, "sweep.overrides", data.get("overrides", {}))
    published = _dict(file, "sweep.published", data.get("published", {}), _PUBLISHED)
    rows = _dict(file, "sweep.published.rows", published.get("rows", {}), tuple(arms))
    for name, row in rows.items():
        for figure in _dict(file, f"sweep.published.rows.{name}", row).values():
            _kind(file, f"sweep.published.rows.{name}", figure, int | float, "numbers")
    metrics = _kind(
        file, "sweep.metrics", data.get("metrics", list(_METRICS)), list, "a list of task/metric"
    )
    if not metrics:
        _kind(file, "sweep.metrics", None, list, "at least one task/metric")

    def arm(name: str, setting: Any) -> Arm:
        """An arm made of overrides, or of a config of its own."""
        key = f"sweep.arms.{name}"
        if isinstance(setting, str):
            start, own = setting, {}
        else:
            start = _kind(file, "sweep.base", data.get("base"), str, "the path of a config")
            own = dict(_dict(file, key, setting))
        weights_of = _kind(file, f"{key}.weights_of", own.pop("weights_of", ""), str, "an arm")
        # The file's parent and not the working directory, as it is for what the file imports.
        place = os.path.relpath(file.parent / start)
        written = tuple(texts.write(key, value) for key, value in {**shared, **own}.items())
        return Arm(name, place, written, rows.get(name, {}), weights_of)

    return Sweep(
        file=str(file),
        arms=tuple(arm(name, setting) for name, setting in arms.items()),
        baseline=data.get("baseline", next(iter(arms), "")),
        seeds=check_seeds(data.get("seeds", [0]), file),
        metrics=tuple(metrics),
        source=published.get("source", ""),
        question=_question(file),
    )


def _question(file: Path) -> str:
    """The first paragraph of a file's docstring."""
    text = file.read_text(encoding="utf-8") if file.suffix == ".py" else ""
    return " ".join((ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0].split())


def _dict(file: Path, key: str, value: Any, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """A dict, with no other keys than these."""
    _kind(file, key, value, dict, "a dict")
    for name in value:
        if keys is not None and name not in keys:
            expected = f"one of {', '.join(keys)}"
            raise UserError("unknown key", file=file, key=f"{key}.{name}", expected=expected)
    return value


def _kind(file: Path, key: str, value: Any, kind: Any, expected: str) -> Any:
    if not isinstance(value, kind):
        raise UserError("not a sweep", file=file, key=key, found=value, expected=expected)
    return value


def _with_overrides(sweep: Sweep, overrides: Sequence[str]) -> Sweep:
    """The sweep with overrides of all arms; `key=a,b` makes an arm of each value."""
    choices = [texts.choices(text) for text in overrides]
    shared = [values[0] for values in choices if len(values) == 1]
    grid = list(itertools.product(*(values for values in choices if len(values) > 1)))

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


def _short(text: str) -> str:
    """`a.b.key=value` as `key=value`."""
    key, _, value = text.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _named(sweep: Sweep, key: str, name: str) -> Arm:
    for arm in sweep.arms:
        if arm.name == name:
            return arm
    raise _wrong(sweep, key, "there is no such arm", name, _one_of(arm.name for arm in sweep.arms))


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


def _checked(sweep: Sweep) -> Sweep:
    folders = [folder_name(arm.name).lower() for arm in sweep.arms]
    for arm, folder in zip(sweep.arms, folders, strict=True):
        if not folder.strip("._") or folders.count(folder) > 1:
            message = "the arms need names that can be told apart, or several values: key=a,b"
            raise _wrong(sweep, "arms", message, arm.name)
        if folder in _TAKEN:
            raise _wrong(sweep, "arms", "an arm's folder would be the report's", arm.name)
        for text in arm.overrides:
            key = text.partition("=")[0]
            if key in _SET:
                raise UserError(
                    "a sweep sets this for each training",
                    file=sweep.file,
                    key=key,
                    found=text,
                    remedy=f"{_SET[key]} is what says it",
                )
        key = f"arms.{arm.name}.weights_of"
        if arm.weights_of and _named(sweep, key, arm.weights_of).weights_of:
            message = "the weights are of an arm that is not trained itself"
            raise _wrong(sweep, key, message, arm.weights_of)
    figures = [*sweep.metrics, *(name for arm in sweep.arms for name in arm.published)]
    for name in figures:
        task, _, metric = str(name).partition("/")
        if task not in TASK_NAMES or metric not in METRICS:
            expected = f"{', '.join(TASK_NAMES)}, / and {', '.join(METRICS)}"
            raise _wrong(sweep, "metrics", "there is no such metric", name, expected)
    return sweep
