"""Values in the rows of COCO json: ids, numbers, links, boxes and keypoints."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from roilab.via.geometry import are_coordinates
from roilab.via.records import Reporter

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


def is_finite_number(value: object) -> TypeGuard[float]:
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


def links_of(pairs: object, names: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], int]:
    """The links of a category, and how many are left out.

    COCO's `skeleton` has pairs of places among the keypoints, from 1.
    """
    listed = pairs if isinstance(pairs, list) else []
    # Tables turn whole numbers into floats, of which 1.0 is in a range as 1 is.
    places = range(1, len(names) + 1)
    links = [
        (names[int(pair[0]) - 1], names[int(pair[1]) - 1])
        for pair in listed
        if isinstance(pair, list)
        and len(pair) == 2
        and all(is_finite_number(place) and place in places for place in pair)
    ]
    return tuple(links), len(listed) - len(links)


def checked_box(
    box: object, is_located: bool, reporter: Reporter, number: str
) -> tuple[float, float, float, float] | None:
    """The `bbox` of the annotation of a number; None, and a problem, if it is none.

    An object that `is_located` has an outline or keypoints, which show where it is.
    """
    if box is None or box == []:
        return None
    if isinstance(box, list) and len(box) == 4 and are_coordinates(box):
        if box[2] > 0 and box[3] > 0:
            return (box[0], box[1], box[2], box[3])
        fault = f"without extent ({box[2]:g} x {box[3]:g})"
    else:
        fault = f"no x, y, width and height, but {box!r:.60}"
    message = f"the bbox of annotation {number} is {fault}"
    if is_located:
        message += ": the box around its outline or keypoints is taken"
    remedy = "write x, y, width and height, or leave the bbox out"
    reporter.report("warning" if is_located else "error", message, remedy)
    return None


def checked_keypoints(
    flat: object, names: Sequence[str], reporter: Reporter, number: str
) -> Sequence[float]:
    """The `keypoints` of an annotation: x, y, visibility of each name; none if they are unsound."""
    if flat is None or flat == []:
        return ()
    if not isinstance(flat, list) or not are_coordinates(flat):
        message = f"the keypoints of annotation {number} are {flat!r:.60}"
        reporter.error(message, "write a list of numbers, three for each keypoint")
        return ()
    if not any(flat[2::3]) and not names:
        return ()
    if len(flat) != 3 * len(names):
        message = f"annotation {number} has {len(flat)} numbers for keypoints"
        reporter.error(message, f"write three for each of the category's {len(names)} keypoints")
        return ()
    # A keypoint whose visibility has no meaning becomes one that is not labelled.
    sound = flat
    for at, visibility in enumerate(flat[2::3]):
        if visibility not in (0, 1, 2):
            message = f"annotation {number}: the visibility of '{names[at]}' is {visibility!r:.20}"
            reporter.error(message, "0, 1 or 2 is expected")
            sound = [*sound[: 3 * at + 2], 0, *sound[3 * at + 3 :]]
    return sound
