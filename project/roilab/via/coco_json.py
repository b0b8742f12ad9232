"""The parts of COCO json: its rows, ids, categories and numbers, as they are in files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from roilab.via.geometry import InvalidShape, are_coordinates
from roilab.via.records import Value

Data = Mapping[str, object]


@dataclass(slots=True)
class Category:
    """A category: the attribute and the value that stand for it, and the names of its keypoints.

    A name of "" is that of an annotation without a category.
    """

    attribute: str
    name: str
    key: str = ""
    keypoints: tuple[str, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = {self.attribute: self.name} if self.name else {}


def needs_tie(data: Data) -> bool:
    """Whether the regions of an annotation may be several."""
    outline = data.get("segmentation")
    parts = len(outline) if isinstance(outline, list) and _is_nested(outline) else 1
    # How many parts a run-length encoded mask has is not known before it is decoded.
    return bool(data.get("keypoints")) or parts > 1 or isinstance(outline, Mapping)


def _is_nested(outline: Sequence[object]) -> bool:
    return bool(outline) and isinstance(outline[0], list)


def is_unnamed(category: Data) -> bool:
    """Whether a category names no keypoints."""
    names = category.get("keypoints")
    return not (isinstance(names, list) and names)


def keypoint_counts(annotations: Sequence[Data]) -> dict[str, int]:
    """Category id -> how many keypoints most of its annotations have; no id without keypoints."""
    counts: dict[str, Counter[int]] = {}
    for data in annotations:
        flat = data.get("keypoints")
        if isinstance(flat, list) and flat and len(flat) % 3 == 0 and any(flat[2::3]):
            key = text_of(data.get("category_id"))
            counts.setdefault(key, Counter())[len(flat) // 3] += 1
    return {key: found.most_common(1)[0][0] for key, found in counts.items()}


def links_of(pairs: object, names: Sequence[str]) -> tuple[list[tuple[str, str]], int]:
    """The links of a category, and how many are left out: COCO writes pairs of places from 1."""
    listed = pairs if isinstance(pairs, list) else []
    links = [
        (names[int(pair[0]) - 1], names[int(pair[1]) - 1])
        for pair in listed
        if isinstance(pair, list) and len(pair) == 2 and all(_is_place(at, names) for at in pair)
    ]
    return links, len(listed) - len(links)


def _is_place(value: object, names: Sequence[str]) -> bool:
    # Tables turn whole numbers into floats.
    return is_number(value) and value in range(1, len(names) + 1)


def as_polygon(ring: object) -> Data:
    """A ring x0, y0, x1, y1, ... as VIA's polygon.

    Raises:
        Refused: it is no list of pairs of numbers.
    """
    if not isinstance(ring, list) or len(ring) % 2 or not are_coordinates(ring):
        raise InvalidShape(f"a ring of its segmentation is {ring!r:.60}, expected numbers in pairs")
    return {"name": "polygon", "all_points_x": list(ring[::2]), "all_points_y": list(ring[1::2])}


def objects_of(rows: object) -> list[Data]:
    """The rows that are objects; one that is none has no place, and becomes one without keys."""
    found = rows if isinstance(rows, list) else []
    return [row if isinstance(row, Mapping) else {} for row in found]


def id_of(data: Data) -> int | str:
    """The id of an image or a category, as the file has it."""
    value = data.get("id")
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else text_of(value)


def text_of(value: object) -> str:
    """A value as text, without the white space around it.

    A whole number is the same with and without a point: tables make floats of a column of ids.
    """
    if type(value) is float and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def is_size(value: object) -> bool:
    """Whether a value is a number of pixels."""
    return type(value) is int and value > 0


def is_number(value: object) -> bool:
    """Whether a value is a number that is finite."""
    # An integer may be too large for a float; a comparison with NaN is false.
    return type(value) in (int, float) and -1e300 < value < 1e300  # type: ignore[operator]
