"""The keypoints that a region is, how visible they are, and warnings where none are read."""

from collections.abc import Collection, Iterable

from roilab.errors import argument
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via import records
from roilab.via.labels.classes import ImageContext
from roilab.via.labels.label_rules import (
    Roles,
    attributes_in_use,
    described,
    keypoint_regions,
    single,
    tagged,
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
    context: ImageContext, skeleton: Skeleton, region: records.Region
) -> dict[int, Keypoint] | None:
    """Read a point, or a path that has a vertex for each keypoint of the skeleton, in its order.

    Returns:
        Keypoints under their index in the skeleton; None, and a problem, if no keypoint of the
        skeleton is named, or the visibility has no known meaning.
    """
    shape = region.shape
    numbered: Iterable[tuple[int, records.XY]]
    if isinstance(shape, records.Polygon | records.Polyline):
        if len(shape.xs) != len(skeleton.keypoints):
            message = f"{len(shape.xs)} vertices for the {len(skeleton.keypoints)} keypoints"
            remedy = f"draw a vertex for each of {', '.join(skeleton.keypoints)}, in this order"
            context.reporter.error(message, remedy, region.index)
            return None
        numbered = enumerate(shape.points)
    else:
        name = context.roles.keypoint
        value = single(region, name)
        declared = context.annotations.region_attributes.get(name or "")
        index = keypoint_index(value, declared, skeleton)
        if index is None:
            message = f"'{value}' is no keypoint" if value else "the point names no keypoint"
            remedy = f"use a name of skeleton '{skeleton.name}': {', '.join(skeleton.keypoints)}"
            context.reporter.error(message, remedy, region.index, name)
            return None
        numbered = [(index, (shape.cx, shape.cy))]  # type: ignore[union-attr] # a point
    visibility = _visibility(context, region)
    if visibility is None:
        return None
    return {index: (x, y, visibility) for index, (x, y) in numbered}


def _visibility(context: ImageContext, region: records.Region) -> int | None:
    """The visibility of a point, or of all of a path, by VISIBILITY_VALUES, upper or lower case;
    None, and a problem, for another value.

    0, 1, 2 and the words mean COCO's values. Yes and no (or true and false) answer the attribute's
    own name: `occluded: yes` is 1, `visible: yes` is 2, and `no` the other of the two; a name that
    is no word of the table is taken for "visible". Nothing set means visible, unless the attribute
    is a checkbox with an option that means visible.
    """
    name = context.roles.visibility
    if name is None:
        return 2
    attribute = context.annotations.region_attributes.get(name)
    value = region.attributes.get(name, "")
    if isinstance(value, tuple) and len(value) > 1:
        message = f"several values are ticked: {', '.join(value)}"
        context.reporter.error(message, "tick at most one", region.index, name)
        return None
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
    context.reporter.error(f"'{text}' is no visibility", remedy, region.index, name)
    return None


def warn_of_unread(
    annotations: records.Annotations,
    roles: Roles,
    skeleton: Skeleton | None,
    labels: Collection[str],
    reporter: records.Reporter,
) -> None:
    """Warn of keypoints that are not read, attributes of theirs that are not used, and a skeleton
    that none of the classes (`labels`) or no keypoint uses.

    The last is a mistake if this is the only file, and normal for a small one of several: the
    caller knows which.
    """
    regions = list(keypoint_regions(annotations, roles.kinds))
    attributes = attributes_in_use(regions)
    if skeleton is None:
        if regions:
            message = f"ignored: {counted(len(regions), 'region')} with keypoints"
            remedy = "give skeleton=FILE to read them; roilab data skeleton proposes one"
            if not attributes and roles.kinds == (records.Point,):
                remedy = "give the points an attribute in VIA that names each, then skeleton=FILE"
            reporter.report("warning", message, remedy)
        return
    used = roles.names | set(tagged(annotations.region_attributes).values())
    is_coco = annotations.container is records.Container.COCO
    for name, values in attributes.items():
        if name not in used and not is_coco:
            message = f"an attribute of the points is not used: {with_samples({name: values})}"
            remedy = (
                f"give {argument('visibility_attribute', name)} or "
                f"{argument('instance_attribute', name)} if it is one of them"
            )
            reporter.report("warning", message, remedy, attribute=name)
    if labels and not set(labels) & set(skeleton.classes):
        message = f"no class of the file ({', '.join(labels)}) has skeleton '{skeleton.name}'"
        renaming = argument("class_map", {"OLD": skeleton.classes[0]})
        remedy = f"rename a class with {renaming}, or name yours in the skeleton file"
        reporter.report("warning", message, remedy)
    elif labels and not (regions or any(item.keypoints for item in annotations.categories)):
        message = f"the file has no keypoint of skeleton '{skeleton.name}'"
        remedy = (
            "mark them as points, or, where a path has them as vertices, give "
            "keypoint_vertices=polyline or keypoint_vertices=polygon"
        )
        reporter.report("warning", message, remedy)
