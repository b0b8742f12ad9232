"""Regions -> labelled instances: which object a region is, of which class, with which keypoints."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via import records
from roilab.via.geometry import area, contains, kind_of, outline
from roilab.via.labels import coco_instances
from roilab.via.labels.attribute_roles import roles_of
from roilab.via.labels.classes import ImageContext, name_classes
from roilab.via.labels.keypoints import (
    UNLABELLED,
    Keypoint,
    keypoints_of_region,
    warn_of_unread,
)
from roilab.via.labels.label_rules import LabelRules, single

# A region that holds keypoints, and these under their index in the skeleton.
_KeypointRegion = tuple[records.Region, dict[int, Keypoint]]


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
    outlines: tuple[records.Area, ...]
    keypoints: tuple[Keypoint, ...] | None
    regions: tuple[int, ...]
    coco: records.CocoAnnotation | None = field(default=None, compare=False, repr=False)

    @property
    def polygons(self) -> tuple[tuple[records.XY, ...], ...]:
        """The outlines as rings, within half a pixel of curves; computed at each call."""
        return tuple(map(outline, self.outlines))


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image entry and its instances; none is normal. Crowds, which only COCO has, are apart."""

    record: records.ImageRecord
    instances: tuple[Instance, ...]
    crowds: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The labelled images of one file, its `classes` in order of name, and every problem."""

    file: str
    images: tuple[LabelledImage, ...]
    classes: tuple[str, ...]
    problems: tuple[records.Problem, ...]


_INFER_ALL = LabelRules()


@records.collector_paused()
def build_instances(
    annotations: records.Annotations,
    rules: LabelRules = _INFER_ALL,
    skeleton: Skeleton | None = None,
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
        skeleton: the keypoints; without it point regions are ignored, which is a warning.

    Raises:
        UserError: an attribute has to be named or does not occur.
    """
    roles = roles_of(annotations, rules, skeleton)
    reporter = records.Reporter([*annotations.problems, *roles.problems], annotations.file)
    classes = name_classes(annotations, roles, rules, reporter)
    places: coco_instances.Places = {}
    if skeleton is not None:
        places = coco_instances.keypoint_places(annotations, skeleton, rules, reporter)
    images = []
    for record in annotations.images:
        of_image = replace(reporter, image=record.filename)
        context = ImageContext(annotations, record, rules, roles, skeleton, classes, of_image)
        if record.coco is None:
            images.append(LabelledImage(record, _instances(context)))
        else:
            objects, crowds = coco_instances.group_coco_regions(context, places)
            instances = [_coco_instance(*item, skeleton, places) for item in objects]
            crowded = [_coco_instance(*item, None, places) for item in crowds]
            images.append(LabelledImage(record, tuple(instances), tuple(crowded)))
    names = {instance.label for image in images for instance in (*image.instances, *image.crowds)}
    labels = tuple(sorted(names))
    warn_of_unread(annotations, roles, skeleton, labels, reporter)
    return LabelledSet(annotations.file, tuple(images), labels, tuple(reporter.problems))


def _coco_instance(
    label: str,
    regions: Sequence[records.Region],
    skeleton: Skeleton | None,
    places: coco_instances.Places,
) -> Instance:
    coco = regions[0].coco
    triples = None
    if skeleton is not None and coco is not None and label in skeleton.classes:
        triples = coco_instances.coco_keypoints(coco, places, skeleton)
    shapes = (region.shape for region in regions)
    outlines = tuple(shape for shape in shapes if not isinstance(shape, records.Point))
    return Instance(label, outlines, triples, tuple(region.index for region in regions), coco)


@dataclass(slots=True)
class _InstanceBuilder:
    """An object being put together.

    Attributes:
        tie: its value of the instance attribute, "" for none.
        keypoints: by their index in the skeleton.
    """

    label: str
    tie: str = ""
    outlines: list[records.Area] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    keypoints: dict[int, Keypoint] = field(default_factory=dict)


def _instances(context: ImageContext) -> tuple[Instance, ...]:
    """The objects of an image, in the order of their first region."""
    builders, left_out = _outlined(context)
    skeleton = context.skeleton
    if skeleton is not None:
        _KeypointGrouping(context, skeleton, builders, left_out).add_all()
    instances = []
    for builder in sorted(builders, key=lambda builder: min(builder.regions)):
        triples: tuple[Keypoint, ...] | None = None
        if skeleton is not None and builder.label in skeleton.classes:
            numbers = range(len(skeleton.keypoints))
            clicked = (builder.keypoints.get(k, UNLABELLED) for k in numbers)
            # COCO writes what is not labelled as three zeros, wherever it was clicked.
            triples = tuple(triple if triple[2] else UNLABELLED for triple in clicked)
        regions = tuple(sorted(builder.regions))
        instances.append(Instance(builder.label, tuple(builder.outlines), triples, regions))
    return tuple(instances)


