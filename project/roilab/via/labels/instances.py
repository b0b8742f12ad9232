"""Regions -> labelled instances: which object a region is, of which class, with which keypoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from roilab.errors import UserError, argument
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via.geometry import outline
from roilab.via.labels.attribute_roles import Roles, find_roles, tagged
from roilab.via.labels.attribute_values import (
    Kinds,
    attributes_in_use,
    keypoint_regions,
    with_samples,
)
from roilab.via.labels.classes import Unlabelled, name_classes
from roilab.via.labels.coco_objects import Places, group_coco, keypoint_places, keypoints_of
from roilab.via.labels.instance_builder import Draft, ImageContext, group
from roilab.via.records import (
    XY,
    Annotations,
    Area,
    CocoAnnotation,
    Container,
    ImageRecord,
    Point,
    Polygon,
    Polyline,
    Problem,
    collector_paused,
)


@dataclass(frozen=True, slots=True)
class LabelRules:
    """Rules by which attributes become classes and keypoints. None: inferred if unambiguous.

    Attributes:
        class_attribute: the region attribute that names the class; "": none does; several names:
            each of these attributes is a class of its own, in the regions that have a value of it.
        class_map: renames and merges classes; mapping a class to None drops its instances.
        default_class: the class of regions that carry no class.
        keypoint_attribute: the attribute of `point` regions that names the keypoint.
        instance_attribute: the attribute that ties points (and further polygons) to their object;
            "": none does.
        visibility_attribute: marks a point as occluded; without it, or with "", every point is
            visible.
        unlabelled: what becomes of a region that carries no class where there is no default_class.
        keypoint_vertices: the regions of this shape are no outlines: each holds all keypoints of an
            object, a vertex for each, in the skeleton's order.
    """

    class_attribute: str | Sequence[str] | None = None
    class_map: Mapping[str, str | None] = field(default_factory=dict)
    default_class: str | None = None
    keypoint_attribute: str | None = None
    instance_attribute: str | None = None
    visibility_attribute: str | None = None
    unlabelled: Unlabelled = "error"
    keypoint_vertices: Literal["polygon", "polyline"] | None = None

    def __post_init__(self) -> None:
        # From a config it is a DictConfig, or None.
        object.__setattr__(self, "class_map", dict(self.class_map or {}))
        for key, possible in (
            ("unlabelled", ("error", "skip")),
            ("keypoint_vertices", ("polygon", "polyline", None)),
        ):
            if getattr(self, key) not in possible:
                texts = [each for each in possible if each is not None]
                raise UserError(
                    "no such choice",
                    key=key,
                    found=getattr(self, key),
                    expected=" or ".join(texts),
                    remedy=f"give {' or '.join(argument(key, each) for each in texts)}, or none",
                )

    @property
    def class_flags(self) -> tuple[str, ...]:
        """The attributes of which each is a class, where several are named."""
        several = not isinstance(self.class_attribute, str | None)
        return tuple(self.class_attribute or ()) if several else ()

    @property
    def kinds(self) -> Kinds:
        """The shapes that hold keypoints."""
        paths = {"polygon": (Polygon,), "polyline": (Polyline,), None: ()}
        return (Point, *paths[self.keypoint_vertices])


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
        regions: indices of the regions it was made from.
        coco: the annotation that it is where it comes from a COCO file.
    """

    label: str
    outlines: tuple[Area, ...]
    keypoints: tuple[tuple[float, float, int], ...] | None
    regions: tuple[int, ...]
    coco: CocoAnnotation | None = field(default=None, compare=False, repr=False)

    @property
    def polygons(self) -> tuple[tuple[XY, ...], ...]:
        """The outlines as rings of vertices, within half a pixel of curves; made at each call."""
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


_FIND_ALL = LabelRules()


@collector_paused()
def roles_of(annotations: Annotations, rules: LabelRules, skeleton: Skeleton | None) -> Roles:
    """The roles by which `via.label` reads the file. Those of a COCO file are known.

    Raises:
        UserError: an attribute has to be named or does not occur.
    """
    if annotations.container is Container.COCO:
        tags = tagged(annotations.region_attributes)
        return Roles(
            tags.get("class"), tags.get("keypoint"), tags.get("instance"), tags.get("visibility")
        )
    label = rules.class_attribute
    named = Roles(
        label if isinstance(label, str) else None,
        rules.keypoint_attribute,
        rules.instance_attribute,
        rules.visibility_attribute,
        rules.kinds,
        flags=rules.class_flags,
    )
    return find_roles(annotations, named, rules.default_class, skeleton, rules.unlabelled)


