"""The keys of a config: which there are, which could be, and what kind of value each takes."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roilab.engine import overrides as texts

# Dictionaries whose keys are the user's own words.
OPEN_KEYS = ("data.class_map", "data.train.class_map", "data.val.class_map", "weights")


def select(cfg: DictConfig, key: str) -> Any:
    """The value of a key; None also where there is none yet."""
    try:
        return OmegaConf.select(cfg, key, throw_on_missing=False)
    except OmegaConfBaseException:
        return None  # it follows a key that was overridden, and no longer fits


def kind_of(cfg: DictConfig, key: str) -> texts.Kind:
    """The type of a key: that of its argument, of one that follows it, or of its value."""
    parent_key = key.rpartition(".")[0]
    if parent_key in OPEN_KEYS:
        return texts.values_kind(kind_of(cfg, parent_key)) or Any
    annotation = annotation_of(cfg, key)
    return texts.kind_of_value(select(cfg, key)) if annotation is Any else annotation


def annotation_of(cfg: DictConfig, key: str) -> texts.Kind:
    """The annotation of the argument that a key is, or of one that follows it; Any: none."""
    parent_key = key.rpartition(".")[0]
    annotation = _annotation(cfg, key)
    if annotation is Any:
        parent = select(cfg, parent_key) if parent_key else cfg
        leaf = key.rpartition(".")[2]
        here = parent._get_node(leaf) if isinstance(parent, DictConfig) and leaf in parent else None
        for name in keys(cfg) if here is not None else ():
            if annotation is Any and _follows(cfg, name, here):
                annotation = _annotation(cfg, name)
    return annotation


def _annotation(cfg: DictConfig, key: str) -> texts.Kind:
    """The annotation of the argument that a key is; Any: it is none, or has none."""
    parent_key, _, leaf = key.rpartition(".")
    parent = select(cfg, parent_key) if parent_key else None
    if not isinstance(parent, DictConfig) or "_target_" not in parent:
        return Any
    parameter = _parameters(parent).get(leaf)
    empty = inspect.Parameter.empty
    return Any if parameter is None or parameter.annotation is empty else parameter.annotation


def _parameters(node: DictConfig) -> dict[str, inspect.Parameter]:
    """The parameters of a node's target, as far as they are known."""
    target = node["_target_"]
    try:
        return parameters_of(locate(target) if isinstance(target, str) else target)
    except (ImportError, TypeError, ValueError):  # it cannot be imported, or has no signature
        return {}


def keys_of_arguments(node: DictConfig, key: str) -> dict[str, str]:
    """Argument of a node -> the key that sets it: its own, or the one that it follows.

    Args:
        key: of the node.
    """
    found = {name: f"{key}.{name}" for name in _parameters(node)}
    for name in map(str, node):
        value = node._get_node(name)
        source = None
        if value is not None and value._is_interpolation():
            # What follows a key that is not there is refused when the node is built.
            with suppress(OmegaConfBaseException):
                source = value._dereference_node()
        found[name] = f"{key}.{name}" if source is None else source._get_full_key(None)
    return found


def _follows(cfg: DictConfig, key: str, node: Any) -> bool:
    """Whether a key is an interpolation of a node."""
    parent_key, _, leaf = key.rpartition(".")
    parent = select(cfg, parent_key) if parent_key else cfg
    here = parent._get_node(leaf) if isinstance(parent, DictConfig) else None
    if here is None or not here._is_interpolation():
        return False
    try:
        return here._dereference_node() is node
    except OmegaConfBaseException:
        return False


def keys(cfg: DictConfig | ListConfig, prefix: str = "") -> Iterator[str]:
    """All dotted keys of a config, inner nodes included."""
    nodes: Iterable[tuple[Any, Any]] = (
        ((name, cfg._get_node(name)) for name in cfg)
        if isinstance(cfg, DictConfig)
        else ((index, cfg._get_node(index)) for index in range(len(cfg)))
    )
    for name, value in nodes:
        yield f"{prefix}{name}"
        if isinstance(value, DictConfig | ListConfig) and not value._is_interpolation():
            yield from keys(value, f"{prefix}{name}.")


def leaves(key: str, value: Any) -> list[str]:
    """The dotted keys that an override sets; a dict sets those of its own keys."""
    if not isinstance(value, dict) or not value or key in OPEN_KEYS or "_target_" in value:
        return [key]
    return [leaf for name, item in value.items() for leaf in leaves(f"{key}.{name}", item)]


def is_known(cfg: DictConfig, key: str) -> bool:
    """Whether a key exists, or is an argument that its node's target accepts."""
    if any(key.startswith(f"{name}.") for name in OPEN_KEYS):
        return True
    if key in set(keys(cfg)):
        return True
    parent_key, _, leaf = key.rpartition(".")
    parent = OmegaConf.select(cfg, parent_key) if parent_key else None
    if not isinstance(parent, DictConfig) or "_target_" not in parent:
        return False
    target = parent["_target_"]
    return leaf in arguments_of(locate(target) if isinstance(target, str) else target)


def arguments_of(target: Callable[..., Any]) -> set[str]:
    """The names of the arguments of a function or class, also those it hands on to a base class."""
    return set(parameters_of(target))


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a function or class, also those it hands on to a base class, by name."""
    found: dict[str, inspect.Parameter] = {}
    # A class may take **kwargs for its base, and that for its own.
    makers: list[Any] = [target]
    if isinstance(target, type):
        makers = [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)]
    for maker in makers:
        try:
            signature = inspect.signature(maker, eval_str=True)
        except (NameError, AttributeError):  # an annotation that only a type checker can read
            signature = inspect.signature(maker)
        parameters = signature.parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return {name: parameter for name, parameter in found.items() if name != "self"}


def nearest(cfg: DictConfig, key: str) -> str:
    """The keys that an unknown one may mean, in words; where none is near, the top-level ones."""
    known = list(keys(cfg))
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    if not near:
        leaf = key.rpartition(".")[2]
        by_leaf = {name.rpartition(".")[2]: name for name in known}
        near = [by_leaf[n] for n in difflib.get_close_matches(leaf, by_leaf, n=3, cutoff=0.6)]
    return f"perhaps {' or '.join(near)}" if near else f"one of {', '.join(map(str, cfg))}"