def _outlined(context: ImageContext) -> tuple[list[_InstanceBuilder], dict[str, bool]]:
    """Objects of outlines; and the ties of those left out: True where that was asked for."""
    builders: list[_InstanceBuilder] = []
    tied: dict[str, _InstanceBuilder] = {}
    left_out: dict[str, bool] = {}
    roles = context.roles
    for region in context.image.regions:
        shape = region.shape
        holds_keypoints = isinstance(shape, roles.kinds)
        if holds_keypoints or isinstance(shape, records.Point):
            continue
        tie = single(region, roles.instance)
        key = (context.image.key, region.index)
        label = context.classes.get(key)
        if label is None:
            left_out[tie] = key in context.classes
            continue
        if context.is_flat(region):
            left_out[tie] = False
            continue
        if several := _several_ties(context, region):
            message = f"taken for an object of its own, since several are ticked: {several}"
            remedy = "tick one object"
            context.reporter.report("warning", message, remedy, region.index, roles.instance)
        builder = tied.get(tie) if tie else None
        if builder is None:
            builder = tied[tie] = _InstanceBuilder(label, tie)
            builders.append(builder)
        elif builder.label != label:
            first = builder.regions[0]
            message = f"class {label}, but region {first} of object '{tie}' is a {builder.label}"
            remedy = "give both one class, or the objects different values"
            context.reporter.error(message, remedy, region.index, roles.instance)
            continue
        builder.outlines.append(shape)
        builder.regions.append(region.index)
    return builders, left_out


def _several_ties(context: ImageContext, region: records.Region) -> str:
    """The ticks of the instance attribute where there is more than one, as text; else ""."""
    value = region.attributes.get(context.roles.instance or "", "")
    return ", ".join(value) if isinstance(value, tuple) and len(value) > 1 else ""


