"""Strict lazy configs: load, override, save.

A config file in Python is code: loading one runs it, so only load those that you trust. A saved
config, in YAML, is data: loading and building it runs nothing but what `roilab.engine.trusted`
allows.
"""

import builtins
import importlib.resources
import importlib.util
import logging
import re
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

from roilab.engine import overrides as texts
from roilab.engine import trusted
from roilab.engine.config_checks import (
    apply_max_detections,
    check_references,
    check_weights,
    max_detections_of,
)
from roilab.engine.config_keys import (
    OPEN_KEYS,
    annotation_of,
    arguments_of,
    is_known,
    keys_of_arguments,
    kind_of,
    leaves,
    nearest,
    select,
)
from roilab.engine.safe_yaml import NOT_PLAIN_DATA, read_yaml
from roilab.errors import UserError
from roilab.files import write_whole

log = logging.getLogger(__name__)

# What wrong arguments make a model, loader or optimizer raise, when it is built or first used.
UNBUILDABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OmegaConfBaseException,
    RuntimeError,
    TypeError,
    ValueError,
)
# What a config has that does not say how a model is evaluated, such as one of an older run; see
# configs/common/train.py.
EVALUATION = {"max_detections": None}


def upstream(path: str) -> DictConfig:
    """A lazy config of the installed Detectron2, e.g. `common/models/mask_rcnn_fpn.py`."""
    configs = importlib.resources.files("detectron2") / "model_zoo/configs"
    return LazyConfig.load(str(configs / path))


def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, init_checkpoint: str | None = None
) -> DictConfig:
    """A config file (.py, or .yaml as `save` writes it) with `key=value` overrides applied.

    The settings of the initial weights, where they have some in `weights`, come before the
    overrides. A saved config has those of its own weights already.

    Args:
        init_checkpoint: in place of `train.init_checkpoint`.

    Raises:
        UserError: no such file, the file fails, or an override names a key that does not exist.
    """
    saved = _read_whole(path)
    check_weights(saved)
    before, of_file = _weights_name(saved), max_detections_of(saved)
    cfg = override(saved, overrides)
    if init_checkpoint is not None:
        cfg.train.init_checkpoint = init_checkpoint
    check_references(cfg)
    check_weights(cfg)
    name = _weights_name(cfg)
    settings = cfg.weights[name].get("settings") if name else None
    if settings and (is_code(path) or name != before):
        cfg = _read_whole(path)
        cfg.merge_with(settings)
        if not is_code(path):  # what is harmless apart need not be together
            trusted.check(OmegaConf.to_container(cfg), path)
        override(cfg, overrides)
        cfg.train.init_checkpoint = name
    apply_max_detections(cfg, of_file)
    return cfg


def _read_whole(path: str | Path) -> DictConfig:
    """A training config, also where its file is from before there were all of its keys."""
    cfg = read_config(path)
    if "model" not in cfg:
        raise UserError("not a training config", file=path, expected="a top-level key 'model'")
    cfg.evaluation = {**EVALUATION, **(cfg.get("evaluation") or {})}
    if isinstance(cfg.get("train"), DictConfig):
        cfg.train.setdefault("process_invariant", False)
    return cfg


def _weights_name(cfg: DictConfig) -> str:
    """The entry of `weights` that training begins with; "": none of them."""
    name = OmegaConf.select(cfg, "train.init_checkpoint") or ""
    return name if name in (cfg.get("weights") or {}) else ""


def is_code(path: str | Path) -> bool:
    """Whether a config file is Python, which is run; any other is data."""
    return Path(path).suffix == ".py"


def find_config(name: str | Path) -> str:
    """The path of a config file, or of a config that is installed with RoILab, from its name.

    `mask_rcnn_R_50_FPN_1x` and `ablations/pooler_mask` are names.
    """
    installed = shipped_folder() / f"{name}.py"
    named = not Path(name).suffix and not Path(name).exists() and installed.is_file()
    return str(installed if named else name)


def shipped_folder() -> Path:
    """The folder of the configs that come with RoILab: of the package, or of the checkout."""
    package = Path(__file__).parents[1]
    return next(p for p in (package / "configs", package.parents[1] / "configs") if p.is_dir())


