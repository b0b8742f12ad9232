"""Strict lazy configs: find, load, check, save and build them.

A config file in Python is code: loading one runs it, so only load those that you trust. A saved
config, in YAML, is data: loading and building it runs nothing but what `roilab.engine.trusted`
allows. A mistake in either is a UserError with its key.
"""

import builtins
import copy
import difflib
import functools
import importlib.resources
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import LazyConfig, instantiate
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf, SCMode
from omegaconf.errors import OmegaConfBaseException

from roilab.engine import config_keys, trusted
from roilab.engine.config_keys import PRESET, escaped, override
from roilab.engine.old_names import with_new_names
from roilab.engine.overrides import write_for_shell
from roilab.errors import UserError, is_lost_worker
from roilab.files import config_folder, write_whole
from roilab.via.records import collector_paused

# What wrong arguments make a model, loader or optimizer raise, when it is built or first used.
UNBUILDABLE = (
    *trusted.NOT_PLAIN_DATA,
    AssertionError,
    ImportError,
    OmegaConfBaseException,
    RuntimeError,
)
# The node `evaluation` of a config without one, such as that of an older run; see
# configs/common/train.py.
EVALUATION = {"max_detections": None}
# Keys with their defaults that configs of older runs lack.
_NEW_KEYS: tuple[tuple[str, str, Any], ...] = (
    ("train", "process_invariant", False),
    ("train", "class_balance", None),
    ("data", "class_weights", None),
)
_MAX_DETECTIONS = "evaluation.max_detections"
_PREDICTOR = "model.roi_heads.box_predictor"
TOPK = f"{_PREDICTOR}.test_topk_per_image"


def upstream(path: str) -> DictConfig:
    """A lazy config of the installed Detectron2, e.g. `common/models/mask_rcnn_fpn.py`."""
    return copy.deepcopy(_upstream(path))


# Detectron2 runs a file of a config anew for each other file that imports from it.
@functools.cache
def _upstream(path: str) -> DictConfig:
    configs = importlib.resources.files("detectron2") / "model_zoo/configs"
    return LazyConfig.load(str(configs / path))


def base_config(name: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """A config of RoILab by name, or a file, with overrides: what a config in any folder builds on.

        _base = base_config("small_mask")
        data, dataloader, evaluation = _base.data, _base.dataloader, _base.evaluation

    Raises:
        UserError: there is no such config, or an override does not fit it.
    """
    cfg = _read_training_config(find_config(name))
    preset_of_file = OmegaConf.select(cfg, PRESET)
    override(cfg, overrides)
    _check_choices(cfg, preset_of_file)
    return cfg


def find_config(name: str | Path) -> str:
    """The path of a config file, or of a config that is installed with RoILab, from its name.

    `mask_rcnn_R_50_FPN_1x` and `ablations/pooler_mask` are names.
    """
    installed = config_folder() / f"{name}.py"
    is_name = not Path(name).suffix and not Path(name).exists() and installed.is_file()
    return str(installed if is_name else name)


def is_code(path: str | Path) -> bool:
    """Whether a config file is Python, which is run; any other is data."""
    return Path(path).suffix == ".py"


@collector_paused()
def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, init_checkpoint: str | None = None
) -> DictConfig:
    """Load a training config (.py, or .yaml as `save_config` writes it) and apply overrides.

    Initial weights that have settings in `weights` bring them along, and overrides, `key=value` as
    in `roilab.engine.overrides`, come after these. A saved config already has the settings of its
    own weights. `init_checkpoint` takes the place of `train.init_checkpoint`.

    Raises:
        UserError: the file cannot be loaded, an override names a key that does not exist, or the
            config contradicts itself.
    """
    cfg = _read_training_config(path)
    _check_weights(cfg)
    limits = _detection_limits(cfg)
    weights_of_file = _initial_weights(cfg)
    preset_of_file = OmegaConf.select(cfg, PRESET)

    override(cfg, overrides)
    _check_choices(cfg, preset_of_file)
    if init_checkpoint is not None:
        cfg.train.init_checkpoint = init_checkpoint
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(
            "a value of the config refers to a key that does not exist, or to itself",
            key=error.full_key,
            found=str(error).splitlines()[0],
            expected="${key} with another key of the config; a text is quoted, and all of it "
            "once more for the shell",
        ) from error
    _check_weights(cfg)

    name = _initial_weights(cfg)
    settings = cfg.weights[name].get("settings") if name else None
    if settings and (is_code(path) or name != weights_of_file):
        cfg = _read_training_config(path)
        cfg.merge_with(settings)
        if not is_code(path):  # nodes that are harmless apart need not be so when merged
            trusted.refuse_untrusted(OmegaConf.to_container(cfg), path)
        override(cfg, overrides)
        cfg.train.init_checkpoint = name

    _apply_max_detections(cfg, limits)
    return cfg


