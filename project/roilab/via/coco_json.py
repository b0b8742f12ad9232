"""The parts of COCO json: its rows, ids, categories and numbers, as they are in files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    return not category.get("keypoints")


def keypoint_counts(annotations: Sequence[Data]) -> dict[str, int]:
    """Category id -> how many keypoints most of its annotations have; no id without keypoints."""
    counts: dict[str, Counter[int]] = {}
    for data in annotations:
        flat = data.get("keypoints")
        if isinstance(flat, list) and flat and len(flat) % 3 == 0 and any(flat[2::3]):
            key = text_of(data.get("category_id"))
            counts.setdefault(key, Counter())[len(flat) // 3] += 1
    return {key: found.most_common(1)[0][0] for key, found in counts.items()}


def links_of(pairs: object, names: Sequence[str]) -> list[tuple[str, str]]:
    """The links of a category, which COCO writes as pairs of places from 1; others are left out."""
    places = range(1, len(names) + 1)
    return [
        (names[pair[0] - 1], names[pair[1] - 1])
        for pair in (pairs if isinstance(pairs, list) else ())
        if isinstance(pair, list) and len(pair) == 2 and all(each in places for each in pair)
    ]


def as_polygon(ring: object) -> Data:
    """A ring x0, y0, x1, y1, ... as VIA's polygon; the reader of shapes refuses what is none."""
    if not isinstance(ring, list | tuple):
        return {"name": "polygon"}
    return {"name": "polygon", "all_points_x": list(ring[::2]), "all_points_y": list(ring[1::2])}


def objects_of(rows: object) -> list[Data]:
    """The rows that are objects; one that is none has no place, and becomes one without keys."""
    found = rows if isinstance(rows, list) else []
    return [row if isinstance(row, Mapping) else {} for row in found]


def id_of(data: Data) -> int | str:
    """The id of an image or a category, as the file has it."""
    value = data.get("id")
    return value if type(value) is int else text_of(value)


def text_of(value: object) -> str:
    """A value as text, without the white space around it."""
    return "" if value is None else str(value).strip()


def is_size(value: object) -> bool:
    """Whether a value is a number of pixels."""
    return type(value) is int and value > 0


def is_number(value: object) -> bool:
    """Whether a value is a number that is finite."""
    # An integer may be too large for a float; a comparison with NaN is false.
    return type(value) in (int, float) and -1e300 < value < 1e300  # type: ignore[operator]
