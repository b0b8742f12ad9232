"""Which attribute plays which part: class, keypoint name, instance, visibility, score.

An attribute that is not named is taken for what its description's tag says (RoILab writes such
tags), else found where a single answer is possible; its name is never taken as a hint, and several
possible answers are an error that lists them.
"""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.via.classes import Unlabelled
from roilab.via.keypoints import keypoint_index, visibility_of_word
from roilab.via.records import Annotations, Attribute
from roilab.via.shapes import Point
from roilab.via.values import (
    Kinds,
    attributes_in_use,
    keypoint_regions,
    outline_regions,
    single,
    with_samples,
)


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of attributes; None where the file has no such attribute, or none was named.

    Attributes:
        kinds: the shapes that hold keypoints; all others are outlines.
    """

    label: str | None = None
    keypoint: str | None = None
    instance: str | None = None
    visibility: str | None = None
    kinds: Kinds = (Point,)


# Role -> what the description of an attribute ends in that plays it.
TAGS: Mapping[str, str] = {
    role: f"[roilab:{role}]" for role in ("class", "keypoint", "instance", "visibility", "score")
}


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

    Raises:
        UserError: a named attribute does not occur, or an attribute has to be named.
    """
    kinds = named.kinds
    tags = tagged(annotations.region_attributes)
    label = named.label or tags.get("class")
    keypoint = named.keypoint or tags.get("keypoint")
    instance = named.instance or tags.get("instance")
    visibility = named.visibility or tags.get("visibility")
    score = tags.get("score")
    points = attributes_in_use(keypoint_regions(annotations, (Point,)))
    if skeleton is not None and any(keypoint_regions(annotations, (Point,))):
        taken = {label, instance, visibility, score}
        keypoint = _keypoint_attribute(annotations, points, keypoint, skeleton, taken)
        taken = {label, instance, keypoint, score}
        visibility = _visibility_attribute(annotations, points, visibility, taken)
    if instance is not None:
        everywhere = attributes_in_use(keypoint_regions(annotations, kinds))
        everywhere |= attributes_in_use(outline_regions(annotations, kinds))
        _must_occur(annotations, "instance_attribute", instance, everywhere)
    elif skeleton is not None and any(keypoint_regions(annotations, kinds)):
        taken = {label, keypoint, visibility, score}
        # What is the only possible class cannot tie as well.
        needs_class = label is None and default_class is None and unlabelled == "error"
        instance = _find_instance_attribute(
            annotations, kinds, keypoint, taken, skeleton, needs_class
        )
    taken = {keypoint, visibility, instance, score}
    may_lack = default_class is not None or unlabelled == "skip"
    label = _class_attribute(annotations, kinds, label, taken, may_lack)
    return Roles(label, keypoint, instance, visibility, kinds)


def _must_occur(annotations: Annotations, key: str, name: str, found: dict[str, list[str]]) -> None:
    # An attribute that is always empty occurs: nothing may be occluded, for one. A file in which
    # nothing is annotated cannot show whether the name is right.
    regions = [region for image in annotations.images for region in image.regions]
    occurs = any(name in region.attributes for region in regions)
    if regions and not occurs and name not in annotations.region_attributes:
        raise UserError(
            f"no region has the attribute '{name}'",
            file=annotations.file,
            key=key,
            found=with_samples(found),
            expected=f"one of these instead of '{name}'" if found else "a region attribute",
        )


def _keypoint_attribute(
    annotations: Annotations,
    points: dict[str, list[str]],
    named: str | None,
    skeleton: Skeleton,
    taken: Set[str | None],
) -> str:
    if named is not None:
        _must_occur(annotations, "keypoint_attribute", named, points)
        return named
    fitting = {
        name: values
        for name, values in points.items()
        if name not in taken
        and any(
            keypoint_index(value, annotations.region_attributes.get(name), skeleton) is not None
            for value in values
        )
    }
    if len(fitting) != 1:
        raise UserError(
            "cannot tell which attribute names the keypoints",
            file=annotations.file,
            key="keypoint_attribute",
            found=with_samples(fitting or points),
            expected=f"point regions named as in skeleton '{skeleton.name}': "
            + ", ".join(skeleton.keypoints),
            remedy="give keypoint_attribute" if fitting else "name the points, or the skeleton's",
        )
    return next(iter(fitting))


def _visibility_attribute(
    annotations: Annotations,
    points: dict[str, list[str]],
    named: str | None,
    taken: Set[str | None],
) -> str | None:
    if named is not None:
        _must_occur(annotations, "visibility_attribute", named, points)
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
            remedy="give visibility_attribute",
        )
    return next(iter(fitting), None)


def _find_instance_attribute(
    annotations: Annotations,
    kinds: Kinds,
    keypoint: str | None,
    taken: Set[str | None],
    skeleton: Skeleton,
    needs_class: bool,
) -> str | None:
    """The attribute by which points and outlines of an image share values.

    A class name can be shared as well; but within one object a keypoint occurs once, so of several
    shared attributes one in which a value has two noses is not the object's. The only one is it
    with two noses, too, of which one is a slip; unless it has to be the class.

    Args:
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
    seen: Counter[tuple[str, str, str, int]] = Counter()
    declared = annotations.region_attributes.get(keypoint or "")
    for image, region in keypoint_regions(annotations, kinds):
        # A path holds the whole skeleton: that it has the first keypoint is enough to count.
        is_path = not isinstance(region.shape, Point)
        index = 0 if is_path else keypoint_index(single(region, keypoint), declared, skeleton)
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
                        f"{skeleton.keypoints[index]} of '{value}'"
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
        remedy="give instance_attribute, or, where points belong to the outline around them, "
        "name the attribute found as what it is (class_attribute, visibility_attribute)",
    )


def _class_attribute(
    annotations: Annotations,
    kinds: Kinds,
    named: str | None,
    taken: Set[str | None],
    may_lack: bool,
) -> str | None:
    # may_lack: a region without a class is no mistake.
    found = attributes_in_use(outline_regions(annotations, kinds))
    if named is not None:
        # Sets are mixed from files with and without the attribute; what has none is then covered.
        if found or not may_lack:
            _must_occur(annotations, "class_attribute", named, found)
        return named
    possible = {name: values for name, values in found.items() if name not in taken}
    if len(possible) == 1:
        return next(iter(possible))
    if not possible and (may_lack or not any(outline_regions(annotations, kinds))):
        return None
    if possible:
        raise UserError(
            "several attributes could be the class",
            file=annotations.file,
            key="class_attribute",
            found=with_samples(possible),
            expected="one of these",
            remedy="give class_attribute",
        )
    raise UserError(
        "no attribute of the regions can be the class",
        file=annotations.file,
        key="class_attribute",
        found=with_samples(found) if found else "regions without attributes",
        expected="an attribute that names the class",
        remedy="give default_class, the class of all regions, or class_attribute, or "
        "unlabelled=skip",
    )