def _read_training_config(path: str | Path) -> DictConfig:
    """Read a training config, and add the keys that were not there yet when it was written."""
    cfg = read_config(path)
    if "model" not in cfg:
        raise UserError("not a training config", file=path, expected="a top-level key 'model'")
    cfg.evaluation = {**EVALUATION, **(cfg.get("evaluation") or {})}
    for node, key, default in _NEW_KEYS:
        if isinstance(cfg.get(node), DictConfig):
            cfg[node].setdefault(key, default)
    return cfg


def _check_choice(cfg: DictConfig, key: str, source: str, kind: str) -> None:
    """Raise UserError where a key names none of the entries that a config has at another key.

    Args:
        kind: what the entries are, in words. The first of them is proposed where none is near.
    """
    name, entries = OmegaConf.select(cfg, key), OmegaConf.select(cfg, source)
    if isinstance(entries, DictConfig) and name not in entries:
        names = [str(entry) for entry in entries]
        near = [*difflib.get_close_matches(str(name), names, n=1), *names]
        raise UserError(
            f"no {kind} has this name",
            key=key,
            found="null" if name is None else name,
            expected=f"one of {', '.join(names)}",
            remedy=f"give {write_for_shell(key, near[0])}" if near else None,
        )


def _check_choices(cfg: DictConfig, preset_of_file: Any) -> None:
    """Make sure that the preset of augmentations and the schedule are among those of a config.

    Raises:
        UserError: one is not, or another preset is chosen in a saved config, which has only its
            own.
    """
    _check_choice(cfg, PRESET, config_keys.PRESET_SOURCES[0], "preset of augmentations")
    _check_choice(cfg, "train.schedule", "train.schedules", "schedule")
    name = OmegaConf.select(cfg, PRESET)
    if OmegaConf.select(cfg, config_keys.PRESET_SOURCES[0]) is None and name != preset_of_file:
        raise UserError(
            "a saved config has only the augmentations of its training",
            key=PRESET,
            found=name,
            expected=preset_of_file,
            remedy="take the config file that the training was begun with, such as "
            "configs/small_mask.py, for a training with another preset",
        )


def _initial_weights(cfg: DictConfig) -> str:
    """The entry of `weights` that training begins with; "": none of them."""
    name = OmegaConf.select(cfg, "train.init_checkpoint") or ""
    return name if name in (cfg.get("weights") or {}) else ""


def read_config(path: str | Path) -> DictConfig:
    """Read a lazy config file or a saved config."""
    path = Path(path)
    if not path.is_file():
        near = sorted(map(str, path.parent.glob("*.py")))
        if not path.suffix:
            near += sorted(p.stem for p in config_folder().glob("*.py"))
        # Earlier versions had a config for each schedule.
        name = str(path).replace("_FPN_3x", "_FPN_1x")
        was_3x = name != str(path) and Path(find_config(name)).is_file()
        expected = f"one of {', '.join(near)}" if near else "a .py or .yaml file"
        remedy = f"take {name}, with train.schedule=3x" if was_3x else None
        message = "the config file does not exist"
        raise UserError(message, file=path, expected=expected, remedy=remedy)
    if is_code(path):
        cfg = _run_config(path)
    else:
        data = with_new_names(trusted.read_yaml(path))
        trusted.refuse_untrusted(data, path)
        try:
            cfg = OmegaConf.create(data)
        except UNBUILDABLE as error:
            raise UserError("not a saved config", file=path, found=error) from error
    if not isinstance(cfg, DictConfig) or cfg._is_none():  # the file is empty, or no mapping
        raise UserError("not a saved config", file=path, expected="keys and values")
    return cfg


def _run_config(path: Path) -> Any:
    # Detectron2 patches __import__ while it loads and leaves it patched when the file raises.
    original = builtins.__import__
    try:
        return LazyConfig.load(str(path))
    except UserError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise UserError("the config file fails to load", file=path, found=cause) from error
    finally:
        builtins.__import__ = original


def _check_weights(cfg: DictConfig) -> None:
    for name, entry in (cfg.get("weights") or {}).items():
        is_entry = isinstance(entry, DictConfig)
        if not is_entry or not isinstance(entry.get("file"), str):
            raise UserError(
                "named weights have no file",
                key=f"weights.{name}.file" if is_entry else f"weights.{name}",
                found=entry.get("file") if is_entry else entry,
                expected="a path or a URL",
                remedy=f"weights.{name}.file=PATH",
            )


def _detection_limits(cfg: DictConfig) -> tuple[Any, Any]:
    """Detections that the evaluation counts, and that the model gives; None where not set."""
    return OmegaConf.select(cfg, _MAX_DETECTIONS), OmegaConf.select(cfg, TOPK)


