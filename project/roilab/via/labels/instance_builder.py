"""Regions of one image -> objects: the outlines that belong together, and their points."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via.geometry import area, contains, outline, why_flat
from roilab.via.labels.attribute_roles import Roles
from roilab.via.labels.attribute_values import single
from roilab.via.labels.classes import Classes, class_value
from roilab.via.labels.keypoints import Mark, Unclear, read_marks
from roilab.via.records import Area, Attribute, CocoAnnotation, ImageRecord, Point, Problem, Region

# A region that holds keypoints, and these.
Marked = tuple[Region, tuple[Mark, ...]]


@dataclass(slots=True)
class Draft:
    """An object being put together. `tie` is its value of the instance attribute, "" for none.

    `coco` is the annotation that it is where it comes from a COCO file.
    """

    label: str
    tie: str
    outlines: list[Area] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    marks: dict[int, Mark] = field(default_factory=dict)
    coco: CocoAnnotation | None = None


@dataclass(frozen=True, slots=True)
class ImageContext:
    """One image and all that is known about its file. What is left out goes to `problems`."""

    file: str
    image: ImageRecord
    roles: Roles
    classes: Classes
    declared: Mapping[str, Attribute]
    default_class: str | None
    class_map: Mapping[str, str | None]
    problems: list[Problem]

    def error(self, region: Region, message: str, remedy: str, attribute: str | None) -> None:
        """Report a region that is left out."""
        place = (self.file, self.image.filename, region.index, attribute)
        self.problems.append(Problem("error", message, remedy, *place))

    def warning(self, region: Region, message: str, remedy: str, attribute: str | None) -> None:
        """Report a region that is used, but not as it may have been meant."""
        place = (self.file, self.image.filename, region.index, attribute)
        self.problems.append(Problem("warning", message, remedy, *place))

    def note(self, region: Region, message: str, remedy: str, attribute: str | None) -> None:
        """Report a region that is left out as asked."""
        place = (self.file, self.image.filename, region.index, attribute)
        self.problems.append(Problem("note", message, remedy, *place))


def named_class(scene: ImageContext, region: Region) -> str | None:
    """The class of a region by its attribute, the default and the map; None for none."""
    declared = scene.declared.get(scene.roles.label or "")
    roles = scene.roles
    name = class_value(region, roles.label, roles.flags, declared) or scene.default_class
    return None if name is None else scene.class_map.get(name, name) or None


def group(scene: ImageContext, skeleton: Skeleton | None) -> list[Draft]:
    """The objects of an image, in the order of their first region."""
    drafts, left_out = _outlined(scene)
    if skeleton is not None:
        marked = _marked(scene, skeleton)
        if scene.roles.instance is not None:
            drafts += _attach_by_tie(scene, skeleton, drafts, left_out, marked)
        else:
            drafts += _attach_by_place(scene, skeleton, drafts, marked)
    return sorted(drafts, key=lambda draft: min(draft.regions))


def _outlined(scene: ImageContext) -> tuple[list[Draft], dict[str, bool]]:
    """Objects made of outlines; and the ties of those left out: True where that was asked for."""
    drafts: list[Draft] = []
    tied: dict[str, Draft] = {}
    left_out: dict[str, bool] = {}
    for region in scene.image.regions:
        shape = region.shape
        if isinstance(shape, Point) or isinstance(shape, scene.roles.kinds):  # noqa: SIM101 - for mypy
            continue
        tie = single(region, scene.roles.instance)
        key = (scene.image.key, region.index)
        label = scene.classes.get(key)
        if label is None:
            left_out[tie] = key in scene.classes
            continue
        if reason := why_flat(shape):
            message = f"the {_kind(region)} encloses no area: {reason}"
            scene.error(region, message, "draw it again in VIA, or delete it", None)
            left_out[tie] = False
            continue
        draft = tied.get(tie) if tie else None
        several = _several_ties(scene, region)
        if several:
            message = f"taken for an object of its own, since several are ticked: {several}"
            scene.warning(region, message, "tick one object", scene.roles.instance)
        if draft is None:
            draft = Draft(label, tie)
            drafts.append(draft)
            tied[tie] = draft
        elif draft.label != label:
            message = f"class {label}, but region {draft.regions[0]} of object '{tie}' is a"
            remedy = "give both one class, or the objects different values"
            scene.error(region, f"{message} {draft.label}", remedy, scene.roles.instance)
            continue
        draft.outlines.append(shape)
        draft.regions.append(region.index)
    return drafts, left_out


def _marked(scene: ImageContext, skeleton: Skeleton) -> list[Marked]:
    marked = []
    roles = scene.roles
    for region in scene.image.regions:
        if not isinstance(region.shape, roles.kinds):
            continue
        try:
            marks = read_marks(region, skeleton, roles.keypoint, roles.visibility, scene.declared)
        except Unclear as reason:
            scene.error(region, reason.message, reason.remedy, reason.attribute)
        else:
            marked.append((region, marks))
    return marked


def _attach_by_tie(
    scene: ImageContext,
    skeleton: Skeleton,
    drafts: list[Draft],
    left_out: Mapping[str, bool],
    marked: Iterable[Marked],
) -> list[Draft]:
    """Give each point to the object of the same tie; returns objects that have points only."""
    attribute = scene.roles.instance
    by_tie = {draft.tie: draft for draft in drafts if draft.tie}
    without_outline: dict[str, list[Marked]] = {}
    for region, marks in marked:
        tie = single(region, attribute)
        draft = by_tie.get(tie)
        several = _several_ties(scene, region)
        if several:
            message = f"the point belongs to several objects: {several}"
            scene.error(region, message, "tick one object", attribute)
        elif not tie:
            scene.error(region, "the point belongs to no object", f"set '{attribute}'", attribute)
        elif draft is not None and draft.label in skeleton.classes:
            _attach(scene, skeleton, draft, region, marks)
        elif draft is not None:
            message = f"the point belongs to object '{tie}', a {draft.label}, without keypoints"
            remedy = (
                f"tie it to a {' or '.join(skeleton.classes)}, or name the class in the file of "
                f"skeleton '{skeleton.name}'"
            )
            scene.error(region, message, remedy, attribute)
        elif tie not in left_out:
            without_outline.setdefault(tie, []).append((region, marks))
        elif left_out[tie]:
            message = f"the point belongs to object '{tie}', which is dropped as asked"
            scene.note(region, message, "keep the object's class to keep it", attribute)
        else:
            message = f"the point belongs to object '{tie}', which is left out"
            scene.error(region, message, "mend the object's outline first", attribute)
    made = (_of_points(scene, skeleton, tie, group) for tie, group in without_outline.items())
    return [draft for draft in made if draft is not None]


def _attach_by_place(
    scene: ImageContext, skeleton: Skeleton, drafts: list[Draft], marked: list[Marked]
) -> list[Draft]:
    """Give each point, and each path as a whole, to the smallest outline around it.

    Without outlines every path is an object, and the points together are one.
    """
    outlined = [draft for draft in drafts if draft.label in skeleton.classes]
    if outlined:
        rings = [
            (area(ring), number, ring)
            for number, draft in enumerate(outlined)
            for ring in map(outline, draft.outlines)
        ]
        for region, marks in marked:
            around = sorted(
                (size, number)
                for size, number, ring in rings
                if all(contains(ring, (mark.x, mark.y)) for mark in marks)
            )
            smallest = sorted({number for size, number in around if size == around[0][0]})
            if len(smallest) > 1:
                places = " and ".join(str(outlined[number].regions[0]) for number in smallest)
                message = f"the {_kind(region)} lies in several outlines of the same area: regions "
                remedy = "delete one where it is double, or give instance_attribute=NAME"
                scene.error(region, message + places, remedy, None)
            elif smallest:
                _attach(scene, skeleton, outlined[smallest[0]], region, marks)
            else:
                message = f"the {_kind(region)} lies in no {' or '.join(skeleton.classes)}"
                remedy = "draw the object's outline around it, or give instance_attribute=NAME"
                scene.error(region, message, remedy, None)
        return []
    points = [each for each in marked if isinstance(each[0].shape, Point)]
    objects = [[each] for each in marked if not isinstance(each[0].shape, Point)]
    counts = Counter(mark.keypoint for _, marks in points for mark in marks)
    if points and (objects or max(counts.values()) > 1):
        for region, _ in points:
            message = "the point belongs to one of several objects, none of them outlined"
            remedy = "outline the objects, or give instance_attribute=NAME"
            scene.error(region, message, remedy, None)
    elif points:
        objects = [points]
    made = (_of_points(scene, skeleton, "", each) for each in objects)
    return [draft for draft in made if draft is not None]


def _several_ties(scene: ImageContext, region: Region) -> str:
    """The ticks of the instance attribute where there is more than one, as text; else ""."""
    value = region.attributes.get(scene.roles.instance or "", "")
    return ", ".join(value) if isinstance(value, tuple) and len(value) > 1 else ""


def _kind(region: Region) -> str:
    # VIA's names are those of our classes in lower case.
    return type(region.shape).__name__.lower()


def _attach(
    scene: ImageContext, skeleton: Skeleton, draft: Draft, region: Region, marks: Iterable[Mark]
) -> None:
    """Give the marks of a region to an object, all or, where it has one of them already, none."""
    for mark in marks:
        if mark.keypoint in draft.marks:
            message = f"a second {skeleton.keypoints[mark.keypoint]} of one {draft.label}"
            remedy = "delete one of the two, or name it as what it is"
            scene.error(region, message, remedy, scene.roles.keypoint)
            return
    draft.marks |= {mark.keypoint: mark for mark in marks}
    draft.regions.append(region.index)


def _of_points(
    scene: ImageContext, skeleton: Skeleton, tie: str, marked: Sequence[Marked]
) -> Draft | None:
    """An object without an outline; its class is the points' own, else the only one possible."""
    roles = scene.roles
    declared = scene.declared.get(roles.label or "")
    named = {class_value(region, roles.label, roles.flags, declared) for region, _ in marked} - {
        None
    }
    if roles.label == roles.keypoint:
        named = set()
    own = {scene.class_map.get(str(name), name) or None for name in named}
    if own == {None}:
        message = f"the point belongs to a {min(map(str, named))}, which is dropped as asked"
        for region, _ in marked:
            scene.note(region, message, "keep the class to keep it", None)
        return None
    default = scene.class_map.get(str(scene.default_class), scene.default_class)
    possible = own or {default} & set(skeleton.classes) or set(skeleton.classes)
    labels = sorted(possible & set(skeleton.classes), key=str)
    if len(labels) != 1:
        remedy = f"outline the object; {', '.join(skeleton.classes)} have these keypoints"
        for region, _ in marked:
            scene.error(region, "the class of the point's object is unknown", remedy, None)
        return None
    if not any(mark.visibility for _, marks in marked for mark in marks):
        for region, _ in marked:
            message = "none of the object's points is labelled, and it has no outline"
            scene.error(region, message, "outline the object, or delete its points", None)
        return None
    draft = Draft(str(labels[0]), tie)
    for region, marks in marked:
        _attach(scene, skeleton, draft, region, marks)
    scene.problems.append(
        Problem(
            severity="warning",
            message=f"a {draft.label} of {counted(len(draft.marks), 'point')} without an outline",
            remedy="outline it if it shall count for boxes and masks",
            file=scene.file,
            image=scene.image.filename,
            region=draft.regions[0],
        )
    )
    return draft
