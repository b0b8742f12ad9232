"""From points that somebody drew to a skeleton; its sigmas from repeated annotation."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from roilab import via
from roilab.data.boxes import iou
from roilab.errors import UserError, argument
from roilab.skeleton import COCO_PERSON, DEFAULT_SIGMA, Skeleton
from roilab.via.geometry import area
from roilab.via.labels.attribute_roles import tagged
from roilab.via.labels.attributes import (
    attributes_in_use,
    described,
    outline_regions,
    single,
    with_samples,
)
from roilab.via.labels.keypoints import visibility_of_word

# What is taken where nothing was measured: the mean of COCO's 17.
# What says left, and right instead. One letter counts only where it is set apart: by a break, or as
# a capital between others than capitals (eyeL, LEye).
_SIDES = (
    (re.compile("left"), "right"),
    (re.compile("Left"), "Right"),
    (re.compile("LEFT"), "RIGHT"),
    (re.compile(r"(?<![^_\-. ])l(?![^_\-. ])"), "r"),
    (re.compile(r"(?<![^_\-. ])L(?![^_\-. ])|(?<=[a-z\d])L(?![a-z])|^L(?=[A-Z][a-z])"), "R"),
)
_MATCHING_IOU = 0.5


def propose(
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
    declared = _declared(files, classes)
    if declared:
        return _skeleton(
            name,
            tuple(classes) or tuple(dict.fromkeys(each.name for each in declared)),
            declared[0].keypoints,
            tuple(dict.fromkeys(link for each in declared for link in each.links)),
        )
    if keypoint_attribute is not None:
        _must_occur(files, keypoint_attribute)
    counts: Counter[str] = Counter()
    for file in files:
        attribute = _keypoint_attribute(file, keypoint_attribute)
        options = file.region_attributes.get(attribute or "")
        for _, region in _points(file):
            value = single(region, attribute)
            if value:
                counts[described(value, options)] += 1
    if not counts:
        raise UserError(
            "the files have no points with names",
            file=", ".join(file.file for file in files),
            expected="point regions with an attribute that names the keypoint",
            remedy="give the points such an attribute in VIA; where paths hold the keypoints as "
            "vertices, write the skeleton by hand, and check with skeleton=FILE and "
            "keypoint_vertices=polyline or keypoint_vertices=polygon",
        )
    names = tuple(each for each, _ in counts.most_common())
    return _skeleton(name, tuple(classes) or ("object",), names, ())


def _skeleton(
    name: str,
    classes: tuple[str, ...],
    names: tuple[str, ...],
    links: tuple[tuple[str, str], ...],
) -> Skeleton:
    coco = dict(zip(COCO_PERSON.keypoints, COCO_PERSON.sigmas, strict=True))
    return Skeleton(
        name=name,
        classes=classes,
        keypoints=names,
        swaps=tuple(_swaps(names)),
        links=links,
        sigmas=tuple(coco.get(each, DEFAULT_SIGMA) for each in names),
    )


def _declared(files: Sequence[via.Annotations], classes: Sequence[str]) -> list[via.CocoCategory]:
    """The categories of COCO files that declare keypoints, of the classes if there is one of them.

    Raises:
        UserError: they declare different ones.
    """
    found = [each for file in files for each in file.categories if each.keypoints]
    wanted = [each for each in found if each.name in classes] or found
    if len({each.keypoints for each in wanted}) > 1:
        raise UserError(
            "the categories declare different keypoints: a skeleton has those of one",
            file=", ".join(file.file for file in files),
            key="classes",
            found="; ".join(f"{each.name}: {', '.join(each.keypoints)}" for each in wanted),
            expected="categories with the same keypoints",
            remedy=f"give one of the classes, such as {argument('classes', [wanted[0].name])}",
        )
    return wanted


def _must_occur(files: Sequence[via.Annotations], name: str) -> None:
    found = attributes_in_use(point for file in files for point in _points(file))
    if found and name not in found:
        raise UserError(
            f"no point has the attribute '{name}'",
            file=", ".join(file.file for file in files),
            key="keypoint_attribute",
            found=with_samples(found),
            expected=f"one of these instead of '{name}'",
            remedy="give keypoint_attribute=NAME, or leave it out",
        )


def _points(file: via.Annotations) -> Iterator[tuple[via.ImageRecord, via.Region]]:
    for image in file.images:
        for region in image.regions:
            if isinstance(region.shape, via.Point):
                yield image, region


def _keypoint_attribute(file: via.Annotations, named: str | None) -> str | None:
    """The attribute of the points; None where the file has none that is named."""
    if named is not None:
        return named
    tags = tagged(file.region_attributes)
    if "keypoint" in tags:
        return tags["keypoint"]
    # What outlines have as well is a class or ties points to them, unless the points have values of
    # it that no outline has: VIA gives an attribute's default to every region.
    shared = attributes_in_use(outline_regions(file, (via.Point,)))
    named_points = {
        name: values
        for name, values in attributes_in_use(_points(file)).items()
        if any(
            visibility_of_word(value, file.region_attributes.get(name)) is None for value in values
        )
    }
    found = {name: values for name, values in named_points.items() if name not in shared} or {
        name: values for name, values in named_points.items() if set(values) - set(shared[name])
    }
    if len(found) > 1:
        raise UserError(
            "several attributes could name the points",
            file=file.file,
            key="keypoint_attribute",
            found=with_samples(found),
            expected="one of these",
            remedy="give keypoint_attribute=NAME",
        )
    return next(iter(found), None)


def _swaps(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names that are the same but for their side."""
    taken: set[str] = set()
    for name in names:
        for left, right in _SIDES:
            for found in left.finditer(name):
                other = name[: found.start()] + right + name[found.end() :]
                if other in names and not {name, other} & taken:
                    taken |= {name, other}
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
        size = fmean(_area(each) for each in group)
        for index, name in enumerate(skeleton.keypoints):
            points = [each.keypoints[index] for each in group if each.keypoints]
            points = [point for point in points if point[2] > 0]
            if len(points) > 1 and size > 0:
                x, y = fmean(p[0] for p in points), fmean(p[1] for p in points)
                squares = sum((p[0] - x) ** 2 + (p[1] - y) ** 2 for p in points)
                samples[name].append(squares / (len(points) - 1) / size)
    if not samples:
        raise UserError(
            "no keypoint of any object is annotated twice",
            expected="files of several people about the same images, with outlined objects",
            remedy="give the file of each person",
        )
    return {
        name: Sigma(math.sqrt(fmean(samples[name])), len(samples[name]))
        for name in skeleton.keypoints
        if name in samples
    }


