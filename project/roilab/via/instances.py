"""Regions -> labelled instances: which object a region is, of which class, with which keypoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from roilab.skeleton import Skeleton
from roilab.via.classes import name_classes
from roilab.via.grouping import Draft, Scene, group
from roilab.via.records import Annotations, ImageRecord, Problem
from roilab.via.roles import Roles, find_roles
from roilab.via.shapes import XY
from roilab.via.values import all_regions, attributes_in_use, with_samples


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How attributes become classes and keypoints. None: found where only one answer is possible.

    Attributes:
        class_attribute: the region attribute that names the class.
        class_map: renames and merges classes; mapping a class to None drops its instances.
        default_class: the class of regions that carry no class.
        keypoint_attribute: the attribute of `point` regions that names the keypoint.
        instance_attribute: the attribute that ties points (and further polygons) to their object.
        visibility_attribute: marks a point as occluded; without it every point is visible.
    """

    class_attribute: str | None = None
    class_map: Mapping[str, str | None] = field(default_factory=dict)
    default_class: str | None = None
    keypoint_attribute: str | None = None
    instance_attribute: str | None = None
    visibility_attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """One object of an image.

    Attributes:
        label: class name.
        polygons: rings in continuous image coordinates (VIA's outline, unshifted); empty where only
            keypoints are known.
        keypoints: K triples (x, y, v) in the skeleton's order; x, y are pixel indices as clicked in
            VIA, v is COCO's visibility (0 unlabelled, 1 occluded, 2 visible); None where the class
            has no skeleton.
        regions: indices of the regions it was made from.
    """

    label: str
    polygons: tuple[tuple[XY, ...], ...]
    keypoints: tuple[tuple[float, float, int], ...] | None
    regions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image entry and its instances; none is normal."""

    record: ImageRecord
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The labelled images of one file, its `classes` in order of name, and every problem."""

    images: tuple[LabelledImage, ...]
    classes: tuple[str, ...]
    problems: tuple[Problem, ...]


_FIND_ALL = LabelRules()


def label(
    annotations: Annotations, rules: LabelRules = _FIND_ALL, skeleton: Skeleton | None = None
) -> LabelledSet:
    """Turn regions into instances with classes and keypoints.

    A region that is not a point is an instance; regions of an image that share a value of the
    instance attribute are one. With a skeleton, point regions become keypoints of the instance
    with the same value of the instance attribute or, where no attribute ties them, of the smallest
    outline of a skeleton class around them; in an image without such an outline they form one.
    What cannot be used is left out and reported in the result's `problems`, after those of
    `annotations`.

    Args:
        rules: how attributes become classes and keypoints.
        skeleton: the keypoints; without it point regions are ignored, which is a warning.

    Raises:
        UserError: an attribute has to be named or does not occur.
    """
    named = Roles(
        rules.class_attribute,
        rules.keypoint_attribute,
        rules.instance_attribute,
        rules.visibility_attribute,
    )
    roles = find_roles(annotations, named, rules.default_class, skeleton)
    classes, problems = name_classes(annotations, roles.label, rules.default_class, rules.class_map)
    problems = [*annotations.problems, *problems, *_unused_points(annotations, roles, skeleton)]
    images = []
    for record in annotations.images:
        scene = Scene(
            file=annotations.file,
            image=record,
            roles=roles,
            classes=classes,
            declared=annotations.region_attributes,
            default_class=rules.default_class,
            problems=problems,
        )
        drafts = group(scene, skeleton)
        images.append(LabelledImage(record, tuple(_instance(each, skeleton) for each in drafts)))
    found = tuple(sorted({each.label for image in images for each in image.instances}))
    if skeleton is not None and found and not set(found) & set(skeleton.classes):
        # A mistake if it is the only file, normal for a small one of several: the caller knows.
        problems.append(
            Problem(
                "warning",
                f"no class of the file ({', '.join(found)}) has skeleton '{skeleton.name}'",
                f"map a class to {' or '.join(skeleton.classes)} with class_map, or name the class "
                "in the skeleton's file",
                annotations.file,
            )
        )
    return LabelledSet(tuple(images), found, tuple(problems))


def _instance(draft: Draft, skeleton: Skeleton | None) -> Instance:
    keypoints: tuple[tuple[float, float, int], ...] | None = None
    if skeleton is not None and draft.label in skeleton.classes:
        triples = [(0.0, 0.0, 0)] * len(skeleton.keypoints)
        for mark in draft.marks.values():
            # COCO writes what is not labelled as three zeros, wherever it was clicked.
            if mark.visibility > 0:
                triples[mark.keypoint] = (mark.x, mark.y, mark.visibility)
        keypoints = tuple(triples)
    return Instance(draft.label, tuple(draft.rings), keypoints, tuple(sorted(draft.regions)))


def _unused_points(
    annotations: Annotations, roles: Roles, skeleton: Skeleton | None
) -> list[Problem]:
    """Warnings about points that nobody reads, and about attributes of points that play no part."""
    count = sum(1 for _ in all_regions(annotations, points=True))
    if not count:
        return []
    if skeleton is None:
        message = f"{count} point regions are ignored"
        return [Problem("warning", message, "give a skeleton to read them", annotations.file)]
    used = {roles.label, roles.keypoint, roles.instance, roles.visibility}
    found = attributes_in_use(all_regions(annotations, points=True))
    return [
        Problem(
            severity="warning",
            message=f"an attribute of the points is not used: {with_samples({name: values})}",
            remedy="give visibility_attribute or instance_attribute if it is one of them",
            file=annotations.file,
            attribute=name,
        )
        for name, values in found.items()
        if name not in used
    ]