def read_config(path: str | Path) -> DictConfig:
    """Read a lazy config file or a saved config.

    Raises:
        UserError: no such file, the file fails, or a saved one names what is not allowed.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        if not path.suffix:
            near += sorted(p.stem for p in shipped_folder().glob("*.py"))
        raise UserError(
            "the config file does not exist",
            file=path,
            expected=f"one of {', '.join(near)}" if near else "a .py or .yaml file",
        )
    if is_code(path):
        # Detectron2 patches __import__ while it loads and leaves it patched when the file raises.
        original = builtins.__import__
        try:
            cfg = LazyConfig.load(str(path))
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                "the config file fails to load", file=path, found=f"{type(error).__name__}: {error}"
            ) from error
        finally:
            builtins.__import__ = original
    else:
        data = read_yaml(path)
        trusted.check(data, path)
        try:
            cfg = OmegaConf.create(data)
        except (OmegaConfBaseException, *NOT_PLAIN_DATA) as error:
            raise UserError("not a saved config", file=path, found=error) from error
    if not isinstance(cfg, DictConfig) or cfg._is_none():  # of an empty file, it is none
        raise UserError("not a saved config", file=path, expected="keys and values")
    return cfg


def override(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Apply `key=value` strings in place, and return the config.

    `roilab.engine.overrides` says what the text of a value means. A key must exist, or be an
    argument that its node's target accepts. A new `_target_` keeps the arguments of its node that
    it accepts as well; the others are left out, which the log says.

    Raises:
        UserError: an override cannot be parsed, its key is unknown (names the nearest key), or a
            target cannot be imported.
    """
    for text in overrides:
        key, written = texts.split_override(text)
        try:
            value = texts.parse(written, key, lambda name: kind_of(cfg, name))
        except ValueError as error:
            a_list = texts.misfit(written, annotation_of(cfg, key)) == texts.A_LIST
            meant = [written] if a_list else written
            raise UserError(
                "an override cannot be read",
                key=key,
                found=written,
                expected=error,
                remedy="a text is quoted, and all of it once more for the shell: "
                f"{texts.write_for_shell(key, meant)}",
            ) from error
        for name in leaves(key, value):
            if not is_known(cfg, name):
                raise UserError(
                    "unknown key",
                    key=name,
                    expected=nearest(cfg, name),
                    remedy="see the config file, or config.yaml in a run folder, for all keys",
                )
        _check_kind(cfg, key, value)
        if key.endswith("._target_"):
            _retarget(OmegaConf.select(cfg, key.rpartition(".")[0]), key, value)
        try:
            OmegaConf.update(cfg, key, escaped(value), merge=True, force_add=True)
        except OmegaConfBaseException as error:
            raise UserError(
                "a value does not fit its key", key=key, found=value, expected=error
            ) from error
    return cfg


def _check_kind(cfg: DictConfig, key: str, value: Any) -> None:
    """Raise UserError where a key takes values of another kind than this one."""
    node = select(cfg, key)
    is_call = isinstance(node, DictConfig) and "_target_" in node
    nothing_fits = is_call or key in OPEN_KEYS
    if isinstance(node, DictConfig) and node and not isinstance(value, dict):
        if value is not None or not nothing_fits:
            raise UserError(
                "a value does not fit its key",
                key=key,
                found=value,
                expected=f"one of the keys below it: {', '.join(map(str, node))}",
            )
        return
    expected = texts.misfit(value, annotation_of(cfg, key))
    if expected:
        raise UserError(
            "a value does not fit its key",
            key=key,
            found=value,
            expected=f"a list: {texts.write(key, [value])}"
            if expected == texts.A_LIST
            else expected,
        )


