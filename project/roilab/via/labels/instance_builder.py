"""Regions of one image -> objects: the outlines that belong together, and their keypoints."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via.geometry import area, contains, kind_of, outline, why_flat
from roilab.via.labels.attribute_roles import Roles
from roilab.via.labels.classes import Classes, class_value
from roilab.via.labels.keypoints import AmbiguousKeypoint, KeypointAnnotation, keypoints_of_region
from roilab.via.labels.label_rules import LabelRules, single
from roilab.via.records import (
    Annotations,
    Area,
    CocoAnnotation,
    ImageRecord,
    Point,
    Problem,
    Region,
    Severity,
)

# A region that holds keypoints, and these.
KeypointRegion = tuple[Region, tuple[KeypointAnnotation, ...]]


@dataclass(slots=True)
class InstanceBuilder:
    """An object being put together.

    Attributes:
        tie: its value of the instance attribute, "" for none.
        keypoints: by their index in the skeleton.
        coco: the annotation that it is where it comes from a COCO file.
    """

    label: str
    tie: str = ""
    outlines: list[Area] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    keypoints: dict[int, KeypointAnnotation] = field(default_factory=dict)
    coco: CocoAnnotation | None = None


@dataclass(frozen=True, slots=True)
class ImageContext:
    """One image and all that is known about its file. What is left out goes to `problems`."""

    annotations: Annotations
    image: ImageRecord
    rules: LabelRules
    roles: Roles
    classes: Classes
    problems: list[Problem]

    def report(
        self,
        severity: Severity,
        message: str,
        remedy: str,
        region: Region,
        attribute: str | None = None,
    ) -> None:
        """Report a region that is left out (an error, or a note if that was asked for), or one
        that is used, but not as it may have been meant (a warning).
        """
        place = (self.annotations.file, self.image.filename, region.index, attribute)
        self.problems.append(Problem(severity, message, remedy, *place))

    def own_class(self, region: Region) -> str | None:
        """The class that a region names itself, before the map."""
        declared = self.annotations.region_attributes.get(self.roles.label or "")
        return class_value(region, self.roles, declared)

    def named_class(self, region: Region) -> str | None:
        """The class of a region by its attribute, the default and the map; None for none."""
        name = self.own_class(region) or self.rules.default_class
        return None if name is None else self.rules.mapped(name)


def group_regions(context: ImageContext, skeleton: Skeleton | None) -> list[InstanceBuilder]:
    """The objects of an image, in the order of their first region."""
    builders, left_out = _outlined(context)
    if skeleton is not None:
        keypoints = _keypoint_regions(context, skeleton)
        if context.roles.instance is not None:
            builders += _attach_by_tie(context, skeleton, builders, left_out, keypoints)
        else:
            builders += _attach_by_place(context, skeleton, builders, keypoints)
    return sorted(builders, key=lambda builder: min(builder.regions))


def _outlined(context: ImageContext) -> tuple[list[InstanceBuilder], dict[str, bool]]:
    """Objects of outlines; and the ties of those left out: True where that was asked for."""
    builders: list[InstanceBuilder] = []
    tied: dict[str, InstanceBuilder] = {}
    left_out: dict[str, bool] = {}
    roles = context.roles
    for region in context.image.regions:
        shape = region.shape
        if isinstance(shape, Point) or isinstance(shape, roles.kinds):  # noqa: SIM101 - for mypy
            continue
        tie = single(region, roles.instance)
        key = (context.image.key, region.index)
        label = context.classes.get(key)
        if label is None:
            left_out[tie] = key in context.classes
            continue
        if reason := why_flat(shape):
            message = f"the {kind_of(shape)} encloses no area: {reason}"
            context.report("error", message, "draw it again in VIA, or delete it", region)
            left_out[tie] = False
            continue
        builder = tied.get(tie) if tie else None
        if several := _several_ties(context, region):
            message = f"taken for an object of its own, since several are ticked: {several}"
            context.report("warning", message, "tick one object", region, roles.instance)
        if builder is None:
            builder = tied[tie] = InstanceBuilder(label, tie)
            builders.append(builder)
        elif builder.label != label:
            message = f"class {label}, but region {builder.regions[0]} of object '{tie}' is a "
            message += builder.label
            remedy = "give both one class, or the objects different values"
            context.report("error", message, remedy, region, roles.instance)
            continue
        builder.outlines.append(shape)
        builder.regions.append(region.index)
    return builders, left_out


def _keypoint_regions(context: ImageContext, skeleton: Skeleton) -> list[KeypointRegion]:
    usable = []
    roles, declared = context.roles, context.annotations.region_attributes
    for region in context.image.regions:
        if not isinstance(region.shape, roles.kinds):
            continue
        try:
            keypoints = keypoints_of_region(
                region, skeleton, roles.keypoint, roles.visibility, declared
            )
        except AmbiguousKeypoint as reason:
            context.report("error", reason.message, reason.remedy, region, reason.attribute)
        else:
            usable.append((region, keypoints))
    return usable


def _attach_by_tie(
    context: ImageContext,
    skeleton: Skeleton,
    builders: list[InstanceBuilder],
    left_out: Mapping[str, bool],
    keypoints: Iterable[KeypointRegion],
) -> list[InstanceBuilder]:
    """Give each point to the object of the same tie; returns objects that have points only."""
    attribute = context.roles.instance
    by_tie = {builder.tie: builder for builder in builders if builder.tie}
    without_outline: dict[str, list[KeypointRegion]] = {}
    for region, annotated in keypoints:
        tie = single(region, attribute)
        builder = by_tie.get(tie)
        if several := _several_ties(context, region):
            message = f"the point belongs to several objects: {several}"
            remedy = "tick one object"
        elif not tie:
            message, remedy = "the point belongs to no object", f"set '{attribute}'"
        elif builder is not None and builder.label in skeleton.classes:
            _attach(context, skeleton, builder, region, annotated)
            continue
        elif builder is not None:
            message = f"the point belongs to object '{tie}', a {builder.label}, without keypoints"
            remedy = (
                f"tie it to a {' or '.join(skeleton.classes)}, or name the class in the file of "
                f"skeleton '{skeleton.name}'"
            )
        elif tie not in left_out:
            without_outline.setdefault(tie, []).append((region, annotated))
            continue
        elif left_out[tie]:
            message = f"the point belongs to object '{tie}', which is dropped as asked"
            context.report("note", message, "keep the object's class to keep it", region, attribute)
            continue
        else:
            message = f"the point belongs to object '{tie}', which is left out"
            remedy = "correct the object's outline first"
        context.report("error", message, remedy, region, attribute)
    return _without_outline(context, skeleton, without_outline.items())


def _attach_by_place(
    context: ImageContext,
    skeleton: Skeleton,
    builders: list[InstanceBuilder],
    keypoints: list[KeypointRegion],
) -> list[InstanceBuilder]:
    """Give each point, and each path as a whole, to the smallest outline around it.

    Without outlines every path is an object, and the points together are one.
    """
    outlined = [builder for builder in builders if builder.label in skeleton.classes]
    if outlined:
        rings = [
            (area(ring), number, ring)
            for number, builder in enumerate(outlined)
            for ring in map(outline, builder.outlines)
        ]
        for region, annotated in keypoints:
            around = [
                (size, number)
                for size, number, ring in rings
                if all(contains(ring, (keypoint.x, keypoint.y)) for keypoint in annotated)
            ]
            smallest = sorted({number for size, number in around if size == min(around)[0]})
            if len(smallest) == 1:
                _attach(context, skeleton, outlined[smallest[0]], region, annotated)
                continue
            message = f"the {kind_of(region.shape)} lies in no {' or '.join(skeleton.classes)}"
            remedy = "draw the object's outline around it, or give instance_attribute=NAME"
            if smallest:
                places = " and ".join(str(outlined[number].regions[0]) for number in smallest)
                message = f"the {kind_of(region.shape)} lies in several outlines of the same area: "
                message += f"regions {places}"
                remedy = "delete one where it is double, or give instance_attribute=NAME"
            context.report("error", message, remedy, region)
        return []
    points = [pair for pair in keypoints if isinstance(pair[0].shape, Point)]
    objects = [[pair] for pair in keypoints if not isinstance(pair[0].shape, Point)]
    counts = Counter(keypoint.keypoint for _, annotated in points for keypoint in annotated)
    if points and (objects or max(counts.values()) > 1):
        for region, _ in points:
            message = "the point belongs to one of several objects, none of them outlined"
            remedy = "outline the objects, or give instance_attribute=NAME"
            context.report("error", message, remedy, region)
    elif points:
        objects = [points]
    return _without_outline(context, skeleton, (("", group) for group in objects))


def _several_ties(context: ImageContext, region: Region) -> str:
    """The ticks of the instance attribute where there is more than one, as text; else ""."""
    value = region.attributes.get(context.roles.instance or "", "")
    return ", ".join(value) if isinstance(value, tuple) and len(value) > 1 else ""


def _attach(
    context: ImageContext,
    skeleton: Skeleton,
    builder: InstanceBuilder,
    region: Region,
    annotated: Iterable[KeypointAnnotation],
) -> None:
    """Give the keypoints of a region to an object; none if it has one of them already."""
    for keypoint in annotated:
        if keypoint.keypoint in builder.keypoints:
            message = f"a second {skeleton.keypoints[keypoint.keypoint]} of one {builder.label}"
            remedy = "delete one of the two, or name it as what it is"
            context.report("error", message, remedy, region, context.roles.keypoint)
            return
    builder.keypoints |= {keypoint.keypoint: keypoint for keypoint in annotated}
    builder.regions.append(region.index)


def _without_outline(
    context: ImageContext,
    skeleton: Skeleton,
    groups: Iterable[tuple[str, Sequence[KeypointRegion]]],
) -> list[InstanceBuilder]:
    """Objects that have keypoints only.

    Args:
        groups: ties, and the regions of each.
    """
    builders = (_of_keypoints(context, skeleton, tie, group) for tie, group in groups)
    return [builder for builder in builders if builder is not None]


def _of_keypoints(
    context: ImageContext, skeleton: Skeleton, tie: str, group: Sequence[KeypointRegion]
) -> InstanceBuilder | None:
    """An object without an outline; its class is the points' own, else the only one possible."""
    rules = context.rules
    names = {context.own_class(region) for region, _ in group} - {None}
    if context.roles.label == context.roles.keypoint:
        names = set()
    own = {rules.mapped(str(name)) for name in names}
    default = None if rules.default_class is None else rules.mapped(rules.default_class)
    possible = own or {default} & set(skeleton.classes) or set(skeleton.classes)
    labels = sorted(possible & set(skeleton.classes), key=str)
    severity: Severity = "error"
    if own == {None}:
        severity = "note"
        message = f"the point belongs to a {min(map(str, names))}, which is dropped as asked"
        remedy = "keep the class to keep it"
    elif len(labels) != 1:
        message = "the class of the point's object is unknown"
        remedy = f"outline the object; {', '.join(skeleton.classes)} have these keypoints"
    elif not any(keypoint.visibility for _, annotated in group for keypoint in annotated):
        message = "none of the object's points is labelled, and it has no outline"
        remedy = "outline the object, or delete its points"
    else:
        builder = InstanceBuilder(str(labels[0]), tie)
        for region, annotated in group:
            _attach(context, skeleton, builder, region, annotated)
        message = f"a {builder.label} of {counted(len(builder.keypoints), 'point')} without an "
        message += "outline"
        first = next(region for region, _ in group if region.index == builder.regions[0])
        context.report(
            "warning", message, "outline it if it should count for boxes and masks", first
        )
        return builder
    for region, _ in group:
        context.report(severity, message, remedy, region)
    return None
