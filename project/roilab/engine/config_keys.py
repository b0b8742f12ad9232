"""The keys of a config: which exist, what each takes, and overriding them."""

import difflib
import inspect
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, TypeGuard

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roilab.engine import overrides as texts
from roilab.errors import UserError

log = logging.getLogger(__name__)

_AnnotationOf = Callable[[str], texts.Kind]  # of a key, see `_annotation_of`

# Dictionaries whose keys are the user's own words.
_OPEN_KEYS = ("weights", *(f"data{split}.rules.class_map" for split in ("", ".train", ".val")))
# What the training's augmentation is chosen from. A saved config has only the chosen one, where it
# is used, and two configs do not differ by one that neither uses.
PRESET = "data.augmentation"
PRESET_SOURCES = ("data.augmentations", "data.augmentation_size")


def override(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Apply `key=value` strings in place, and return the config.

    They apply in their order, but for a preset of augmentation: others may change what it holds.
    `roilab.engine.overrides` says what the text of a value means. A key must exist, or be an
    argument that its node's target accepts. A new `_target_` keeps the arguments of its node that
    it accepts as well; the log names the others, which are removed.

    Raises:
        UserError: an override cannot be parsed, its key is unknown (names the nearest key), or a
            target cannot be imported.
    """
    for text in sorted(overrides, key=lambda text: not text.startswith(f"{PRESET}=")):
        key, written = texts.split_override(text)
        _copy_shared_list(cfg, key)
        annotation_of = cache(partial(_annotation_of, cfg))
        value = _parsed(cfg, key, written, annotation_of)
        _refuse_unknown_keys(cfg, key, value)
        _refuse_misfit(cfg, key, value, annotation_of)
        node_key, _, leaf = key.rpartition(".")
        _separate(cfg, node_key)
        if leaf == "_target_" and node_key:
            _retarget(OmegaConf.select(cfg, node_key), key, value)
        try:
            OmegaConf.update(cfg, key, escaped(value), merge=True, force_add=True)
        except OmegaConfBaseException as error:
            message = "a value does not fit its key"
            raise UserError(message, key=key, found=value, expected=error) from error
    return cfg


def _parsed(cfg: DictConfig, key: str, written: str, annotation_of: _AnnotationOf) -> Any:
    """The value of an override, from its text."""
    try:
        return texts.parse_value(written, key, partial(_kind_of, cfg, annotation_of))
    except ValueError as error:
        takes_list = texts.misfit(written, annotation_of(key)) == texts.A_LIST
        quoted = texts.write_for_shell(key, [written] if takes_list else written)
        raise UserError(
            "an override cannot be read",
            key=key,
            found=written,
            expected=error,
            remedy=f"a text is quoted, and all of it once more for the shell: {quoted}",
        ) from error


def _refuse_unknown_keys(cfg: DictConfig, key: str, value: Any) -> None:
    """Refuse an override that sets a key that neither exists nor is an argument of its node."""
    known = set(keys(cfg))
    for name in _leaves(key, value):
        parent, leaf = _parent(cfg, name)
        is_open = any(name.startswith(f"{open_key}.") for open_key in _OPEN_KEYS)
        if not (is_open or name in known or leaf in _arguments_of_node(parent)):
            raise UserError(
                "unknown key",
                key=name,
                expected=nearest_keys(cfg, name, _keys_of_all_arguments(cfg)),
                remedy="see the config file, or config.yaml in a run folder, for all keys",
            )


def _refuse_misfit(cfg: DictConfig, key: str, value: Any, annotation_of: _AnnotationOf) -> None:
    """Refuse a value in the place of a node, or one that the argument at its key does not take."""
    node = _select(cfg, key)
    expected = ""
    if isinstance(node, DictConfig) and node and not isinstance(value, dict):
        may_be_null = "_target_" in node or key in _OPEN_KEYS
        if value is not None or not may_be_null:
            expected = f"one of the keys below it: {', '.join(map(str, node))}"
    else:
        expected = texts.misfit(value, annotation_of(key))
        if expected == texts.A_LIST:
            expected = f"a list: {texts.write(key, [value])}"
    if expected:
        raise UserError("a value does not fit its key", key=key, found=value, expected=expected)


def _separate(cfg: DictConfig, key: str) -> None:
    """Turn a node that refers to another call into a call whose arguments refer to the other's.

    So `data.val.rules.default_class=cat` does not change `data.rules`, which both splits share.
    """
    parent, leaf = _parent(cfg, key)
    call = _source(_raw(cfg, key))
    if parent is not None and isinstance(call, DictConfig):
        shared = call._get_full_key(None)
        parent[leaf] = {str(name): f"${{{shared}.{name!s}}}" for name in call}
        parent[leaf]["_target_"] = call["_target_"]


def _copy_shared_list(cfg: DictConfig, key: str) -> None:
    """Turn a list that refers to another into a copy, if the key is of something in it.

    So `dataloader.train.augmentations.0.prob=1` changes this list, and not the preset.
    """
    names = key.split(".")
    for count in range(1, len(names)):
        parent, leaf = _parent(cfg, ".".join(names[:count]))
        shared = _source(_raw(cfg, ".".join(names[:count])))
        if parent is not None and isinstance(shared, ListConfig):
            parent[leaf] = shared


def _retarget(node: DictConfig, key: str, target: Any) -> None:
    """Remove from a node the arguments that its new target does not take."""
    try:
        function = locate(target) if isinstance(target, str) else None
    except (ImportError, TypeError) as error:
        expected = "package.module.name of a class or function"
        message = "the target cannot be imported"
        raise UserError(message, key=key, found=target, expected=expected) from error
    if not callable(function):
        raise UserError("the target cannot be called", key=key, found=target)
    for name in set(node) - arguments_of(function).keys() - {"_target_"}:
        log.warning("%s: %s does not take %s=%s", key, target, name, node[name])
        del node[name]


def escaped(value: Any) -> Any:
    """Plain data with each `${` in a text escaped, which OmegaConf would follow.

    Raises:
        UserError: a text is `???`, which always marks a missing value to OmegaConf.
    """
    if value == "???":
        message = "a text of a config cannot be ???, which marks a value that is missing"
        raise UserError(message, found=value, remedy="give it another name")
    if isinstance(value, texts.Reference):
        return str(value)
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    if isinstance(value, dict):
        return {name: escaped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value


def keys(cfg: DictConfig | ListConfig) -> Iterator[str]:
    """All dotted keys of a config, inner nodes included."""
    return (key for key, *_ in _nodes(cfg))


def _nodes(
    cfg: DictConfig | ListConfig, prefix: str = ""
) -> Iterator[tuple[str, DictConfig | ListConfig, Any, Any]]:
    """Each dotted key of a config, the node that it is in, its name in it, and its own node.

    References are not followed.
    """
    names: Iterable[Any] = cfg if isinstance(cfg, DictConfig) else range(len(cfg))
    for name in names:
        node = cfg._get_node(name)
        yield f"{prefix}{name}", cfg, name, node
        if isinstance(node, DictConfig | ListConfig) and not node._is_interpolation():
            yield from _nodes(node, f"{prefix}{name}.")


def _keys_of_all_arguments(cfg: DictConfig) -> Iterator[str]:
    """The dotted keys of all arguments that the calls of a config take, also of those left out."""
    for key in keys(cfg):
        for name in _arguments_of_node(_select(cfg, key)):
            yield f"{key}.{name}"


def nearest_keys(cfg: DictConfig, key: str, more: Iterable[str] = ()) -> str:
    """The keys that an unknown one may mean, in words; where none is near, the top-level ones.

    Args:
        more: keys that may be meant, too, though the config does not have them.
    """
    known = list(dict.fromkeys([*keys(cfg), *more]))
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    if not near:
        leaf = key.rpartition(".")[2]
        by_leaf = {name.rpartition(".")[2]: name for name in known}
        leaves = difflib.get_close_matches(leaf, by_leaf, n=3, cutoff=0.6)
        near = [by_leaf[name] for name in leaves]
    return f"perhaps {' or '.join(near)}" if near else f"one of {', '.join(map(str, cfg))}"


def keys_of_arguments(node: DictConfig, key: str) -> dict[str, str]:
    """Argument of a node at a key -> the key that sets it: its own, or the one that it refers to.

    The arguments of a call that is an argument are among them.
    """
    result = {name: f"{key}.{name}" for name in (*_arguments_of_node(node), *map(str, node))}
    values = {name: node._get_node(name) for name in map(str, node)}
    for name, value in values.items():
        # A reference to a key that does not exist is refused when the node is built.
        source = _source(value)
        if source is not None:
            result[name] = source._get_full_key(None)
            values[name] = source
    for name, value in values.items():
        if is_call(value):
            result = keys_of_arguments(value, result[name]) | result
    return result


def arguments_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a function or class, also those it hands on to a base class, by name."""
    arguments: dict[str, inspect.Parameter] = {}
    # A class may take **kwargs for its base, and that for its own.
    functions: list[Any] = [function]
    if isinstance(function, type):
        functions = [vars(c)["__init__"] for c in function.__mro__ if "__init__" in vars(c)]
    for function in functions:
        try:
            signature = inspect.signature(function, eval_str=True)
        except (NameError, AttributeError):  # an annotation that only a type checker can read
            signature = inspect.signature(function)
        parameters = signature.parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                arguments.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    arguments.pop("self", None)
    return arguments


def is_call(node: Any) -> TypeGuard[DictConfig]:
    """Whether a node of a config is a call of a class or function, its `_target_`."""
    return isinstance(node, DictConfig) and "_target_" in node


def target_of(node: DictConfig) -> Any:
    """The class or function that a call in a config names; None where there is none."""
    target = node["_target_"]
    return locate(target) if isinstance(target, str) else target


def full_name(target: Any) -> str:
    """`package.module.name` of a class or function; anything else as text."""
    has_name = hasattr(target, "__qualname__")
    return f"{target.__module__}.{target.__qualname__}" if has_name else str(target)


def _kind_of(cfg: DictConfig, annotation_of: _AnnotationOf, key: str) -> texts.Kind:
    """The type that a key takes: its annotation, or else the type of its value."""
    parent_key = key.rpartition(".")[0]
    if parent_key in _OPEN_KEYS:
        return texts.values_kind(_kind_of(cfg, annotation_of, parent_key)) or Any
    annotation = annotation_of(key)
    return texts.kind_of_value(_select(cfg, key)) if annotation is Any else annotation


def _annotation_of(cfg: DictConfig, key: str) -> texts.Kind:
    """The annotation of the argument that a key sets, itself or by a reference to it; Any: none."""
    node = _raw(cfg, key)
    referring = (
        (parent, str(name))
        for _, parent, name, value in _nodes(cfg)
        if node is not None and isinstance(parent, DictConfig) and _source(value) is node
    )
    for parent, leaf in itertools.chain([_parent(cfg, key)], referring):
        parameter = _arguments_of_node(parent).get(leaf)
        if parameter is not None and parameter.annotation is not parameter.empty:
            return parameter.annotation
    return Any


def _arguments_of_node(node: Any) -> dict[str, inspect.Parameter]:
    """The arguments of a node's target; {}: it has none, or they are not known."""
    # What cannot be imported, or has no signature, is refused when the node is built.
    with suppress(ImportError, TypeError, ValueError):
        return arguments_of(target_of(node)) if is_call(node) else {}
    return {}


def _select(cfg: DictConfig, key: str) -> Any:
    """The value of a key; None where it has none yet, or refers to a key that no longer fits."""
    with suppress(OmegaConfBaseException):
        return OmegaConf.select(cfg, key, throw_on_missing=False)
    return None


def _parent(cfg: DictConfig, key: str) -> tuple[DictConfig | None, str]:
    """The node that a key is in, if there is one, and the name of the key in it."""
    parent_key, _, leaf = key.rpartition(".")
    parent = _select(cfg, parent_key) if parent_key else cfg
    return parent if isinstance(parent, DictConfig) else None, leaf


def _raw(cfg: DictConfig, key: str) -> Any:
    """The node at a key, which may be a reference; None: there is none."""
    parent, leaf = _parent(cfg, key)
    with suppress(OmegaConfBaseException):  # of a dataclass, which has no other keys
        return None if parent is None else parent._get_node(leaf)
    return None


def _source(node: Any) -> Any:
    """The node that a reference leads to; None: it leads nowhere, or the node is no reference."""
    if node is not None and node._is_interpolation():
        with suppress(OmegaConfBaseException):
            return node._dereference_node()
    return None


def _leaves(key: str, value: Any) -> list[str]:
    """The dotted keys that an override sets; a dict sets those of its own keys."""
    if not isinstance(value, dict) or not value or key in _OPEN_KEYS or "_target_" in value:
        return [key]
    return [leaf for name, item in value.items() for leaf in _leaves(f"{key}.{name}", item)]