def _apply_max_detections(cfg: DictConfig, before_overrides: tuple[Any, Any]) -> None:
    """Make the model give as many detections of an image as the evaluation counts of a class.

    Args:
        before_overrides: the `_detection_limits` of the config as its file has it.
    """
    limit, topk = _detection_limits(cfg)
    if limit is None:
        return
    if type(limit) is not int or limit < 1:
        raise UserError(
            "not a number of detections",
            key=_MAX_DETECTIONS,
            found=limit,
            expected="a whole number from 1, or null for COCO's limits",
        )
    if OmegaConf.select(cfg, _PREDICTOR) is None:
        raise UserError(
            "the model has no limit that could follow",
            key=_MAX_DETECTIONS,
            found=f"no {_PREDICTOR}",
            remedy="evaluation.max_detections=null",
        )
    # A limit that is overridden takes the place of the model's limit in the file.
    old_limit, old_topk = before_overrides
    is_replaced = limit != old_limit and topk == old_topk
    if topk not in (None, limit) and not is_replaced:
        raise UserError(
            "two keys say how many detections of an image the model gives",
            key=_MAX_DETECTIONS,
            found=f"{limit}, and {TOPK}={topk}",
            expected="one number",
            remedy=f"let both say one number: {_MAX_DETECTIONS}={limit} {TOPK}={limit}",
        )
    OmegaConf.update(cfg, TOPK, limit, force_add=True)


def save_config(cfg: DictConfig, path: Path) -> None:
    """Write the config with every interpolation resolved, as plain YAML; atomic."""
    write_whole(path, to_yaml(to_plain_data(cfg)))


def to_yaml(data: Any) -> str:
    """Plain data of a config as YAML that `read_config` reads; a `${` in a text means itself."""
    return yaml.safe_dump(escaped(data), sort_keys=False, allow_unicode=True)


def to_plain_data(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as dicts, lists, text and numbers, of all presets only the chosen one."""
    data = OmegaConf.to_container(cfg, resolve=True, structured_config_mode=SCMode.INSTANTIATE)
    if isinstance(data, dict) and isinstance(data.get("data"), dict):
        for key in config_keys.PRESET_SOURCES:
            data["data"].pop(key.removeprefix("data."), None)
    return _plain(data, "")


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item, f"{key}.{name}".strip(".")) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{key}.{index}") for index, item in enumerate(value)]
    if value == "???":
        message = "the config leaves a value open, for whoever uses it to give"
        raise UserError(message, key=key, found=value, remedy=f"add {key}=VALUE to the command")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):  # ShapeSpec
        return {"_target_": config_keys.full_name(type(value)), **asdict(value)}
    is_named = callable(value) and hasattr(value, "__qualname__")
    name = config_keys.full_name(value) if is_named else "<object>"
    if "<" in name or locate(name) is not value:
        expected = "plain data or a function"
        raise UserError("a config value cannot be saved", key=key, found=value, expected=expected)
    # As a target, a name will do; as an argument, it takes a node that finds the object again.
    return name if key.endswith("_target_") else {"_target_": trusted.LOCATE, "name": name}


def build(node: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a node, with arguments that a config cannot hold (a data set, a model).

    Raises:
        UserError: an argument is unknown or missing; names the innermost node that has it.
    """
    keys: dict[str, str] = {}
    try:
        if config_keys.is_call(node):
            keys = config_keys.keys_of_arguments(node, key)
            parts: dict[Any, Any] = {k: v for k, v in node.items() if k not in arguments}
            for name, value in parts.items():
                if config_keys.is_call(value):  # its mistakes are reported under its own key
                    parts[name] = build(value, keys.get(name, f"{key}.{name}"))
                else:
                    parts[name] = instantiate(_plain_texts(value))
            node = {**parts, **arguments}
        return instantiate(node)
    except UserError as error:
        # The node's arguments, under the names that they have in the config.
        raise error.with_keys(keys, write_for_shell) from error
    except UNBUILDABLE as error:
        if is_lost_worker(error):  # of another loader, while this node was built
            raise
        package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
        remedy = None
        if package and importlib.util.find_spec(package) is None:
            remedy = f"{sys.executable} -m pip install {package}"
        raise UserError(
            "a node of the config cannot be built",
            key=key,
            found=f"{type(error).__name__}: {error}",
            remedy=remedy,
        ) from error


def _plain_texts(value: Any) -> Any:
    """A list, and those of calls in it, with Python's texts in place of OmegaConf's.

    `instantiate` would read a `${` in OmegaConf's texts again.
    """
    texts_or_nodes = str | DictConfig | ListConfig
    if isinstance(value, ListConfig) and any(isinstance(item, texts_or_nodes) for item in value):
        return [_plain_texts(item) for item in value]
    if config_keys.is_call(value):
        return {name: _plain_texts(item) for name, item in value.items()}
    return value
