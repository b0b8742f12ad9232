"""A skeleton from the points of annotation files, and its sigmas from repeated annotation."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from roilab import via
from roilab.data.coordinates import extent_of, iou
from roilab.errors import UserError, argument
from roilab.skeleton import COCO_PERSON, Skeleton, default_sigmas
from roilab.via.geometry import area
from roilab.via.labels import attribute_roles, label_rules

# Words for left, and for right in their place. One letter counts only where it is set apart: by a
# break, or as a capital between others than capitals (eyeL, LEye).
_SIDES = (
    (re.compile("left"), "right"),
    (re.compile("Left"), "Right"),
    (re.compile("LEFT"), "RIGHT"),
    (re.compile(r"(?<![^_\-. ])l(?![^_\-. ])"), "r"),
    (re.compile(r"(?<![^_\-. ])L(?![^_\-. ])|(?<=[a-z\d])L(?![a-z])|^L(?=[A-Z][a-z])"), "R"),
)
_MATCHING_IOU = 0.5


def infer_skeleton(
    files: Sequence[via.Annotations],
    name: str,
    keypoint_attribute: str | None = None,
    classes: Sequence[str] = (),
) -> Skeleton:
    """A skeleton of the points in files: what COCO categories declare, else the names of points.

    Declared keypoints keep their order and links, and the categories are its classes. Of names that
    nothing declares, the most frequent comes first, without links.

    Names that differ only in left and right (or l and r set apart) are swapped by a flip. Sigmas
    are COCO's where the name is COCO's, else `DEFAULT_SIGMA`.

    Args:
        name: what the skeleton is called.
        keypoint_attribute: names the points; None: the only attribute that the points have.
        classes: that have the keypoints; none: the categories that declare them, else `object`, for
            the person to replace.

    Raises:
        UserError: the files have no named points, or the attribute has to be named or does not
            occur; or categories declare different keypoints.
    """
    paths = ", ".join(file.file for file in files)
    categories = _declared(files, paths, classes)
    if categories:
        names = categories[0].keypoints
        classes = classes or list(dict.fromkeys(category.name for category in categories))
    else:
        points = [
            point for file in files for point in label_rules.keypoint_regions(file, (via.Point,))
        ]
        in_use = label_rules.attributes_in_use(points)
        if keypoint_attribute is not None and in_use and keypoint_attribute not in in_use:
            raise UserError(
                f"no point has the attribute '{keypoint_attribute}'",
                file=paths,
                key="keypoint_attribute",
                found=label_rules.with_samples(in_use),
                expected=f"one of these instead of '{keypoint_attribute}'",
                remedy="give keypoint_attribute=NAME, or leave it out",
            )
        names = _names_of_points(files, keypoint_attribute)
    if not names:
        raise UserError(
            "the files have no points with names",
            file=paths,
            expected="point regions with an attribute that names the keypoint",
            remedy="give the points such an attribute in VIA; where paths hold the keypoints as "
            "vertices, write the skeleton by hand, and check with skeleton=FILE and "
            "keypoint_vertices=polyline or keypoint_vertices=polygon",
        )
    return Skeleton(
        name=name,
        classes=tuple(classes) or ("object",),
        keypoints=names,
        swaps=tuple(_swaps(names)),
        links=tuple(dict.fromkeys(link for category in categories for link in category.links)),
        sigmas=default_sigmas(names),
    )


def detect_coco_person(annotations: via.Annotations, rules: via.LabelRules) -> Skeleton | None:
    """COCO's person skeleton where the file has persons and points named by it, else None."""
    values = label_rules.attributes_in_use(label_rules.keypoint_regions(annotations, (via.Point,)))
    if not any(set(texts) <= set(COCO_PERSON.keypoints) for texts in values.values()):
        return None
    try:
        classes = via.build_instances(annotations, rules, COCO_PERSON).classes
    except UserError:
        return None
    return COCO_PERSON if set(classes) & set(COCO_PERSON.classes) else None


def with_classes(
    skeleton: Skeleton, files: Sequence[via.Annotations], rules: via.LabelRules
) -> Skeleton:
    """The skeleton with the classes whose objects have labelled keypoints."""
    every = {name for file in files for name in via.build_instances(file, rules, skeleton).classes}
    if not every:
        return skeleton
    candidate = replace(skeleton, classes=tuple(sorted(every)))
    owners = {
        instance.label
        for file in files
        for image in via.build_instances(file, rules, candidate).images
        for instance in image.instances
        if any(v for _, _, v in instance.keypoints or ())
    }
    return replace(candidate, classes=tuple(sorted(owners or every)))


def _declared(
    files: Sequence[via.Annotations], paths: str, classes: Sequence[str]
) -> list[via.CocoCategory]:
    """The categories that declare keypoints, those of the classes if there is one of them."""
    categories = [category for file in files for category in file.categories if category.keypoints]
    categories = [category for category in categories if category.name in classes] or categories
    if len({category.keypoints for category in categories}) > 1:
        raise UserError(
            "the categories declare different keypoints: a skeleton has those of one",
            file=paths,
            key="classes",
            found="; ".join(
                f"{category.name}: {', '.join(category.keypoints)}" for category in categories
            ),
            expected="categories with the same keypoints",
            remedy=f"give one of the classes, such as {argument('classes', [categories[0].name])}",
        )
    return categories