def escaped(value: Any) -> Any:
    """Plain data as OmegaConf has to be given it, where `${` in a text is to mean itself.

    Raises:
        UserError: a text is `???`, to which OmegaConf gives a meaning that cannot be taken away.
    """
    if value == "???":
        raise UserError(
            "a text of a config cannot be ???, which marks a value that is missing",
            found=value,
            remedy="give it another name",
        )
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", value)
    if isinstance(value, dict):
        return {name: escaped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.text if isinstance(value, texts.Reference) else value


def _retarget(node: DictConfig, key: str, target: Any) -> None:
    """Leave out of a node what another target does not take."""
    try:
        found = locate(target)
    except (ImportError, TypeError) as error:
        raise UserError(
            "the target cannot be imported",
            key=key,
            found=target,
            expected="package.module.name of a class or function",
        ) from error
    if not callable(found):
        raise UserError("the target cannot be called", key=key, found=target)
    for name in set(node) - arguments_of(found) - {"_target_"}:
        log.warning("%s: %s does not take %s=%s", key, target, name, node[name])
        del node[name]


def save_config(cfg: DictConfig, path: Path) -> None:
    """Write the config with every interpolation resolved, as plain YAML; atomic.

    Raises:
        UserError: a value is neither text, number, list, dict, nor a callable with a name.
    """
    write_whole(path, to_yaml(to_plain_data(cfg)))


def to_yaml(data: Any) -> str:
    """Plain data of a config as YAML that `load` reads, where `${` in a text is to mean itself."""
    return yaml.safe_dump(escaped(data), sort_keys=False, allow_unicode=True)


def to_plain_data(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as dicts, lists, text and numbers.

    Raises:
        UserError: a value is missing, or neither of these, nor a callable with a name.
    """
    data = OmegaConf.to_container(cfg, resolve=True, structured_config_mode=SCMode.INSTANTIATE)
    return _plain(data, "")


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item, f"{key}.{name}".strip(".")) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{key}.{index}") for index, item in enumerate(value)]
    if value == "???":
        raise UserError(
            "the config leaves a value open, for whoever uses it to give",
            key=key,
            found=value,
            remedy=f"add {key}=VALUE to the command",
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    if callable(value) and "<" not in name and locate(name) is value:
        # As a target, a name will do; as an argument, it takes a node that finds the object again.
        if key.endswith("_target_"):
            return name
        return {"_target_": "detectron2.utils.registry.locate", "name": name}
    if is_dataclass(value) and not isinstance(value, type):  # ShapeSpec
        target = type(value)
        return {"_target_": f"{target.__module__}.{target.__qualname__}", **asdict(value)}
    raise UserError(
        "a config value cannot be saved", key=key, found=value, expected="plain data or a function"
    )


def build(node: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a node, with arguments that a config cannot hold (a data set, a model).

    Raises:
        UserError: an argument is unknown or missing; names the innermost node that has it.
    """
    keys: dict[str, str] = {}
    try:
        if isinstance(node, DictConfig) and "_target_" in node:
            keys = keys_of_arguments(node, key)
            given: dict[Any, Any] = {
                name: value for name, value in node.items() if name not in arguments
            }
            parts = {name: _part(value, f"{key}.{name}") for name, value in given.items()}
            node = {**parts, **arguments}
        return instantiate(node)
    except UserError as error:
        # The node's arguments, under the names that they have in the config.
        raise error.with_keys(keys, texts.write_for_shell) from error
    except UNBUILDABLE as error:
        found = f"{type(error).__name__}: {error}"
        raise UserError(
            "a node of the config cannot be built", key=key, found=found, remedy=_install(error)
        ) from error


def _part(value: Any, key: str) -> Any:
    """An argument of a node; one that is a node itself is built under its own key."""
    is_node = isinstance(value, DictConfig) and "_target_" in value
    return build(value, key) if is_node else instantiate(_plain_texts(value))


def _install(error: Exception) -> str | None:
    """The remedy for an import that did not find a package; None for every other error."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if not package or importlib.util.find_spec(package) is not None:
        return None
    return f"{sys.executable} -m pip install {package}"


def _plain_texts(value: Any) -> Any:
    """A list with texts as Python's: `instantiate` would read a `${` in those of OmegaConf again.

    So are the lists of the calls among the arguments.
    """
    if isinstance(value, ListConfig) and any(
        isinstance(item, str | DictConfig | ListConfig) for item in value
    ):
        return [_plain_texts(item) for item in value]
    if isinstance(value, DictConfig) and "_target_" in value:
        return {name: _plain_texts(item) for name, item in value.items()}
    return value
