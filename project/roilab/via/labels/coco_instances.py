"""Regions of COCO annotations -> objects: every annotation is one."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via import records
from roilab.via.geometry import why_flat
from roilab.via.labels.classes import ImageContext
from roilab.via.labels.keypoints import UNLABELLED, Keypoint
from roilab.via.labels.label_rules import LabelRules

# Category id, as text -> for each keypoint of a skeleton its place among the category's, or None.
Places = Mapping[str, Sequence[int | None]]
# The class of an object and its regions, of which those that are no points outline it.
CocoObject = tuple[str, list[records.Region]]


def group_coco_regions(
    context: ImageContext, skeleton: Skeleton | None, places: Places
) -> tuple[list[CocoObject], list[CocoObject]]:
    """The objects of an image of a COCO file, and its crowds, in the order of the file."""
    objects: list[CocoObject] = []
    for regions in _by_annotation(context.image.regions):
        if any(not isinstance(region.shape, records.Point) for region in regions):
            label, usable = _outlined(context, regions)
        else:
            label, usable = _class_of_keypoints(context, skeleton, places, regions), regions
        if label is not None and usable:
            objects.append((label, usable))
    crowds = [
        (label, regions)
        for regions in _by_annotation(context.image.crowds)
        if (label := context.named_class(regions[0])) is not None
    ]
    return objects, crowds


def _by_annotation(regions: Sequence[records.Region]) -> list[list[records.Region]]:
    return [list(group) for _, group in groupby(regions, key=lambda region: id(region.coco))]


def _outlined(
    context: ImageContext, regions: Sequence[records.Region]
) -> tuple[str | None, list[records.Region]]:
    """The class of an outlined object, and the regions of it that can be used."""
    outlines = [region for region in regions if not isinstance(region.shape, records.Point)]
    label = context.classes.get((context.image.key, outlines[0].index))
    if label is None:
        return None, []
    flat = set()
    for region in outlines:
        if reason := why_flat(region.shape):  # type: ignore[arg-type] # no point
            message = f"the polygon encloses no area: {reason}"
            context.report("error", message, "draw it again, or remove it", region)
            flat.add(region.index)
    usable = [region for region in regions if region.index not in flat]
    return label, usable if len(flat) < len(outlines) else []


def _class_of_keypoints(
    context: ImageContext,
    skeleton: Skeleton | None,
    places: Places,
    regions: Sequence[records.Region],
) -> str | None:
    """The class of an annotation that has keypoints alone, which only a skeleton makes an object;
    None, and a problem, if it is left out.
    """
    label, coco = context.named_class(regions[0]), regions[0].coco
    if skeleton is None or label is None or coco is None:
        return None
    if label not in skeleton.classes:
        message = f"a {label} of keypoints only, and skeleton '{skeleton.name}' is not that of it"
        remedy = f"give it a bbox, or name it in the skeleton, which is of {skeleton.classes}"
        context.report("error", message, remedy, regions[0])
        return None
    if not any(visibility for _, _, visibility in coco_keypoints(coco, places, skeleton)):
        message = f"a {label} of keypoints only, none of which skeleton '{skeleton.name}' has"
        context.report("error", message, "add them to the skeleton", regions[0])
        return None
    message = f"a {label} of {counted(len(regions), 'point')} without an outline"
    remedy = "outline it if it should count for boxes and masks"
    context.report("warning", message, remedy, regions[0])
    return label


def keypoint_places(
    annotations: records.Annotations,
    skeleton: Skeleton,
    rules: LabelRules,
    problems: list[records.Problem],
) -> Places:
    """The index of each skeleton keypoint among the keypoints of each category of a COCO file.

    Keypoints are matched by name; those of a category that names none, by their order.

    Args:
        problems: what the skeleton leaves out is reported here.

    Raises:
        UserError: a category and the skeleton have no keypoint in common, or another number.
    """
    places: dict[str, Sequence[int | None]] = {}
    for category in annotations.categories:
        label = rules.mapped(category.name)
        if label in skeleton.classes and category.keypoints:
            places[str(category.id)] = _places(annotations.file, category, skeleton, problems)
        elif label and category.keypoints:
            message = f"the keypoints of class '{label}' are ignored"
            remedy = f"name it among the classes of skeleton '{skeleton.name}' to read them"
            problems.append(records.Problem("warning", message, remedy, annotations.file))
    return places


def _places(
    file: str, category: records.CocoCategory, skeleton: Skeleton, problems: list[records.Problem]
) -> Sequence[int | None]:
    names = category.keypoints
    if not category.is_named and len(names) == len(skeleton.keypoints):
        return range(len(names))
    shared = [name for name in skeleton.keypoints if name in names]
    if not shared or not category.is_named:
        raise UserError(
            "the keypoints of a category do not fit the skeleton",
            file=file,
            key=f"keypoints of category '{category.name}'",
            found=f"{len(names)} keypoints: {', '.join(names)}",
            expected=f"{len(skeleton.keypoints)} ({skeleton.name}): "
            + ", ".join(skeleton.keypoints),
            remedy="take the skeleton that roilab data skeleton from=FILE proposes",
        )
    lost = [name for name in names if name not in shared]
    if lost:
        message = f"{len(lost)} of the {len(names)} keypoints of category '{category.name}' are no "
        message += f"keypoint of skeleton '{skeleton.name}' and are left out: {', '.join(lost)}"
        problems.append(records.Problem("error", message, "add them to the skeleton", file))
    return [names.index(name) if name in shared else None for name in skeleton.keypoints]


def coco_keypoints(
    coco: records.CocoAnnotation, places: Places, skeleton: Skeleton
) -> tuple[Keypoint, ...]:
    """The keypoints of an annotation in the order of a skeleton; zeros for what is not labelled."""
    flat = coco.keypoints
    order = places.get(coco.category, ()) if flat else ()
    if not order:
        return (UNLABELLED,) * len(skeleton.keypoints)
    return tuple(
        UNLABELLED
        if at is None or not flat[3 * at + 2]
        else (flat[3 * at], flat[3 * at + 1], int(flat[3 * at + 2]))
        for at in order
    )
