"""The content of an annotation file before it is parsed."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roilab.via.geometry import LongInteger

# COCO's run-length encoding of a mask -> its rings (x0, y0, x1, y1, ...) and how many pixels the
# holes in them have, which rings cannot leave out. Raises ValueError where it is no such encoding.
RingsOfRle = Callable[[Mapping[str, object]], tuple[Sequence[Sequence[float]], int]]

REMEDY_OF_REPEATED = "rename all but one of them in the file, or remove what is double"


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """A key that occurs `times` in one JSON object, of which only the last is in the data.

    `path` leads to the object: keys, and indices of lists.
    """

    path: tuple[str | int, ...]
    key: str
    times: int

    def __str__(self) -> str:
        where = " > ".join(map(str, self.path)) or "the top level"
        return (
            f"the key {self.key!r} occurs {self.times} times in one object, at {where}; only the "
            "last is read"
        )


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The content of a file.

    Attributes:
        file: its path, for messages.
        text: all of it; "" where it is JSON, which is in `data`.
        data: the JSON value that the text holds; None where it is not JSON.
        repeated: keys that occur more than once in one JSON object; `data` has the last.
        rings_of_rle: the reader of run-length encoded masks, if there is one.
        keypoints_as_points: whether keypoints of a COCO annotation become regions.
    """

    file: str
    text: str
    data: object
    repeated: Sequence[RepeatedKey] = ()
    rings_of_rle: RingsOfRle | None = None
    keypoints_as_points: bool = True

    @property
    def top(self) -> dict[str, Any]:
        """The JSON object at the top level; an empty one if there is none."""
        return mapping(self.data)


def mapping(value: object) -> dict[str, Any]:
    """A JSON object; an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def load_json(text: str) -> tuple[object, list[RepeatedKey]]:
    """The data of a JSON text, and the keys that are repeated in it, which Python's reader drops.

    The keys are in the order of the file, without those of an object that is itself lost.

    Raises:
        json.JSONDecodeError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    repeating: dict[int, tuple[dict[str, object], Counter[str]]] = {}  # under the object's id()

    def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
        data = dict(pairs)
        if len(data) != len(pairs):
            repeating[id(data)] = data, Counter(key for key, _ in pairs)
        return data

    try:
        data = json.loads(text, object_pairs_hook=object_of)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses to convert very long integers. A hook for every integer takes time: it is
        # for the files that need it.
        repeating.clear()
        data = json.loads(text, object_pairs_hook=object_of, parse_int=_integer)

    repeated = []
    # An object does not know where it is: all the data is searched for it.
    remaining: list[tuple[tuple[str | int, ...], object]] = [((), data)] if repeating else []
    while remaining:
        path, value = remaining.pop()
        if id(value) in repeating:
            counts = repeating[id(value)][1]
            repeated += [
                RepeatedKey(path, key, count) for key, count in counts.items() if count > 1
            ]
        inner = enumerate(value) if isinstance(value, list) else mapping(value).items()
        remaining += [((*path, key), item) for key, item in reversed(list(inner))]
    return data, repeated


def _integer(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return LongInteger(digits)
