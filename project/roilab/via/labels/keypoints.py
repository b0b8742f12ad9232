"""The keypoints that a region is, how visible they are, and warnings where none are read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from roilab.errors import argument
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via import records
from roilab.via.labels.label_rules import (
    Kinds,
    attributes_in_use,
    described,
    keypoint_regions,
    single,
    with_samples,
)

# COCO's values: 2 labelled and visible, 1 labelled and occluded, 0 not labelled.
_OCCLUDED = ("occluded", "hidden", "invisible", "not visible")
_ABSENT = ("unlabelled", "unlabeled", "absent", "missing")
_WORDS = {"visible": 2, **dict.fromkeys(_OCCLUDED, 1), **dict.fromkeys(_ABSENT, 0)}
_VISIBILITIES = {"2": 2, "1": 1, "0": 0, **_WORDS}
_YES_NO = {"true": True, "yes": True, "false": False, "no": False}
VISIBILITY_VALUES = (*_VISIBILITIES, *_YES_NO)

# The pixel that was clicked (x, y), and COCO's visibility.
Keypoint = tuple[float, float, int]
UNLABELLED: Keypoint = (0.0, 0.0, 0)


@dataclass(eq=False)
class AmbiguousKeypoint(Exception):
    """A region of keypoints that cannot be used: the reason, the remedy and the attribute."""

    message: str
    remedy: str
    attribute: str | None = None


def keypoint_index(
    value: str, declared: records.Attribute | None, skeleton: Skeleton
) -> int | None:
    """The index of the keypoint that a value, or its option's description, names; None for none."""
    for name in (value, described(value, declared)):
        if name in skeleton.keypoints:
            return skeleton.keypoints.index(name)
    return None


def visibility_of_word(value: str, declared: records.Attribute | None) -> int | None:
    """COCO's visibility for a value (or description) that can mean nothing else; else None."""
    return _WORDS.get(described(value, declared).lower())


def keypoints_of_region(
    region: records.Region,
    skeleton: Skeleton,
    keypoint: str | None,
    visibility: str | None,
    declared: Mapping[str, records.Attribute],
) -> dict[int, Keypoint]:
    """Read a point, or a path that has a vertex for each keypoint of the skeleton, in its order.

    Args:
        keypoint, visibility: names of the attributes that say which keypoint a point is, and how
            visible a point, or all of a path, is.

    Returns:
        Keypoints under their index in the skeleton.

    Raises:
        AmbiguousKeypoint: no keypoint of the skeleton is named, or the visibility has no known
            meaning.
    """
    shape = region.shape
    if isinstance(shape, records.Polygon | records.Polyline):
        if len(shape.xs) != len(skeleton.keypoints):
            message = f"{len(shape.xs)} vertices for the {len(skeleton.keypoints)} keypoints"
            remedy = f"draw a vertex for each of {', '.join(skeleton.keypoints)}, in this order"
            raise AmbiguousKeypoint(message, remedy)
        seen = _visibility(region, visibility, declared)
        return {k: (x, y, seen) for k, (x, y) in enumerate(shape.points)}
    if not isinstance(shape, records.Point):
        raise TypeError(f"region {region.index} holds no keypoints")
    value = single(region, keypoint)
    index = keypoint_index(value, declared.get(keypoint or ""), skeleton)
    if index is None:
        message = f"'{value}' is no keypoint" if value else "the point names no keypoint"
        remedy = f"use a name of skeleton '{skeleton.name}': {', '.join(skeleton.keypoints)}"
        raise AmbiguousKeypoint(message, remedy, keypoint)
    return {index: (shape.cx, shape.cy, _visibility(region, visibility, declared))}


def _visibility(
    region: records.Region, name: str | None, declared: Mapping[str, records.Attribute]
) -> int:
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
        message = f"several values are ticked: {', '.join(value)}"
        raise AmbiguousKeypoint(message, "tick at most one", name)
    text = value if isinstance(value, str) else "".join(value)
    if not text:
        options = attribute.options if isinstance(value, tuple) and attribute is not None else ()
        return 1 if any(visibility_of_word(option, attribute) == 2 for option in options) else 2
    for word in (described(text, attribute).lower(), text.lower()):
        if word in _YES_NO:
            asked = _WORDS.get(name.strip().lower(), 2)
            return asked if _YES_NO[word] else 3 - max(asked, 1)
        if word in _VISIBILITIES:
            return _VISIBILITIES[word]
    remedy = f"use one of {', '.join(VISIBILITY_VALUES)}"
    raise AmbiguousKeypoint(f"'{text}' is no visibility", remedy, name)


def unused_skeleton(
    annotations: records.Annotations, kinds: Kinds, skeleton: Skeleton, labels: Sequence[str]
) -> list[records.Problem]:
    """A warning where a skeleton has no use: a mistake if this is the only file, normal for a small
    one of several. The caller knows which.
    """
    if not set(labels) & set(skeleton.classes):
        message = f"no class of the file ({', '.join(labels)}) has skeleton '{skeleton.name}'"
        renaming = argument("class_map", {"OLD": skeleton.classes[0]})
        remedy = f"rename a class with {renaming}, or name yours in the skeleton file"
    elif not any(category.keypoints for category in annotations.categories) and not any(
        keypoint_regions(annotations, kinds)
    ):
        message = f"the file has no keypoint of skeleton '{skeleton.name}'"
        remedy = (
            "mark them as points, or, where a path has them as vertices, give "
            "keypoint_vertices=polyline or keypoint_vertices=polygon"
        )
    else:
        return []
    return [records.Problem("warning", message, remedy, annotations.file)]


def unread_keypoints(
    annotations: records.Annotations,
    kinds: Kinds,
    skeleton: Skeleton | None,
    used: Collection[str | None],
) -> list[records.Problem]:
    """Warnings about keypoints that are not read, and attributes of theirs that are not used."""
    regions = list(keypoint_regions(annotations, kinds))
    if not regions or (skeleton is not None and annotations.container is records.Container.COCO):
        return []
    attributes = attributes_in_use(regions)
    if skeleton is None:
        message = f"ignored: {counted(len(regions), 'region')} with keypoints"
        remedy = "give skeleton=FILE to read them; roilab data skeleton proposes one"
        if not attributes and kinds == (records.Point,):
            remedy = "give the points an attribute in VIA that names each, then skeleton=FILE"
        return [records.Problem("warning", message, remedy, annotations.file)]
    problems = []
    for name, values in attributes.items():
        if name not in used:
            message = f"an attribute of the points is not used: {with_samples({name: values})}"
            remedy = (
                f"give {argument('visibility_attribute', name)} or "
                f"{argument('instance_attribute', name)} if it is one of them"
            )
            place = (annotations.file, None, None, name)
            problems.append(records.Problem("warning", message, remedy, *place))
    return problems