@collector_paused()
def label(
    annotations: Annotations, rules: LabelRules = _FIND_ALL, skeleton: Skeleton | None = None
) -> LabelledSet:
    """Turn regions into instances with classes and keypoints.

    A region that is not a point is an instance; regions of an image that share a value of the
    instance attribute are one. With a skeleton, point regions become keypoints of the instance
    with the same value of the instance attribute or, where no attribute ties them, of the smallest
    outline of a skeleton class around them; in an image without such an outline they form one.
    An annotation of a COCO file is one instance, or a crowd, whatever the rules say of attributes;
    its keypoints are told by their names in the file.
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
    classes, problems = name_classes(
        annotations,
        roles.kinds,
        roles.label,
        roles.flags,
        rules.default_class,
        rules.class_map,
        rules.unlabelled,
    )
    problems = [
        *annotations.problems,
        *roles.problems,
        *problems,
        *_unused_points(annotations, roles, skeleton),
    ]
    places: Places = {}
    if skeleton is not None and annotations.categories:
        places = keypoint_places(annotations, skeleton, rules.class_map, problems)
    images = []
    for record in annotations.images:
        scene = ImageContext(
            file=annotations.file,
            image=record,
            roles=roles,
            classes=classes,
            declared=annotations.region_attributes,
            default_class=rules.default_class,
            class_map=rules.class_map,
            problems=problems,
        )
        images.append(_labelled(scene, skeleton, places))
    found = tuple(
        sorted({each.label for image in images for each in (*image.instances, *image.crowds)})
    )
    if skeleton is not None and found:
        problems += _unused_skeleton(annotations, roles, skeleton, found)
    return LabelledSet(annotations.file, tuple(images), found, tuple(problems))


def _labelled(scene: ImageContext, skeleton: Skeleton | None, places: Places) -> LabelledImage:
    """The instances of an image, and its crowds where it is of a COCO file."""
    drafts, crowds = (
        (group(scene, skeleton), list[Draft]())
        if scene.image.coco is None
        else group_coco(scene, skeleton, places)
    )
    return LabelledImage(
        scene.image,
        tuple(_instance(each, skeleton, places) for each in drafts),
        tuple(_instance(each, None, places) for each in crowds),
    )


def _instance(draft: Draft, skeleton: Skeleton | None, places: Places) -> Instance:
    keypoints: tuple[tuple[float, float, int], ...] | None = None
    has_keypoints = skeleton is not None and draft.label in skeleton.classes
    if skeleton is not None and has_keypoints and draft.coco is not None:
        keypoints = keypoints_of(draft.coco, places, skeleton)
    elif skeleton is not None and has_keypoints:
        triples = [(0.0, 0.0, 0)] * len(skeleton.keypoints)
        for mark in draft.marks.values():
            # COCO writes what is not labelled as three zeros, wherever it was clicked.
            if mark.visibility > 0:
                triples[mark.keypoint] = (mark.x, mark.y, mark.visibility)
        keypoints = tuple(triples)
    regions = tuple(sorted(draft.regions))
    return Instance(draft.label, tuple(draft.outlines), keypoints, regions, draft.coco)


def _unused_skeleton(
    annotations: Annotations, roles: Roles, skeleton: Skeleton, found: Sequence[str]
) -> list[Problem]:
    """A warning where a skeleton has no use: a mistake if it is the only file, normal for a small
    one of several. The caller knows.
    """
    if not set(found) & set(skeleton.classes):
        message = f"no class of the file ({', '.join(found)}) has skeleton '{skeleton.name}'"
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
    """Warnings about keypoints that nobody reads, and attributes of theirs that play no part."""
    count = sum(1 for _ in keypoint_regions(annotations, roles.kinds))
    if not count or (skeleton is not None and annotations.container is Container.COCO):
        return []
    found = attributes_in_use(keypoint_regions(annotations, roles.kinds))
    if skeleton is None:
        message = f"ignored: {counted(count, 'region')} with keypoints"
        remedy = "give skeleton=FILE to read them; roilab data skeleton proposes one"
        if not found and roles.kinds == (Point,):
            remedy = "give the points an attribute in VIA that names each, then skeleton=FILE"
        return [Problem("warning", message, remedy, annotations.file)]
    used = {roles.label, *roles.flags, roles.keypoint, roles.instance, roles.visibility}
    used |= {roles.score, *tagged(annotations.region_attributes).values()}
    return [
        Problem(
            severity="warning",
            message=f"an attribute of the points is not used: {with_samples({name: values})}",
            remedy=f"give {argument('visibility_attribute', name)} or "
            f"{argument('instance_attribute', name)} if it is one of them",
            file=annotations.file,
            attribute=name,
        )
        for name, values in found.items()
        if name not in used
    ]
