"""The rows of COCO json as they are in files: ids, numbers, links, and counts of keypoints."""

from collections import Counter
from collections.abc import Mapping, Sequence

Row = Mapping[str, object]


def rows_in(value: object) -> list[Row]:
    """The rows of a list; one that is no object has no place, and becomes one without keys."""
    listed = value if isinstance(value, list) else []
    return [row if isinstance(row, Mapping) else {} for row in listed]


def id_text(value: object) -> str:
    """An id or a name as text, without the white space around it.

    A whole number is the same with and without a point: tables make floats of a column of ids.
    """
    if type(value) is float and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def id_of(row: Row) -> int | str:
    """The id of an image or a category, as the file has it."""
    value = row.get("id")
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else id_text(value)


def is_pixel_count(value: object) -> bool:
    """Whether a value can be the width or the height of an image."""
    return type(value) is int and value > 0


def is_finite_number(value: object) -> bool:
    """Whether a value is a number that is finite."""
    # An integer may be too large for a float; a comparison with NaN is false.
    return type(value) in (int, float) and -1e300 < value < 1e300  # type: ignore[operator]


def may_have_several_regions(annotation: Row) -> bool:
    """Whether an annotation may need several regions, which an attribute has to tie together."""
    outline = annotation.get("segmentation")
    has_parts = isinstance(outline, list) and len(outline) > 1 and isinstance(outline[0], list)
    # How many parts a run-length encoded mask has is not known before it is decoded.
    return bool(annotation.get("keypoints")) or has_parts or isinstance(outline, Mapping)


def keypoint_counts(annotations: Sequence[Row]) -> dict[str, int]:
    """Category id -> how many keypoints most of its annotations have; no id without keypoints."""
    counts: dict[str, Counter[int]] = {}
    for row in annotations:
        flat = row.get("keypoints")
        if isinstance(flat, list) and flat and len(flat) % 3 == 0 and any(flat[2::3]):
            counts.setdefault(id_text(row.get("category_id")), Counter())[len(flat) // 3] += 1
    return {key: numbers.most_common(1)[0][0] for key, numbers in counts.items()}


def links_of(pairs: object, names: Sequence[str]) -> tuple[list[tuple[str, str]], int]:
    """The links of a category, and how many are left out.

    Args:
        pairs: COCO's `skeleton`: pairs of places among the keypoints, from 1.
        names: those of the keypoints.
    """
    listed = pairs if isinstance(pairs, list) else []
    # Tables turn whole numbers into floats.
    places = range(1, len(names) + 1)
    links = [
        (names[int(pair[0]) - 1], names[int(pair[1]) - 1])
        for pair in listed
        if isinstance(pair, list)
        and len(pair) == 2
        and all(is_finite_number(place) and place in places for place in pair)
    ]
    return links, len(listed) - len(links)
