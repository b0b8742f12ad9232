"""Regions -> labelled instances: which object a region is, of which class, with which keypoints."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from roilab.errors import argument
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via.geometry import outline
from roilab.via.labels.attribute_roles import Roles, roles_of, tagged
from roilab.via.labels.classes import name_classes
from roilab.via.labels.coco_instances import (
    Places,
    coco_keypoints,
    group_coco_regions,
    keypoint_places,
)
from roilab.via.labels.instance_builder import ImageContext, InstanceBuilder, group_regions
from roilab.via.labels.label_rules import (
    LabelRules,
    attributes_in_use,
    keypoint_regions,
    with_samples,
)
from roilab.via.records import (
    XY,
    Annotations,
    Area,
    CocoAnnotation,
    Container,
    ImageRecord,
    Point,
    Problem,
    collector_paused,
)


@dataclass(frozen=True, slots=True)
class Instance:
    """One object of an image.

    Attributes:
        label: class name.
        outlines: shapes in continuous image coordinates (VIA's, unshifted); empty where only
            keypoints are known.
        keypoints: K triples (x, y, v) in the skeleton's order; x, y are pixel indices as clicked in
            VIA, v is COCO's visibility (0 unlabelled, 1 occluded, 2 visible); None where the class
            has no skeleton.
        regions: indices of the regions that it consists of.
        coco: the annotation that it is where it comes from a COCO file.
    """

    label: str
    outlines: tuple[Area, ...]
    keypoints: tuple[tuple[float, float, int], ...] | None
    regions: tuple[int, ...]
    coco: CocoAnnotation | None = field(default=None, compare=False, repr=False)

    @property
    def polygons(self) -> tuple[tuple[XY, ...], ...]:
        """The outlines as rings, within half a pixel of curves; computed at each call."""
        return tuple(map(outline, self.outlines))


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image entry and its instances; none is normal. Crowds, which only COCO has, are apart."""

    record: ImageRecord
    instances: tuple[Instance, ...]
    crowds: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The labelled images of one file, its `classes` in order of name, and every problem."""

    file: str
    images: tuple[LabelledImage, ...]
    classes: tuple[str, ...]
    problems: tuple[Problem, ...]


_INFER_ALL = LabelRules()


@collector_paused()
def build_instances(
    annotations: Annotations, rules: LabelRules = _INFER_ALL, skeleton: Skeleton | None = None
) -> LabelledSet:
    """Turn regions into instances with classes and keypoints.

    A region that is not a point is an instance; regions of an image that share a value of the
    instance attribute are one. With a skeleton, point regions become keypoints of the instance
    with the same value of the instance attribute or, where no attribute ties them, of the smallest
    outline of a skeleton class around them; in an image without such an outline they form one.
    An annotation of a COCO file is one instance, or a crowd, whatever the rules say of attributes;
    its keypoints are matched by their names in the file.
    With `keypoint_vertices` a path holds a whole object's keypoints, and belongs to an outline as a
    point does; without an outline it is an object. What cannot be used is left out and reported in
    the result's `problems`, after those of `annotations`.

    Args:
        rules: how attributes become classes and keypoints.
        skeleton: the keypoints; without it point regions are ignored, which is a warning.

    Raises:
        UserError: an attribute has to be named or does not occur.
    """
    roles = roles_of(annotations, rules, skeleton)
    classes, problems = name_classes(annotations, roles, rules)
    problems = [
        *annotations.problems,
        *roles.problems,
        *problems,
        *_unused_points(annotations, roles, skeleton),
    ]
    places: Places = {}
    if skeleton is not None and annotations.categories:
        places = keypoint_places(annotations, skeleton, rules, problems)
    images = []
    for record in annotations.images:
        context = ImageContext(annotations, record, rules, roles, classes, problems)
        crowds: list[InstanceBuilder] = []
        if record.coco is None:
            objects = group_regions(context, skeleton)
        else:
            objects, crowds = group_coco_regions(context, skeleton, places)
        instances = tuple(_instance(builder, skeleton, places) for builder in objects)
        crowd = tuple(_instance(builder, None, places) for builder in crowds)
        images.append(LabelledImage(record, instances, crowd))
    names = {instance.label for image in images for instance in (*image.instances, *image.crowds)}
    labels = tuple(sorted(names))
    if skeleton is not None and labels:
        problems += _unused_skeleton(annotations, roles, skeleton, labels)
    return LabelledSet(annotations.file, tuple(images), labels, tuple(problems))


def _instance(builder: InstanceBuilder, skeleton: Skeleton | None, places: Places) -> Instance:
    keypoints: tuple[tuple[float, float, int], ...] | None = None
    if skeleton is not None and builder.label in skeleton.classes:
        if builder.coco is not None:
            keypoints = coco_keypoints(builder.coco, places, skeleton)
        else:
            triples = [(0.0, 0.0, 0)] * len(skeleton.keypoints)
            for keypoint in builder.keypoints.values():
                # COCO writes what is not labelled as three zeros, wherever it was clicked.
                if keypoint.visibility > 0:
                    triples[keypoint.keypoint] = (keypoint.x, keypoint.y, keypoint.visibility)
            keypoints = tuple(triples)
    regions = tuple(sorted(builder.regions))
    return Instance(builder.label, tuple(builder.outlines), keypoints, regions, builder.coco)


def _unused_skeleton(
    annotations: Annotations, roles: Roles, skeleton: Skeleton, labels: Sequence[str]
) -> list[Problem]:
    """A warning where a skeleton has no use: a mistake if this is the only file, normal for a small
    one of several. The caller knows which.
    """
    if not set(labels) & set(skeleton.classes):
        message = f"no class of the file ({', '.join(labels)}) has skeleton '{skeleton.name}'"
        renaming = argument("class_map", {"OLD": skeleton.classes[0]})
        remedy = f"rename a class with {renaming}, or name yours in the skeleton file"
    elif not any(category.keypoints for category in annotations.categories) and not any(
        keypoint_regions(annotations, roles.kinds)
    ):
        message = f"the file has no keypoint of skeleton '{skeleton.name}'"
        remedy = (
            "mark them as points, or, where a path has them as vertices, give "
            "keypoint_vertices=polyline or keypoint_vertices=polygon"
        )
    else:
        return []
    return [Problem("warning", message, remedy, annotations.file)]


def _unused_points(
    annotations: Annotations, roles: Roles, skeleton: Skeleton | None
) -> list[Problem]:
    """Warnings about keypoints that are not read, and attributes of theirs that play no part."""
    count = sum(1 for _ in keypoint_regions(annotations, roles.kinds))
    if not count or (skeleton is not None and annotations.container is Container.COCO):
        return []
    attributes = attributes_in_use(keypoint_regions(annotations, roles.kinds))
    if skeleton is None:
        message = f"ignored: {counted(count, 'region')} with keypoints"
        remedy = "give skeleton=FILE to read them; roilab data skeleton proposes one"
        if not attributes and roles.kinds == (Point,):
            remedy = "give the points an attribute in VIA that names each, then skeleton=FILE"
        return [Problem("warning", message, remedy, annotations.file)]
    used = roles.names | set(tagged(annotations.region_attributes).values())
    return [
        Problem(
            severity="warning",
            message=f"an attribute of the points is not used: {with_samples({name: values})}",
            remedy=f"give {argument('visibility_attribute', name)} or "
            f"{argument('instance_attribute', name)} if it is one of them",
            file=annotations.file,
            attribute=name,
        )
        for name, values in attributes.items()
        if name not in used
    ]
