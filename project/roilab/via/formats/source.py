"""The content of an annotation file before it is parsed, and what all its readers report alike."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from roilab.via.geometry import LongInteger
from roilab.via.records import ImageRecord, Problem, Region, Severity, Shape

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
        return f"the key {self.key!r} occurs {self.times} times in one object, at {where}"


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
    repeated: tuple[RepeatedKey, ...] = ()
    rings_of_rle: RingsOfRle | None = None
    keypoints_as_points: bool = True

    @property
    def top(self) -> Mapping[str, object]:
        """The JSON object at the top level; an empty one if there is none."""
        return mapping(self.data)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Adds problems of a file, or of an image in it, to a list.

    `suffix` is what the file calls a region, if that is not its index.
    """

    problems: list[Problem]
    file: str
    image: str | None = None
    suffix: str = ""

    def report(
        self,
        severity: Severity,
        message: str,
        remedy: str,
        region: int | None = None,
        attribute: str | None = None,
    ) -> None:
        """Add a problem."""
        place = (self.file, self.image, region, attribute)
        self.problems.append(Problem(severity, message + self.suffix, remedy, *place))

    def error(
        self, message: str, remedy: str, region: int | None = None, attribute: str | None = None
    ) -> None:
        """Add a problem that leaves something out."""
        self.report("error", message, remedy, region, attribute)

    def warn_of_copies(self, regions: Sequence[Region]) -> None:
        """Warn of equal regions: VIA appends what it imports, so that a second import doubles it.

        Args:
            regions: all of the image.
        """
        first: dict[Shape, Region] = {}
        copies = [
            region
            for region in regions
            if first.setdefault(region.shape, region) is not region
            and first[region.shape].attributes == region.attributes
        ]
        if copies:
            original = first[copies[0].shape].index
            message = f"the same as region {original}"
            if len(copies) > 1:
                message += f", and {len(copies) - 1} more are the same as others"
            remedy = "delete one of the two in VIA: both are taken for objects"
            self.report("warning", message, remedy, copies[0].index)


def warn_of_double_names(file: str, images: Sequence[ImageRecord], problems: list[Problem]) -> None:
    """Warn of entries that have one file name and size."""
    names = Counter((image.filename, image.size) for image in images)
    for (filename, size), count in names.items():
        if count > 1:
            known = "" if size is None else f" and {size} bytes"
            message = f"{count} entries have this file name{known}; they are read as {count} images"
            remedy = "make them one: what only one of them holds is background in the others"
            problems.append(Problem("warning", message, remedy, file, filename))


def mapping(value: object) -> Mapping[str, object]:
    """A JSON object; an empty one for any other value."""
    return value if isinstance(value, Mapping) else {}


def load_json(text: str) -> tuple[object, tuple[RepeatedKey, ...]]:
    """The data of a JSON text, and the keys that are repeated in it, which Python's reader drops.

    Raises:
        json.JSONDecodeError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    repeating: list[tuple[dict[str, object], Counter[str]]] = []

    def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
        data = dict(pairs)
        if len(data) != len(pairs):
            repeating.append((data, Counter(key for key, _ in pairs)))
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
    return data, tuple(_located(data, repeating)) if repeating else ()


def _integer(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return LongInteger(digits)


def _located(
    data: object, repeating: Sequence[tuple[dict[str, object], Counter[str]]]
) -> list[RepeatedKey]:
    """The repeated keys in the order of the file, without those of an object that is itself lost.

    An object does not know where it is: all the data is searched for it.
    """
    counts = {id(value): keys for value, keys in repeating}
    located = []
    remaining: list[tuple[tuple[str | int, ...], object]] = [((), data)]
    while remaining:
        path, value = remaining.pop()
        inner: list[tuple[str | int, object]] = []
        if isinstance(value, dict):
            times: Mapping[str, int] = counts.get(id(value), {})
            located += [RepeatedKey(path, key, count) for key, count in times.items() if count > 1]
            inner = list(value.items())
        elif isinstance(value, list):
            inner = list(enumerate(value))
        remaining += [((*path, key), item) for key, item in reversed(inner)]
    return located
