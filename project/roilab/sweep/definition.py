"""Definitions of sweeps: read from a file and from overrides, checked, and resolved."""

import ast
import copy
import hashlib
import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from roilab.engine import config
from roilab.engine import overrides as texts
from roilab.engine.build_data import build_dataset, tasks_of
from roilab.engine.config_diff import differences
from roilab.engine.train_keys import dependent_on
from roilab.errors import UserError, argument
from roilab.evaluation.ap import METRICS, TASK_NAMES
from roilab.sweep.plan import Arm, Sweep, check_seeds, folder_name
from roilab.sweep.results import no_such_class

_KEYS = ("base", "overrides", "arms", "baseline", "seeds", "folds", "metrics", "published")
# The metrics that are compared where a sweep names none.
_METRICS = tuple(f"{task}/{name}" for task in TASK_NAMES for name in ("AP", "AP50", "AP75"))
# In the folder of a sweep, beside the folders of its arms and the files of its report.
_RESERVED = ("plots", "pictures", "jobs", "sweep.json")
# Keys that differ from trial to trial, and the parameters of a sweep that set them.
_OF_TRIAL = {"train.seed": "seeds", "train.output_dir": "output"}


def load_sweep(
    file: str | Path, overrides: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> Sweep:
    """A sweep from a lazy file, and from overrides, of which `key=a,b` makes arms.

    The file has a dict `sweep`, see configs/ablations, or is a training config, for which the
    overrides make all arms; with several seeds, the config itself may be the only one. The
    overrides are of every arm, applied after its own. Seeds take the place of the file's.

    Raises:
        UserError: the file is neither, has keys that no sweep has, or contradicts itself.
    """
    cfg = config.read_config(file)
    if "sweep" in cfg:
        if not config.is_code(file):
            message = "a sweep is a Python file, since it names configs, which are run"
            expected = "NAME.py, as in configs/ablations"
            remedy = "if the sweep is yours, write it as a Python file"
            raise UserError(message, file=file, expected=expected, remedy=remedy)
        sweep = _from_dict(Path(file), config.to_plain_data(cfg)["sweep"])
    elif "model" in cfg:
        repeated = len(seeds or ()) > 1 and not any(
            len(texts.choices(text)) > 1 for text in overrides
        )
        name = Path(file).stem if repeated else ""
        sweep = Sweep(str(file), (Arm(name, str(file), (), {}),), name, (0,), _METRICS, "")
    else:
        expected = "a dict `sweep`, as in configs/ablations, or a key `model`"
        raise UserError("neither a sweep nor a training config", file=file, expected=expected)
    if seeds is not None:
        sweep = replace(sweep, seeds=tuple(seeds))
    return _checked(_with_overrides(sweep, overrides))


def resolve(sweep: Sweep) -> Sweep:
    """The sweep with the digests of its arms' configs and their iterations, once all can be built.

    Raises:
        UserError: a config has no such key, its model cannot be built, two arms are the same, an
            arm would evaluate weights that are trained in another way, or a metric is of a task
            that no arm has.
    """
    cfgs = {arm.name: config.load_config(arm.config_file, arm.overrides) for arm in sweep.arms}
    arms: list[Arm] = []
    for arm in sweep.arms:
        cfg = cfgs[arm.name]
        _check_model(cfg)
        if arm is sweep.arms[0]:
            for fold in sweep.folds:
                config.load_config(arm.config_file, (*arm.overrides, *fold))
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
                message = "its weights would be trained in another way"
                value = f"{arm.weights_of} differs in {', '.join(trained)}"
                raise _wrong(sweep, f"arms.{arm.name}.weights_of", message, value)
    if sweep.metrics != _METRICS:
        _check_tasks_of_metrics(sweep, list(cfgs.values()))
    return replace(sweep, arms=tuple(arms))


def _check_tasks_of_metrics(sweep: Sweep, cfgs: Sequence[DictConfig]) -> None:
    tasks = dict.fromkeys(task for cfg in cfgs for task in tasks_of(cfg.model.roi_heads))
    for metric in sweep.metrics:
        if metric.partition("/")[0] not in tasks:
            message = "a metric that is compared is of a task that no arm has"
            raise _wrong(sweep, "metrics", message, metric, f"a metric of {' or '.join(tasks)}")


def check_files_of_folds(sweep: Sweep) -> None:
    """Raise UserError where a fold's annotation files are not there, before any fold is trained."""
    arm = sweep.arms[0]
    for number, fold in enumerate(sweep.folds):
        data = config.load_config(arm.config_file, (*arm.overrides, *fold)).data
        for split in ("train", "val"):
            files = data[split].get("files") or ()
            for file in [files] if isinstance(files, str) else files:
                if not Path(file).exists():
                    raise UserError(
                        "no such annotation file",
                        file=sweep.file,
                        key=f"sweep.folds.{number}: data.{split}.files",
                        found=file,
                        remedy="make the folds with roilab data split, as docs/ablations.md says, "
                        "and name their files in the sweep",
                    )


def check_classes_of_metrics(sweep: Sweep) -> None:
    """Raise UserError where a metric is of a class that the data do not have, before any training.

    The data are those of the first arm and fold, and are read only where there is such a metric.
    """
    parts = [metric.partition("/") for metric in sweep.metrics]
    of_classes = [(task, metric) for task, _, metric in parts if metric not in METRICS]
    if not of_classes:
        return
    arm, fold = sweep.arms[0], sweep.folds[0] if sweep.folds else ()
    cfg = config.load_config(arm.config_file, (*arm.overrides, *fold))
    classes = cfg.data.classes or build_dataset(cfg, "data.train").classes
    for task, metric in of_classes:
        if metric.partition("-")[2] not in classes:
            raise no_such_class(sweep.file, task, metric, classes)


def _check_model(cfg: DictConfig) -> None:
    """Build the model of a config, for data of any number of classes, without memory."""
    for_any_data = copy.deepcopy(cfg)
    for key in ("num_classes", "num_keypoints"):
        if cfg.data.get(key) is None:
            for_any_data.data[key] = 2
    with torch.device("meta"):
        config.build(for_any_data.model, "model")


def _wrong(
    sweep: Sweep, key: str, message: str, value: object, expected: str | None = None
) -> UserError:
    return UserError(message, file=sweep.file, key=f"sweep.{key}", found=value, expected=expected)


def _from_dict(file: Path, data: Any) -> Sweep:
    data = _dict(file, "sweep", data, _KEYS)
    arms = _dict(file, "sweep.arms", data.get("arms"))
    shared = _dict(file, "sweep.overrides", data.get("overrides", {}))
    published = _dict(file, "sweep.published", data.get("published", {}), ("source", "rows"))
    rows = _dict(file, "sweep.published.rows", published.get("rows", {}), tuple(arms))
    for name, row in rows.items():
        key = f"sweep.published.rows.{name}"
        for figure in _dict(file, key, row).values():
            _kind(file, key, figure, int | float, "numbers")
    metrics = data.get("metrics", list(_METRICS)) or None  # an empty list is refused, too
    metrics = _kind(file, "sweep.metrics", metrics, list, "a list of at least one task/metric")

    parsed = []
    for name, setting in arms.items():
        key = f"sweep.arms.{name}"
        if isinstance(setting, str):  # a config of its own
            start = setting
            own: dict[str, Any] = {}
        else:
            start = _kind(file, "sweep.base", data.get("base"), str, "the path of a config")
            own = dict(_dict(file, key, setting))
        weights_of = _kind(file, f"{key}.weights_of", own.pop("weights_of", ""), str, "an arm")
        # Relative to the file and not to the working directory, like the imports of the file.
        config_file = os.path.relpath(file.parent / start)
        overrides = tuple(texts.write(key, value) for key, value in {**shared, **own}.items())
        parsed.append(Arm(name, config_file, overrides, rows.get(name, {}), weights_of))

    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return Sweep(
        file=str(file),
        arms=tuple(parsed),
        baseline=data.get("baseline", next(iter(arms), "")),
        seeds=check_seeds(data.get("seeds", [0]), file),
        folds=_folds(file, data.get("folds", [])),
        metrics=tuple(metrics),
        source=published.get("source", ""),
        question=" ".join(docstring.partition("\n\n")[0].split()),
    )


def _folds(file: Path, value: Any) -> tuple[tuple[str, ...], ...]:
    """The overrides of each fold."""
    folds = []
    for number, fold in enumerate(_kind(file, "sweep.folds", value, list, "a list of dicts")):
        settings = _dict(file, f"sweep.folds.{number}", fold)
        folds.append(tuple(texts.write(key, value) for key, value in settings.items()))
    return tuple(folds)


def _dict(file: Path, key: str, value: Any, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """The value, which has to be a dict, with no other keys than these."""
    _kind(file, key, value, dict, "a dict")
    for name in value:
        if keys is not None and name not in keys:
            expected = f"one of {', '.join(keys)}"
            raise UserError("unknown key", file=file, key=f"{key}.{name}", expected=expected)
    return value


def _kind(file: Path, key: str, value: Any, kind: Any, expected: str) -> Any:
    """The value, which has to be of a kind, in words `expected`."""
    if not isinstance(value, kind):
        raise UserError("not a sweep", file=file, key=key, found=value, expected=expected)
    return value


def _with_overrides(sweep: Sweep, overrides: Sequence[str]) -> Sweep:
    """The sweep with further overrides of all arms; `key=a,b` makes an arm of each value."""
    axes = [texts.choices(text) for text in overrides]
    grid = list(itertools.product(*axes))

    def named(arm: str, point: Sequence[str]) -> str:
        varied = [text for text, values in zip(point, axes, strict=True) if len(values) > 1]
        # `a.b.key=value` as `key=value`.
        short = [re.sub(r"^[^=]*\.(?=[^=.]*=)", "", text) for text in varied]
        return ", ".join(filter(None, [arm, *short]))

    arms = []
    for arm, point in itertools.product(sweep.arms, grid):
        weights_of = named(arm.weights_of, point) if arm.weights_of else ""
        own = (*arm.overrides, *point)
        name = named(arm.name, point)
        arms.append(replace(arm, name=name, weights_of=weights_of, overrides=own))
    # Of the arms that the baseline has become, the one with the first value of each key.
    first = sweep.arms.index(_named(sweep, "baseline", sweep.baseline)) * len(grid)
    return replace(sweep, arms=tuple(arms), baseline=arms[first].name)


def _named(sweep: Sweep, key: str, name: str) -> Arm:
    """The arm that a key of the sweep names; UserError where there is none."""
    for arm in sweep.arms:
        if arm.name == name:
            return arm
    expected = f"one of {', '.join(arm.name for arm in sweep.arms)}"
    raise _wrong(sweep, key, "there is no such arm", name, expected)


def _checked(sweep: Sweep) -> Sweep:
    """The sweep; UserError where its arms or metrics contradict each other."""
    folders = [folder_name(arm.name).lower() for arm in sweep.arms]
    for arm, folder in zip(sweep.arms, folders, strict=True):
        if not folder.strip("._") or folders.count(folder) > 1:
            message = (
                "the arms need different names, or an override several values, key=a,b, or the "
                "sweep several seeds"
            )
            raise _wrong(sweep, "arms", message, arm.name or "an arm without a name")
        if folder in _RESERVED or folder.startswith("report."):
            raise _wrong(sweep, "arms", "an arm would have a folder of the report", arm.name)
        _check_arm(sweep, arm)
    _check_folds(sweep)
    known = {f"{task}/{metric}" for task in TASK_NAMES for metric in METRICS}
    published = [name for arm in sweep.arms for name in arm.published]
    for name in (*sweep.metrics, *published):
        task, _, metric = str(name).partition("/")
        of_class = task in TASK_NAMES and re.fullmatch("AP(50)?-.+", metric)
        if str(name) not in known and not of_class:
            metrics = ", ".join(METRICS)
            expected = f"{', '.join(TASK_NAMES)}, / and {metrics}, AP-CLASS or AP50-CLASS"
            raise _wrong(sweep, "metrics", "there is no such metric", name, expected)
    return sweep


def _check_folds(sweep: Sweep) -> None:
    for fold in sweep.folds:
        _check_overrides(sweep, fold)
        if not fold or sweep.folds.count(fold) > 1:
            message = "each fold needs data of its own"
            expected = "different overrides, such as data.train.files and data.val.files"
            raise _wrong(sweep, "folds", message, ", ".join(fold) or "no overrides", expected)
    if len(sweep.folds) == 1:
        expected = "at least two, or none"
        raise _wrong(sweep, "folds", "one fold is no cross-validation", 1, expected)


def _check_overrides(sweep: Sweep, overrides: Sequence[str]) -> None:
    for text in overrides:
        key, _, value = text.partition("=")
        if key in _OF_TRIAL:
            raise UserError(
                "a sweep sets this key for each training",
                file=sweep.file,
                key=key,
                found=text,
                remedy=f"set it for the sweep: {argument(_OF_TRIAL[key], value)}",
            )


def _check_arm(sweep: Sweep, arm: Arm) -> None:
    _check_overrides(sweep, arm.overrides)
    key = f"arms.{arm.name}.weights_of"
    if arm.weights_of and _named(sweep, key, arm.weights_of).weights_of:
        message = "the weights would be those of an arm that is not trained itself"
        raise _wrong(sweep, key, message, arm.weights_of)