def _names_of_points(files: Sequence[via.Annotations], attribute: str | None) -> tuple[str, ...]:
    """The values of the attribute that names points, or of each file's own, most frequent first."""
    counts: Counter[str] = Counter()
    for file in files:
        naming = _keypoint_attribute(file) if attribute is None else attribute
        declared = file.region_attributes.get(naming or "")
        points = label_rules.keypoint_regions(file, (via.Point,))
        values = filter(None, (label_rules.single(region, naming) for _, region in points))
        counts.update(label_rules.described(value, declared) for value in values)
    return tuple(name for name, _ in counts.most_common())


def _keypoint_attribute(file: via.Annotations) -> str | None:
    """The only attribute that names the points; None where the file has none."""
    tagged = label_rules.tagged(file.region_attributes).get("keypoint")
    if tagged:
        return tagged
    kinds = (via.Point,)
    # What outlines have as well is a class or ties points to them, unless the points have values of
    # it that no outline has: VIA gives an attribute's default to every region.
    shared = label_rules.attributes_in_use(label_rules.outline_regions(file, kinds))
    naming = attribute_roles.naming_attributes(
        file, label_rules.attributes_in_use(label_rules.keypoint_regions(file, kinds))
    )
    own = {name: values for name, values in naming.items() if name not in shared}
    own = own or {name: naming[name] for name in naming if set(naming[name]) - set(shared[name])}
    if len(own) > 1:
        raise UserError(
            "several attributes could name the points",
            file=file.file,
            key="keypoint_attribute",
            found=label_rules.with_samples(own),
            expected="one of these",
            remedy="give keypoint_attribute=NAME",
        )
    return next(iter(own), None)


def _swaps(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names that are the same but for their side."""
    paired: set[str] = set()
    for name in names:
        for left, right in _SIDES:
            for match in left.finditer(name):
                other = name[: match.start()] + right + name[match.end() :]
                if other in names and not {name, other} & paired:
                    paired |= {name, other}
                    yield name, other


@dataclass(frozen=True, slots=True)
class Sigma:
    """An estimate. `objects`: how many objects had the keypoint annotated twice or more."""

    value: float
    objects: int


def estimate_sigmas(sets: Sequence[via.LabelledSet], skeleton: Skeleton) -> dict[str, Sigma]:
    """The OKS sigmas of a skeleton, from several annotations of the same images.

    COCO's definition (cocodataset.org, "Keypoint Evaluation"): sigma^2 = E[d^2 / s^2], d the
    distance of an annotator's point from the truth and s^2 the object's area. The truth is unknown:
    with n annotators, sum |p - mean|^2 / (n - 1) is the unbiased estimate of E[d^2].

    Args:
        sets: one a person; images are matched by file name, objects by class and the overlap of
            their boxes. Objects without an outline have no area and are passed over.

    Returns:
        Keypoint name -> estimate; names that nobody annotated twice are absent.

    Raises:
        UserError: no keypoint was annotated twice.
    """
    samples: dict[str, list[float]] = defaultdict(list)
    for group in _same_objects(sets, skeleton):
        size = fmean(sum(map(area, instance.polygons)) for instance in group)
        poses = np.array([instance.keypoints for instance in group], dtype=float)
        for name, points in zip(skeleton.keypoints, poses.swapaxes(0, 1), strict=True):
            labelled = points[points[:, 2] > 0, :2]
            if len(labelled) > 1 and size > 0:
                samples[name].append(labelled.var(axis=0, ddof=1).sum() / size)
    if not samples:
        message = "no keypoint of any object is annotated twice"
        expected = "files of several people about the same images, with outlined objects"
        raise UserError(message, expected=expected, remedy="give the file of each person")
    return {
        name: Sigma(math.sqrt(fmean(samples[name])), len(samples[name]))
        for name in skeleton.keypoints
        if name in samples
    }


def with_sigmas(skeleton: Skeleton, sigmas: Mapping[str, Sigma]) -> Skeleton:
    """The skeleton with the estimates to four decimals, where there are any that are not zero."""
    values = dict(zip(skeleton.keypoints, skeleton.sigmas, strict=True))
    for name, sigma in sigmas.items():
        if name in values and sigma.value >= 5e-5:
            values[name] = round(sigma.value, 4)
    return replace(skeleton, sigmas=tuple(values.values()))


def _same_objects(
    sets: Sequence[via.LabelledSet], skeleton: Skeleton
) -> Iterator[list[via.Instance]]:
    """Groups of instances, at most one of each set, that are the same object of the same image."""
    images: dict[str, list[list[via.Instance]]] = defaultdict(list)
    for labelled in sets:
        for image in labelled.images:
            objects = [
                instance
                for instance in image.instances
                if instance.label in skeleton.classes and instance.outlines and instance.keypoints
            ]
            images[image.record.filename].append(objects)
    for first, *rest in images.values():
        groups = [[instance] for instance in first]
        for others in rest:
            matches = _matches([group[0] for group in groups], others)
            for number, other in enumerate(others):
                if number in matches:
                    groups[matches[number]].append(other)
                else:
                    groups.append([other])
        yield from groups


def _matches(objects: Sequence[via.Instance], others: Sequence[via.Instance]) -> dict[int, int]:
    """Index in `others` -> index in `objects` of the same object, the best overlaps first."""
    overlaps = [
        (iou(extent_of(instance), extent_of(other)), at, number)
        for at, instance in enumerate(objects)
        for number, other in enumerate(others)
        if instance.label == other.label
    ]
    matches: dict[int, int] = {}
    for overlap, at, number in sorted(overlaps, reverse=True):
        is_free = number not in matches and at not in matches.values()
        if is_free and overlap >= _MATCHING_IOU:
            matches[number] = at
    return matches
