"""Regions of COCO annotations -> objects: every annotation is one."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via import records
from roilab.via.labels.classes import ImageContext
from roilab.via.labels.keypoints import UNLABELLED, Keypoint
from roilab.via.labels.label_rules import LabelRules

# Category id, as text -> for each keypoint of a skeleton its place among the category's, or None.
Places = Mapping[str, Sequence[int | None]]
# The class of an object and its regions, of which those that are no points outline it.
CocoObject = tuple[str, list[records.Region]]


def group_coco_regions(
    context: ImageContext, places: Places
) -> tuple[list[CocoObject], list[CocoObject]]:
    """The objects of an image of a COCO file, and its crowds, in the order of the file."""
    objects: list[CocoObject] = []
    for label, regions in _by_annotation(context, context.image.regions):
        outlines = [region for region in regions if not isinstance(region.shape, records.Point)]
        flat = {region.index for region in outlines if context.is_flat(region)}
        sound = [region for region in regions if region.index not in flat]
        is_usable = len(flat) < len(outlines)
        if not outlines:
            is_usable = _has_usable_keypoints(context, places, label, regions)
        if is_usable:
            objects.append((label, sound))
    return objects, list(_by_annotation(context, context.image.crowds))


def _by_annotation(
    context: ImageContext, regions: Sequence[records.Region]
) -> Iterator[CocoObject]:
    """The class and the regions of every annotation that has a class."""
    for _, group in groupby(regions, key=lambda region: id(region.coco)):
        members = list(group)
        name = context.own_class(members[0]) or context.rules.default_class
        label = None if name is None else context.rules.mapped(name)
        if label is not None:
            yield label, members


def _has_usable_keypoints(
    context: ImageContext, places: Places, label: str, regions: Sequence[records.Region]
) -> bool:
    """Whether an annotation of keypoints alone is an object, for which it needs a skeleton."""
    coco = regions[0].coco
    skeleton = context.skeleton
    if skeleton is None or coco is None:
        return False
    severity: records.Severity = "error"
    if label not in skeleton.classes:
        message = f"a {label} of keypoints only, and skeleton '{skeleton.name}' is not that of it"
        remedy = f"give it a bbox, or name it in the skeleton, which is of {skeleton.classes}"
    elif not any(visibility for _, _, visibility in coco_keypoints(coco, places, skeleton)):
        message = f"a {label} of keypoints only, none of which skeleton '{skeleton.name}' has"
        remedy = "add them to the skeleton"
    else:
        severity = "warning"
        message = f"a {label} of {counted(len(regions), 'point')} without an outline"
        remedy = "outline it if it should count for boxes and masks"
    context.reporter.report(severity, message, remedy, regions[0].index)
    return severity == "warning"


def keypoint_places(
    annotations: records.Annotations,
    skeleton: Skeleton,
    rules: LabelRules,
    reporter: records.Reporter,
) -> Places:
    """The index of each skeleton keypoint among the keypoints of each category of a COCO file.

    Keypoints are matched by name; those of a category that names none, by their order.

    Raises:
        UserError: a category and the skeleton have no keypoint in common, or another number.
    """
    places: dict[str, Sequence[int | None]] = {}
    for category in annotations.categories:
        label = rules.mapped(category.name)
        names = category.keypoints
        if not label or not names:
            continue
        if label not in skeleton.classes:
            message = f"the keypoints of class '{label}' are ignored"
            remedy = f"name it among the classes of skeleton '{skeleton.name}' to read them"
            reporter.report("warning", message, remedy)
            continue
        if not category.is_named and len(names) == len(skeleton.keypoints):
            places[str(category.id)] = range(len(names))
            continue
        shared = [name for name in skeleton.keypoints if name in names]
        if not shared or not category.is_named:
            raise UserError(
                "the keypoints of a category do not fit the skeleton",
                file=annotations.file,
                key=f"keypoints of category '{category.name}'",
                found=f"{len(names)} keypoints: {', '.join(names)}",
                expected=f"{len(skeleton.keypoints)} ({skeleton.name}): "
                + ", ".join(skeleton.keypoints),
                remedy="take the skeleton that roilab data skeleton from=FILE proposes",
            )
        if lost := [name for name in names if name not in shared]:
            message = (
                f"{len(lost)} of the {len(names)} keypoints of category '{category.name}' are no "
                f"keypoint of skeleton '{skeleton.name}' and are left out: {', '.join(lost)}"
            )
            reporter.error(message, "add them to the skeleton")
        places[str(category.id)] = [
            names.index(name) if name in shared else None for name in skeleton.keypoints
        ]
    return places


def coco_keypoints(
    coco: records.CocoAnnotation, places: Places, skeleton: Skeleton
) -> tuple[Keypoint, ...]:
    """The keypoints of an annotation in the order of a skeleton; zeros for what is not labelled."""
    flat = coco.keypoints
    order = places.get(coco.category) if flat else None
    if not order:
        return (UNLABELLED,) * len(skeleton.keypoints)
    triples = []
    for place in order:
        triple = UNLABELLED
        if place is not None:
            x, y, visibility = flat[3 * place : 3 * place + 3]
            if visibility:
                triple = (x, y, int(visibility))
        triples.append(triple)
    return tuple(triples)