def with_sigmas(skeleton: Skeleton, sigmas: Mapping[str, Sigma]) -> Skeleton:
    """The skeleton with the estimates, where there are any and they are not zero."""
    values = [
        round(sigmas[name].value, 4) if name in sigmas and sigmas[name].value >= 5e-5 else before
        for name, before in zip(skeleton.keypoints, skeleton.sigmas, strict=True)
    ]
    return replace(skeleton, sigmas=tuple(values))


def _same_objects(
    sets: Sequence[via.LabelledSet], skeleton: Skeleton
) -> Iterator[list[via.Instance]]:
    """Groups of instances, at most one of each set, that are the same object of the same image."""
    images: dict[str, list[list[via.Instance]]] = defaultdict(list)
    for labelled in sets:
        for image in labelled.images:
            objects = [
                each
                for each in image.instances
                if each.label in skeleton.classes and each.outlines and each.keypoints
            ]
            images[image.record.filename].append(objects)
    for found in images.values():
        groups = [[each] for each in found[0]]
        for others in found[1:]:
            pairs = sorted(
                (
                    (iou(_box(group[0]), _box(each)), at, number)
                    for at, group in enumerate(groups)
                    for number, each in enumerate(others)
                    if group[0].label == each.label
                ),
                reverse=True,
            )
            used: tuple[set[int], set[int]] = (set(), set())
            for overlap, at, number in pairs:
                if overlap >= _MATCHING_IOU and at not in used[0] and number not in used[1]:
                    used[0].add(at)
                    used[1].add(number)
                    groups[at].append(others[number])
            groups += [[each] for number, each in enumerate(others) if number not in used[1]]
        yield from groups


def _box(instance: via.Instance) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = zip(*map(via.bounds, instance.outlines), strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _area(instance: via.Instance) -> float:
    return sum(map(area, instance.polygons))
