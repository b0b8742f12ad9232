"""The keypoints that a region is, and how visible they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from roilab.skeleton import Skeleton
from roilab.via.labels.label_rules import described, single
from roilab.via.records import Attribute, Point, Polygon, Polyline, Region

# COCO's values: 2 labelled and visible, 1 labelled and occluded, 0 not labelled.
_WORDS: Mapping[str, int] = {
    "visible": 2,
    "occluded": 1,
    "hidden": 1,
    "invisible": 1,
    "not visible": 1,
    "unlabelled": 0,
    "unlabeled": 0,
    "absent": 0,
    "missing": 0,
}
_NUMBERS: Mapping[str, int] = {"2": 2, "1": 1, "0": 0}
_YES_NO: Mapping[str, bool] = {"true": True, "yes": True, "false": False, "no": False}
VISIBILITY_VALUES = (*_NUMBERS, *_WORDS, *_YES_NO)


class AmbiguousKeypoint(Exception):
    """A region of keypoints that cannot be used: the reason, the attribute and the remedy."""

    def __init__(self, message: str, attribute: str | None, remedy: str) -> None:
        super().__init__(message)
        self.message, self.attribute, self.remedy = message, attribute, remedy


@dataclass(frozen=True, slots=True)
class KeypointAnnotation:
    """A keypoint that was clicked: its index in the skeleton, the pixel, COCO's visibility."""

    keypoint: int
    x: float
    y: float
    visibility: int


def keypoint_index(value: str, declared: Attribute | None, skeleton: Skeleton) -> int | None:
    """The index of the keypoint that a value, or its option's description, names; None for none."""
    for name in (value, described(value, declared)):
        if name in skeleton.keypoints:
            return skeleton.keypoints.index(name)
    return None


def visibility_of_word(value: str, declared: Attribute | None) -> int | None:
    """COCO's visibility for a value (or description) that can mean nothing else; else None."""
    return _WORDS.get(described(value, declared).lower())


def keypoints_of_region(
    region: Region,
    skeleton: Skeleton,
    keypoint: str | None,
    visibility: str | None,
    declared: Mapping[str, Attribute],
) -> tuple[KeypointAnnotation, ...]:
    """Read a point, or a path that has a vertex for each keypoint of the skeleton, in its order.

    Args:
        keypoint, visibility: names of the attributes that say which keypoint a point is, and how
            visible a point, or all of a path, is.
        declared: the declarations of the region attributes.

    Raises:
        AmbiguousKeypoint: no keypoint of the skeleton is named, or the visibility has no known
            meaning.
    """
    shape = region.shape
    if isinstance(shape, Polygon | Polyline):
        if len(shape.xs) != len(skeleton.keypoints):
            raise AmbiguousKeypoint(
                f"{len(shape.xs)} vertices for the {len(skeleton.keypoints)} keypoints",
                None,
                f"draw a vertex for each of {', '.join(skeleton.keypoints)}, in this order",
            )
        seen = _visibility(region, visibility, declared)
        return tuple(KeypointAnnotation(k, x, y, seen) for k, (x, y) in enumerate(shape.points))
    if not isinstance(shape, Point):
        raise TypeError(f"region {region.index} holds no keypoints")
    value = single(region, keypoint)
    index = keypoint_index(value, declared.get(keypoint or ""), skeleton)
    if index is None:
        message = f"'{value}' is no keypoint" if value else "the point names no keypoint"
        remedy = f"use a name of skeleton '{skeleton.name}': {', '.join(skeleton.keypoints)}"
        raise AmbiguousKeypoint(message, keypoint, remedy)
    return (
        KeypointAnnotation(index, shape.cx, shape.cy, _visibility(region, visibility, declared)),
    )


def _visibility(region: Region, name: str | None, declared: Mapping[str, Attribute]) -> int:
    """The visibility of a point, by VISIBILITY_VALUES, upper or lower case.

    0, 1, 2 and the words mean COCO's values. Yes and no (or true and false) answer the attribute's
    own name: `occluded: yes` is 1, `visible: yes` is 2, and `no` the other of the two; a name that
    is no word of the table is taken for "visible". Nothing set means visible, unless the attribute
    is a checkbox with an option that means visible.
    """
    if name is None:
        return 2
    attribute = declared.get(name)
    value = region.attributes.get(name, "")
    if isinstance(value, tuple) and len(value) > 1:
        raise AmbiguousKeypoint(
            f"several values are ticked: {', '.join(value)}", name, "tick at most one"
        )
    text = value if isinstance(value, str) else "".join(value)
    if not text:
        options = attribute.options if attribute is not None else {}
        unticked = isinstance(value, tuple) and any(
            visibility_of_word(option, attribute) == 2 for option in options
        )
        return 1 if unticked else 2
    for word in (described(text, attribute).lower(), text.lower()):
        if word in _YES_NO:
            asked = _WORDS.get(name.strip().lower(), 2)
            return asked if _YES_NO[word] else 3 - max(asked, 1)
        if word in _NUMBERS:
            return _NUMBERS[word]
        if word in _WORDS:
            return _WORDS[word]
    raise AmbiguousKeypoint(
        f"'{text}' is no visibility", name, f"use one of {', '.join(VISIBILITY_VALUES)}"
    )
