"""Which attribute plays which part: class, keypoint name, instance, visibility, score.

An attribute that is not named by the user is taken for what its description's tag says (RoILab
writes such tags), else found where a single answer is possible. Its name is a hint in few cases,
which a note reports: see `roilab.via.labels.class_attribute`. Several possible answers are an error
that lists them.
"""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.via.labels.attribute_values import (
    Kinds,
    attributes_in_use,
    keypoint_regions,
    outline_regions,
    single,
    with_samples,
)
from roilab.via.labels.class_attribute import (
    class_attribute,
    class_beside_keypoints,
    class_by_name,
    doubts,
    instance_by_name,
    must_occur,
    score_attribute,
)
from roilab.via.labels.classes import Unlabelled
from roilab.via.labels.keypoints import keypoint_index, visibility_of_word
from roilab.via.records import TAGS, Annotations, Attribute, Point, Problem


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of attributes; None where the file has no such attribute, or none was named.

    Attributes:
        kinds: the shapes that hold keypoints; all others are outlines.
        score: the attribute of a model's scores, which plays no part.
        flags: attributes of which each is a class of its own, by its name; without a `label`.
        problems: what the user should know about roles that were found.
    """

    label: str | None = None
    keypoint: str | None = None
    instance: str | None = None
    visibility: str | None = None
    kinds: Kinds = (Point,)
    score: str | None = None
    flags: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def tagged(declared: Mapping[str, Attribute]) -> dict[str, str]:
    """Role -> the name of the attribute whose description has the role's tag."""
    return {
        role: name
        for role, tag in TAGS.items()
        for name, attribute in declared.items()
        if attribute.description.endswith(tag)
    }


def find_roles(
    annotations: Annotations,
    named: Roles,
    default_class: str | None,
    skeleton: Skeleton | None,
    unlabelled: Unlabelled = "error",
) -> Roles:
    """Check the attributes that were named and find the others.

    A class attribute is needed unless every region has the default class or, without a class, is
    skipped as asked.

    Args:
        named: what the user says; None finds the attribute, "" says that there is none.

    Raises:
        UserError: a named attribute does not occur, or an attribute has to be named.
    """
    kinds = named.kinds
    declared = annotations.region_attributes
    tags = tagged(declared)
    label = tags.get("class") if named.label is None and not named.flags else named.label
    keypoint = tags.get("keypoint") if named.keypoint is None else named.keypoint
    instance = tags.get("instance") if named.instance is None else named.instance
    visibility = tags.get("visibility") if named.visibility is None else named.visibility
    outlines = attributes_in_use(outline_regions(annotations, kinds))
    taken = {label, *named.flags, keypoint, instance, visibility}
    score = tags.get("score") or score_attribute(outlines, taken)
    points = attributes_in_use(keypoint_regions(annotations, (Point,)))
    if skeleton is not None and any(keypoint_regions(annotations, (Point,))):
        taken = {label, *named.flags, instance, visibility, score}
        keypoint = _keypoint_attribute(annotations, points, keypoint, skeleton, taken, label)
        taken = {label, *named.flags, instance, keypoint, score}
        visibility = _visibility_attribute(annotations, points, visibility, taken)
    problems: list[Problem] = []
    may_lack = default_class is not None or unlabelled == "skip"
    if label is None and not named.flags:
        taken = {keypoint, visibility, instance, score}
        label = class_by_name(annotations.file, set(outlines) - taken, score, problems)
    if instance is None:
        rest = set(outlines) - {label, keypoint, visibility, score}
        has_class = bool(label is not None or named.flags or may_lack or len(rest) > 1)
        instance = instance_by_name(annotations.file, rest if has_class else (), problems)
    elif instance:
        everywhere = attributes_in_use(keypoint_regions(annotations, kinds)) | outlines
        must_occur(annotations, "instance_attribute", instance, everywhere)
    if instance is None and skeleton is not None and any(keypoint_regions(annotations, kinds)):
        taken = {label, *named.flags, keypoint, visibility, score}
        # What is the only possible class cannot tie as well.
        needs_class = label is None and not named.flags and not may_lack
        instance = _find_instance_attribute(
            annotations, kinds, keypoint, taken, skeleton, needs_class
        )
    elif instance is None and any(keypoint_regions(annotations, kinds)):
        # Which parts are one object does not depend on whether its keypoints are read.
        taken = {label, *named.flags, visibility, score}
        instance = _instance_attribute_or_none(
            annotations, kinds, points, keypoint, taken, label is None
        )
    possible = set(outlines) - {keypoint, visibility, instance, score}
    if label is None and not named.flags and not possible and keypoint in outlines:
        label = class_beside_keypoints(annotations, outlines[keypoint], keypoint, skeleton)
    label, flags = class_attribute(
        annotations, outlines, kinds, label, named.flags, possible, may_lack, problems
    )
    if label is not None and label not in (named.label, tags.get("class")):
        problems += doubts(annotations, kinds, label, outlines[label], points.get(label, ()))
    return Roles(
        label, keypoint, instance or None, visibility or None, kinds, score, flags, tuple(problems)
    )


