"""Regions of one image -> objects: the outlines that belong together, and their points."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from roilab.skeleton import Skeleton
from roilab.via.classes import Classes, class_value
from roilab.via.keypoints import Mark, Unclear, read_mark
from roilab.via.records import Attribute, ImageRecord, Problem, Region
from roilab.via.roles import Roles
from roilab.via.shapes import XY, Point, area, contains, outline
from roilab.via.values import is_point, single


@dataclass(slots=True)
class Draft:
    """An object being put together. `tie` is its value of the instance attribute, "" for none."""

    label: str
    tie: str
    rings: list[tuple[XY, ...]] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    marks: dict[int, Mark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """One image and all that is known about its file. What is left out goes to `problems`."""

    file: str
    image: ImageRecord
    roles: Roles
    classes: Classes
    declared: Mapping[str, Attribute]
    default_class: str | None
    problems: list[Problem]

    def error(self, region: Region, message: str, remedy: str, attribute: str | None) -> None:
        """Report a region that is left out."""
        place = (self.file, self.image.filename, region.index, attribute)
        self.problems.append(Problem("error", message, remedy, *place))


def group(scene: Scene, skeleton: Skeleton | None) -> list[Draft]:
    """The objects of an image, in the order of their first region."""
    drafts, left_out = _outlined(scene)
    if skeleton is not None:
        marks = _marks(scene, skeleton)
        if scene.roles.instance is not None:
            drafts += _attach_by_tie(scene, skeleton, drafts, left_out, marks)
        else:
            drafts += _attach_by_place(scene, skeleton, drafts, marks)
    return sorted(drafts, key=lambda draft: min(draft.regions))


def _outlined(scene: Scene) -> tuple[list[Draft], dict[str, bool]]:
    """Objects made of outlines; and the ties of those left out: True where the map dropped them."""
    drafts: list[Draft] = []
    tied: dict[str, Draft] = {}
    left_out: dict[str, bool] = {}
    for region in scene.image.regions:
        shape = region.shape
        if isinstance(shape, Point):
            continue
        tie = single(region, scene.roles.instance)
        key = (scene.image.key, region.index)
        label = scene.classes.get(key)
        if label is None:
            left_out[tie] = key in scene.classes
            continue
        ring = outline(shape)
        if not ring:
            scene.error(region, "the polyline encloses no area", "draw a polygon", None)
            left_out[tie] = False
            continue
        draft = tied.get(tie) if tie else None
        if draft is None:
            draft = Draft(label, tie)
            drafts.append(draft)
            tied[tie] = draft
        elif draft.label != label:
            message = f"class {label}, but region {draft.regions[0]} of object '{tie}' is a"
            remedy = "give both one class, or the objects different values"
            scene.error(region, f"{message} {draft.label}", remedy, scene.roles.instance)
            continue
        draft.rings.append(ring)
        draft.regions.append(region.index)
    return drafts, left_out


def _marks(scene: Scene, skeleton: Skeleton) -> list[tuple[Region, Mark]]:
    marks = []
    roles = scene.roles
    for region in filter(is_point, scene.image.regions):
        try:
            mark = read_mark(region, skeleton, roles.keypoint, roles.visibility, scene.declared)
        except Unclear as reason:
            scene.error(region, reason.message, reason.remedy, reason.attribute)
        else:
            marks.append((region, mark))
    return marks


def _attach_by_tie(
    scene: Scene,
    skeleton: Skeleton,
    drafts: list[Draft],
    left_out: Mapping[str, bool],
    marks: Iterable[tuple[Region, Mark]],
) -> list[Draft]:
    """Give each point to the object of the same tie; returns objects that have points only."""
    attribute = scene.roles.instance
    by_tie = {draft.tie: draft for draft in drafts if draft.tie}
    without_outline: dict[str, list[tuple[Region, Mark]]] = {}
    for region, mark in marks:
        tie = single(region, attribute)
        draft = by_tie.get(tie)
        if not tie:
            scene.error(region, "the point belongs to no object", f"set '{attribute}'", attribute)
        elif draft is not None and draft.label in skeleton.classes:
            _attach(scene, skeleton, draft, region, mark)
        elif draft is not None:
            message = f"the point belongs to object '{tie}', a {draft.label}, without keypoints"
            remedy = f"only {', '.join(skeleton.classes)} has skeleton '{skeleton.name}'"
            scene.error(region, message, remedy, attribute)
        elif tie not in left_out:
            without_outline.setdefault(tie, []).append((region, mark))
        elif not left_out[tie]:
            message = f"the point belongs to object '{tie}', which is left out"
            scene.error(region, message, "mend the object's outline first", attribute)
    made = (_of_points(scene, skeleton, tie, group) for tie, group in without_outline.items())
    return [draft for draft in made if draft is not None]


def _attach_by_place(
    scene: Scene, skeleton: Skeleton, drafts: list[Draft], marks: list[tuple[Region, Mark]]
) -> list[Draft]:
    """Give each point to the smallest outline around it; without outlines, all to one object."""
    outlined = [draft for draft in drafts if draft.label in skeleton.classes]
    if outlined:
        for region, mark in marks:
            around = [
                (area(ring), number)
                for number, draft in enumerate(outlined)
                for ring in draft.rings
                if contains(ring, (mark.x, mark.y))
            ]
            if around:
                _attach(scene, skeleton, outlined[min(around)[1]], region, mark)
            else:
                message = f"the point lies in no {' or '.join(skeleton.classes)}"
                remedy = "draw the object's outline around it, or give instance_attribute"
                scene.error(region, message, remedy, None)
        return []
    counts = Counter(mark.keypoint for _, mark in marks)
    if not counts or counts.most_common(1)[0][1] == 1:
        draft = _of_points(scene, skeleton, "", marks) if marks else None
        return [draft] if draft is not None else []
    for region, _ in marks:
        message = "the point belongs to one of several objects, none of them outlined"
        remedy = "outline the objects, or give instance_attribute"
        scene.error(region, message, remedy, None)
    return []


def _attach(scene: Scene, skeleton: Skeleton, draft: Draft, region: Region, mark: Mark) -> None:
    if mark.keypoint in draft.marks:
        message = f"a second {skeleton.keypoints[mark.keypoint]} of one {draft.label}"
        remedy = "delete one of the two, or name it as what it is"
        scene.error(region, message, remedy, scene.roles.keypoint)
        return
    draft.marks[mark.keypoint] = mark
    draft.regions.append(region.index)


def _of_points(
    scene: Scene, skeleton: Skeleton, tie: str, marks: Iterable[tuple[Region, Mark]]
) -> Draft | None:
    """An object without an outline; its class is the points' own, else the only one possible."""
    marks = list(marks)
    declared = scene.declared.get(scene.roles.label or "")
    own = {class_value(region, scene.roles.label, declared) for region, _ in marks} - {None}
    possible = own or {scene.default_class} & set(skeleton.classes) or set(skeleton.classes)
    labels = sorted(possible & set(skeleton.classes), key=str)
    if len(labels) != 1:
        remedy = f"outline the object; {', '.join(skeleton.classes)} have these keypoints"
        for region, _ in marks:
            scene.error(region, "the class of the point's object is unknown", remedy, None)
        return None
    if not any(mark.visibility for _, mark in marks):
        for region, _ in marks:
            message = "none of the object's points is labelled, and it has no outline"
            scene.error(region, message, "outline the object, or delete its points", None)
        return None
    draft = Draft(str(labels[0]), tie)
    for region, mark in marks:
        _attach(scene, skeleton, draft, region, mark)
    scene.problems.append(
        Problem(
            severity="warning",
            message=f"a {draft.label} of {len(draft.marks)} points without an outline",
            remedy="outline it if it shall count for boxes and masks",
            file=scene.file,
            image=scene.image.filename,
            region=draft.regions[0],
        )
    )
    return draft