@dataclass(frozen=True, slots=True)
class _KeypointGrouping:
    """Gives the keypoints of an image to its objects.

    Attributes:
        builders: the objects; those that have keypoints only are added.
        left_out: ties of the outlines that are left out: True where that was asked for.
    """

    context: ImageContext
    skeleton: Skeleton
    builders: list[_InstanceBuilder]
    left_out: dict[str, bool]

    def add_all(self) -> None:
        """Give every keypoint to its object, or report it."""
        roles = self.context.roles
        usable: list[_KeypointRegion] = []
        for region in self.context.image.regions:
            if isinstance(region.shape, roles.kinds):
                triples = keypoints_of_region(self.context, self.skeleton, region)
                if triples is not None:
                    usable.append((region, triples))
        if roles.instance is None:
            self._attach_by_place(usable)
        else:
            self._attach_by_tie(usable, roles.instance)

    def _attach_by_tie(self, usable: list[_KeypointRegion], attribute: str) -> None:
        skeleton = self.skeleton
        by_tie = {builder.tie: builder for builder in self.builders if builder.tie}
        without_outline: dict[str, list[_KeypointRegion]] = {}
        for region, triples in usable:
            tie = single(region, attribute)
            builder = by_tie.get(tie)
            severity: records.Severity = "error"
            if several := _several_ties(self.context, region):
                message = f"the point belongs to several objects: {several}"
                remedy = "tick one object"
            elif not tie:
                message = "the point belongs to no object"
                remedy = f"set '{attribute}'"
            elif builder is not None and builder.label in skeleton.classes:
                self._attach(builder, region, triples)
                continue
            elif builder is not None:
                message = (
                    f"the point belongs to object '{tie}', a {builder.label}, without keypoints"
                )
                remedy = (
                    f"tie it to a {' or '.join(skeleton.classes)}, or name the class in the file "
                    f"of skeleton '{skeleton.name}'"
                )
            elif tie not in self.left_out:
                without_outline.setdefault(tie, []).append((region, triples))
                continue
            elif self.left_out[tie]:
                severity = "note"
                message = f"the point belongs to object '{tie}', which is dropped as asked"
                remedy = "keep the object's class to keep it"
            else:
                message = f"the point belongs to object '{tie}', which is left out"
                remedy = "correct the object's outline first"
            self.context.reporter.report(severity, message, remedy, region.index, attribute)
        for tie, group in without_outline.items():
            self._add_of_keypoints(tie, group)

    def _attach_by_place(self, usable: list[_KeypointRegion]) -> None:
        """Give each point, and each path as a whole, to the smallest outline around it."""
        outlined = [item for item in self.builders if item.label in self.skeleton.classes]
        if not outlined:
            self._add_unoutlined(usable)
            return
        # The area of each ring, the place of its object in `outlined`, and the ring.
        rings = [
            (area(ring), number, ring)
            for number, builder in enumerate(outlined)
            for ring in map(outline, builder.outlines)
        ]
        for region, triples in usable:
            around = [
                (size, number)
                for size, number, ring in rings
                if all(contains(ring, (x, y)) for x, y, _ in triples.values())
            ]
            smallest = sorted({number for size, number in around if size == min(around)[0]})
            if len(smallest) == 1:
                self._attach(outlined[smallest[0]], region, triples)
                continue
            kind = kind_of(region.shape)
            message = f"the {kind} lies in no {' or '.join(self.skeleton.classes)}"
            remedy = "draw the object's outline around it, or give instance_attribute=NAME"
            if smallest:
                places = " and ".join(str(outlined[number].regions[0]) for number in smallest)
                message = f"the {kind} lies in several outlines of the same area: regions {places}"
                remedy = "delete one where it is double, or give instance_attribute=NAME"
            self.context.reporter.error(message, remedy, region.index)

    def _add_unoutlined(self, usable: list[_KeypointRegion]) -> None:
        """Add every path as an object, and the points together as one, if that is clear."""
        points = [pair for pair in usable if isinstance(pair[0].shape, records.Point)]
        objects = [[pair] for pair in usable if not isinstance(pair[0].shape, records.Point)]
        counts = Counter(index for _, triples in points for index in triples)
        if points and (objects or max(counts.values()) > 1):
            for region, _ in points:
                message = "the point belongs to one of several objects, none of them outlined"
                remedy = "outline the objects, or give instance_attribute=NAME"
                self.context.reporter.error(message, remedy, region.index)
        elif points:
            objects = [points]
        for group in objects:
            self._add_of_keypoints("", group)

    def _attach(
        self, builder: _InstanceBuilder, region: records.Region, triples: dict[int, Keypoint]
    ) -> None:
        """Give the keypoints of a region to an object; none if it has one of them already."""
        index = next((index for index in triples if index in builder.keypoints), None)
        if index is None:
            builder.keypoints |= triples
            builder.regions.append(region.index)
            return
        message = f"a second {self.skeleton.keypoints[index]} of one {builder.label}"
        remedy = "delete one of the two, or name it as what it is"
        self.context.reporter.error(message, remedy, region.index, self.context.roles.keypoint)

    def _add_of_keypoints(self, tie: str, group: Sequence[_KeypointRegion]) -> None:
        """Add an object without an outline; its class is the points' own, else the only one
        possible.
        """
        context = self.context
        rules = self.context.rules
        classes = set(self.skeleton.classes)
        names: set[str | None] = set()
        if context.roles.label != context.roles.keypoint:
            names = {context.own_class(region) for region, _ in group} - {None}
        own = {rules.mapped(str(name)) for name in names}
        default = None if rules.default_class is None else rules.mapped(rules.default_class)
        # Without a class of its own the object has the default, else the only one with keypoints.
        possible = own or {default} & classes or classes
        labels = sorted(possible & classes, key=str)
        severity: records.Severity = "error"
        regions = [region for region, _ in group]
        if own == {None}:
            severity = "note"
            message = f"the point belongs to a {min(map(str, names))}, which is dropped as asked"
            remedy = "keep the class to keep it"
        elif len(labels) != 1:
            message = "the class of the point's object is unknown"
            remedy = f"outline the object; {', '.join(self.skeleton.classes)} have these keypoints"
        elif not any(keypoint[2] for _, triples in group for keypoint in triples.values()):
            message = "none of the object's points is labelled, and it has no outline"
            remedy = "outline the object, or delete its points"
        else:
            builder = _InstanceBuilder(str(labels[0]), tie)
            for region, triples in group:
                self._attach(builder, region, triples)
            self.builders.append(builder)
            severity = "warning"
            points = counted(len(builder.keypoints), "point")
            message = f"a {builder.label} of {points} without an outline"
            remedy = "outline it if it should count for boxes and masks"
            regions = [region for region in regions if region.index == builder.regions[0]]
        for region in regions:
            context.reporter.report(severity, message, remedy, region.index)