def _keypoint_attribute(
    annotations: Annotations,
    points: dict[str, list[str]],
    named: str | None,
    skeleton: Skeleton,
    taken: Set[str | None],
    label: str | None,
) -> str:
    if named is not None:
        must_occur(annotations, "keypoint_attribute", named, points)
        return named
    fitting = {
        name: values
        for name, values in points.items()
        if any(
            keypoint_index(value, annotations.region_attributes.get(name), skeleton) is not None
            for value in values
        )
    }
    # One attribute may name the class of outlines and the keypoint of points.
    free = {name: values for name, values in fitting.items() if name not in taken}
    fitting = free or {name: values for name, values in fitting.items() if name == label}
    if len(fitting) != 1:
        raise UserError(
            "cannot tell which attribute names the keypoints",
            file=annotations.file,
            key="keypoint_attribute",
            found=with_samples(fitting or points),
            expected=f"point regions named as in skeleton '{skeleton.name}': "
            + ", ".join(skeleton.keypoints),
            remedy="give keypoint_attribute=NAME"
            if fitting
            else "name the points, or the skeleton's",
        )
    return next(iter(fitting))


def _visibility_attribute(
    annotations: Annotations,
    points: dict[str, list[str]],
    named: str | None,
    taken: Set[str | None],
) -> str | None:
    if named is not None:
        if named:
            must_occur(annotations, "visibility_attribute", named, points)
        return named
    fitting = {
        name: values
        for name, values in points.items()
        if name not in taken
        and all(
            visibility_of_word(value, annotations.region_attributes.get(name)) is not None
            for value in values
        )
    }
    if len(fitting) > 1:
        raise UserError(
            "several attributes could be the visibility of the points",
            file=annotations.file,
            key="visibility_attribute",
            found=with_samples(fitting),
            expected="one of these",
            remedy='give visibility_attribute=NAME; where none of them is, visibility_attribute=""',
        )
    return next(iter(fitting), None)


def _likely_keypoint_attribute(
    annotations: Annotations,
    kinds: Kinds,
    points: dict[str, list[str]],
    taken: Set[str | None],
) -> str | None:
    """The one attribute that only points have and that is no visibility; None: there are several.

    It is for points that no skeleton tells the names of.
    """
    shared = attributes_in_use(outline_regions(annotations, kinds))
    declared = annotations.region_attributes
    possible = [
        name
        for name, values in points.items()
        if name not in taken
        and name not in shared
        and any(visibility_of_word(value, declared.get(name)) is None for value in values)
    ]
    return possible[0] if len(possible) == 1 else None


def _instance_attribute_or_none(
    annotations: Annotations,
    kinds: Kinds,
    points: dict[str, list[str]],
    keypoint: str | None,
    taken: Set[str | None],
    needs_class: bool,
) -> str | None:
    """The attribute that ties points to their object, as with a skeleton; None where it is unclear.

    Points that are not read are no reason for an error.
    """
    keypoint = keypoint or _likely_keypoint_attribute(annotations, kinds, points, taken)
    if not keypoint:
        return None
    taken = {*taken, keypoint}
    try:
        found = _find_instance_attribute(annotations, kinds, keypoint, taken, None, needs_class)
    except UserError:
        return None
    others = set(attributes_in_use(outline_regions(annotations, kinds))) - taken - {found}
    return found if others or not needs_class else None


def _find_instance_attribute(
    annotations: Annotations,
    kinds: Kinds,
    keypoint: str | None,
    taken: Set[str | None],
    skeleton: Skeleton | None,
    needs_class: bool,
) -> str | None:
    """The attribute by which points and outlines of an image share values.

    A class name can be shared as well; but within one object a keypoint occurs once, so of several
    shared attributes one in which a value has two noses is not the object's. The only one is it
    with two noses, too, of which one is a slip; unless it has to be the class.

    Args:
        skeleton: of the keypoints; without it, every value of their attribute is one.
        needs_class: an attribute of the outlines has to be the class, and is not known yet.
    """
    shared: dict[str, list[str]] = {}
    others: dict[tuple[str, str], set[str]] = {}
    of_outlines: set[str] = set()
    for image, region in outline_regions(annotations, kinds):
        for name in region.attributes:
            others.setdefault((image.key, name), set()).add(single(region, name))
            of_outlines |= {name} - taken if single(region, name) else set()
    twice: dict[str, str] = {}
    seen: Counter[tuple[str, str, str, int | str]] = Counter()
    declared = annotations.region_attributes.get(keypoint or "")
    for image, region in keypoint_regions(annotations, kinds):
        # A path holds the whole skeleton: that it has the first keypoint is enough to count.
        is_path = not isinstance(region.shape, Point)
        named = single(region, keypoint)
        index: int | str | None = named or None
        if is_path:
            index = 0
        elif skeleton is not None:
            index = keypoint_index(named, declared, skeleton)
        for name in set(region.attributes) - taken:
            value = single(region, name)
            if not value:
                continue
            if value in others.get((image.key, name), ()) and value not in shared.get(name, ()):
                shared.setdefault(name, []).append(value)
            if index is not None:
                seen[image.key, name, value, index] += 1
                if seen[image.key, name, value, index] > 1 and name not in twice:
                    twice[name] = (
                        f"region {region.index} of {image.filename} is a second "
                        f"{named or 'keypoint'} of '{value}'"
                    )
    possible = [name for name in shared if name not in twice]
    if len(shared) == 1 and (not needs_class or len(of_outlines) > 1):
        possible = list(shared)
    if len(possible) == 1:
        return possible[0]
    if not shared:
        return None
    raise UserError(
        "cannot tell which attribute ties points to their object",
        file=annotations.file,
        key="instance_attribute",
        found="; ".join(
            f"{with_samples({name: shared[name]})}"
            + (f", but {twice[name]}" if name in twice else "")
            for name in sorted(shared)
        ),
        expected="one attribute with a value of its own for every object of an image",
        remedy="give instance_attribute=NAME; where points belong to the outline around them, "
        'instance_attribute=""',
    )
