"""Differences between two configs, leaf by leaf."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tabulate import tabulate

_WIDTH = 100  # columns of a table
_KEY_WIDTH = 56  # at most, so that the values have the rest


class Absent:
    """The value of a key that is not there."""

    def __repr__(self) -> str:
        return "-"


ABSENT = Absent()


@dataclass(frozen=True)
class ConfigDifference:
    """A dotted key and its values as plain data; `ABSENT` where there is no such key."""

    key: str
    before: Any
    after: Any


def differences(base: DictConfig, other: DictConfig) -> list[ConfigDifference]:
    """The leaves that differ, in the order of `base`, then those that only `other` has.

    Interpolations are followed, where they lead somewhere. Functions are compared by name, also
    with the node that `config.save` writes in their place. A list of plain values is one leaf.
    """
    before, after = dict(_leaves(base)), dict(_leaves(other))
    pairs = {key: (before.get(key, ABSENT), after.get(key, ABSENT)) for key in {**before, **after}}
    return [ConfigDifference(key, *pair) for key, pair in pairs.items() if not _same(*pair)]


def difference_table(
    rows: Sequence[ConfigDifference], headers: Sequence[str] = ("key", "base", "here")
) -> str:
    """The differences in columns; what is long is shortened in its middle."""
    # tabulate gives a heading two columns more than it has letters.
    titles = tuple(f"{title}  " for title in headers)
    cells = [titles, *((row.key, shown(row.before), shown(row.after)) for row in rows)]
    key, before, after = (max(map(len, column)) for column in zip(*cells, strict=True))
    key = min(key, _KEY_WIDTH)
    room = _WIDTH - key - len("    ")
    # Where one side is short, the other has what it leaves.
    before = min(before, max(room // 2, room - after))
    widths = (key, before, room - before)
    first, *rest = (tuple(map(_shortened, row, widths)) for row in cells)
    return tabulate(rest, headers=[title.rstrip() for title in first], disable_numparse=True)


def shown(value: Any) -> str:
    """A value on one line, as YAML writes it."""
    if value is ABSENT:
        return str(value)
    try:
        text = yaml.safe_dump(
            [value], default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True
        )
    except yaml.YAMLError:  # an object of some class
        text = f"[{value}]"
    return " ".join(text.split())[1:-1]


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All keys with their values. A node that `save` writes in another form has that form."""
    parts: Sequence[Any] = ()
    if isinstance(node, DictConfig) and len(node):
        if str(node.get("_target_")).endswith("registry.locate"):
            yield key, node["name"]  # a function that is an argument
            return
        kind = OmegaConf.get_type(node)
        if kind is not dict:  # ShapeSpec
            yield f"{key}._target_", _named(kind)
        parts = list(node)
    elif isinstance(node, ListConfig) and any(isinstance(item, DictConfig) for item in _each(node)):
        parts = range(len(node))
    for part in parts:
        yield from _leaves(_value(node, part), f"{key}.{part}" if key else str(part))
    if not parts:
        yield key, _plain(node)


def _each(node: ListConfig) -> Iterator[Any]:
    return (_value(node, index) for index in range(len(node)))


def _value(node: DictConfig | ListConfig, part: Any) -> Any:
    try:
        return node[part]
    except OmegaConfBaseException:
        return node._get_node(part)  # it follows what is not there yet


def _plain(value: Any) -> Any:
    if isinstance(value, ListConfig) and not value._is_none() and not value._is_interpolation():
        return [_plain(item) for item in _each(value)]
    if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
        return {}
    if isinstance(value, Node):
        return value._value()
    return _named(value) if callable(value) and hasattr(value, "__qualname__") else value


def _named(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _same(first: Any, second: Any) -> bool:
    # To Python, True is 1.
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def _shortened(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    end = (width - 3) // 2
    return f"{text[: width - 3 - end]}...{text[-end:]}"
