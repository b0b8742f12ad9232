"""Differences between two configs, leaf by leaf."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig, OmegaConf, SCMode
from tabulate import tabulate

from roilab.engine.config_keys import PRESET_SOURCES, full_name
from roilab.engine.trusted import LOCATE
from roilab.text import shortened

_WIDTH = 100  # columns of a table
_KEY_WIDTH = 56  # at most, so that the values have the rest


class Absent:
    """The value of a key that does not exist."""

    def __repr__(self) -> str:
        return "-"


ABSENT = Absent()


class ConfigDifference(NamedTuple):
    """A dotted key and its values as plain data; `ABSENT` where there is no such key."""

    key: str
    before: Any
    after: Any


def differences(base: DictConfig, other: DictConfig) -> list[ConfigDifference]:
    """The leaves that differ, in the order of `base`, then those that only `other` has.

    References are followed; presets of augmentation count where they are used. Functions are
    compared by name, also with the node that `config.save_config` writes in their place. A list of
    plain values is one leaf.
    """
    before, after = (
        {key: value for key, value in _leaves(cfg) if not key.startswith(PRESET_SOURCES)}
        for cfg in (base, other)
    )
    rows = [
        ConfigDifference(key, before.get(key, ABSENT), after.get(key, ABSENT))
        for key in {**before, **after}
    ]
    return [row for row in rows if not _same(row.before, row.after)]


def difference_table(
    rows: Sequence[ConfigDifference], headers: Sequence[str] = ("key", "base", "here")
) -> str:
    """The differences in columns; what is long is shortened in its middle."""
    # tabulate gives a heading two columns more than it has letters.
    titles = tuple(f"{title}  " for title in headers)
    cells = [titles, *((row.key, yaml_text(row.before), yaml_text(row.after)) for row in rows)]
    key, before, after = (max(map(len, column)) for column in zip(*cells, strict=True))
    key = min(key, _KEY_WIDTH)
    room = _WIDTH - key - len("    ")
    # Where one side is short, the other has what it leaves.
    before = min(before, max(room // 2, room - after))
    widths = (key, before, room - before)
    first, *rest = (tuple(map(shortened, row, widths)) for row in cells)
    return tabulate(rest, headers=[title.rstrip() for title in first], disable_numparse=True)


def yaml_text(value: Any) -> str:
    """A value on one line, as YAML writes it."""
    try:
        text = yaml.safe_dump(
            [value], default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True
        )
    except yaml.YAMLError:  # `ABSENT`, or an object of some class
        text = f"[{value}]"
    return " ".join(text.split())[1:-1]


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All keys with their values; a value that `config.save_config` writes as a node is one."""
    if isinstance(value, DictConfig):
        mode = SCMode.INSTANTIATE
        value = OmegaConf.to_container(value, resolve=True, structured_config_mode=mode)
    if is_dataclass(value) and not isinstance(value, type):  # ShapeSpec
        value = {"_target_": type(value), **asdict(value)}
    if isinstance(value, dict) and _plain(value.get("_target_")) == LOCATE:
        value = value["name"]  # a function that is an argument
    parts = value if isinstance(value, dict) else {}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        parts = dict(enumerate(value))
    for name, part in parts.items():
        yield from _leaves(part, f"{key}.{name}" if key else str(name))
    if not parts:
        yield key, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return full_name(value) if callable(value) and hasattr(value, "__qualname__") else value


def _same(first: Any, second: Any) -> bool:
    # To Python, True is 1.
    return first == second and isinstance(first, bool) == isinstance(second, bool)
