"""JSON text -> data, without losing in silence what Python's reader would."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REMEDY_OF_REPEATED = "rename all but one of them in the file, or remove what is double"


class LongInteger(str):
    """The digits of an integer too long to calculate with; as a number it is of no use."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Repeated:
    """A key that occurs `times` in one object, of which only the last is in the data.

    `path` leads to the object: keys, and indices of lists.
    """

    path: tuple[str | int, ...]
    key: str
    times: int

    def __str__(self) -> str:
        where = " > ".join(map(str, self.path)) or "the top level"
        return f"the key {self.key!r} occurs {self.times} times in one object, at {where}"


def load_json(text: str) -> tuple[object, tuple[Repeated, ...]]:
    """The data of a JSON text, and the keys that are repeated in it.

    Raises:
        json.JSONDecodeError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    doubled: list[tuple[dict[str, object], Counter[str]]] = []

    def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(pairs)
        if len(made) != len(pairs):
            doubled.append((made, Counter(key for key, _ in pairs)))
        return made

    try:
        data = json.loads(text, object_pairs_hook=object_of)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses to convert very long integers. A hook for every integer takes time: it is
        # for the files that need it.
        doubled.clear()
        data = json.loads(text, object_pairs_hook=object_of, parse_int=_integer)
    return data, tuple(_located(data, doubled)) if doubled else ()


def _integer(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return LongInteger(digits)


def _located(
    data: object, doubled: Sequence[tuple[dict[str, object], Counter[str]]]
) -> list[Repeated]:
    """The repeated keys in the order of the file, without those of an object that is itself lost.

    An object does not know where it is: all the data is searched for it.
    """
    counts = {id(made): keys for made, keys in doubled}
    found = []
    left: list[tuple[tuple[str | int, ...], object]] = [((), data)]
    while left:
        path, value = left.pop()
        inner: list[tuple[str | int, object]] = []
        if isinstance(value, dict):
            times: Mapping[str, int] = counts.get(id(value), {})
            found += [Repeated(path, key, count) for key, count in times.items() if count > 1]
            inner = list(value.items())
        elif isinstance(value, list):
            inner = list(enumerate(value))
        left += [((*path, key), each) for key, each in reversed(inner)]
    return found
