"""Check of an annotation file: its content, its problems, and those of its images."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roilab import via
from roilab.data.cityscapes import is_cityscapes
from roilab.data.usable_images import (
    LocatedImages,
    fit_instances,
    narrow_range,
    other_bytes,
    usable_size,
)
from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.via.geometry import kind_of

# How far, in pixels, a coordinate may lie beyond the image's edge.
EDGE = 0.5


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Counts and problems of one annotation file.

    Attributes:
        container: the kind of file, in VIA's words.
        images: image entries that could be read.
        empty_images: those of them for which the file holds no region, nor a crowd.
        regions: all regions, also those that were refused.
        instances, classes: what the regions became; none where the file could not be labelled.
        crowds: of a COCO file, which are no instances.
        keypoints: labelled keypoints (v > 0) that reached an instance.
        shapes: the regions that could be read, by VIA's names of the shapes.
        problems: the most severe first, else in the order in which they were found.
    """

    file: str
    container: str
    images: int = 0
    empty_images: int = 0
    regions: int = 0
    instances: int = 0
    crowds: int = 0
    keypoints: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[via.Problem, ...] = ()


def unusable_file(path: str | Path, error: UserError) -> CheckReport:
    """The findings of a file that cannot be used at all."""
    remedy = None
    if is_cityscapes(path):
        remedy = error.remedy
    elif Path(path).is_dir():
        remedy = "it is a folder: give an annotation file, perhaps one in it"
    elif not Path(path).exists():
        remedy = "there is no such file: see that the path is right"
    problem = _as_problem(error, str(path), remedy)
    return CheckReport(str(path), container="unknown", problems=(problem,))


def check_annotations(
    annotations: via.Annotations,
    located: LocatedImages,
    rules: via.LabelRules,
    skeleton: Skeleton | None = None,
    progress: Callable[[Sequence[via.LabelledImage]], Iterable[via.LabelledImage]] = iter,
) -> CheckReport:
    """Label and count what a file holds, and look at the images it names.

    Args:
        located: its images, as `find_images` found them.
        rules, skeleton: as for `via.build_instances`. Where they do not suffice to label the file,
            that is an error among the problems, and the rest is reported all the same.
        progress: wraps the images while their files are looked at, to show how far it is.
    """
    try:
        result = via.build_instances(annotations, rules, skeleton)
        labelled = result.images
        problems = list(result.problems)
    except UserError as error:
        labelled = tuple(via.LabelledImage(image, ()) for image in annotations.images)
        problems = [*annotations.problems, _as_problem(error, annotations.file)]
    problems += located.warnings
    kept: list[via.Instance] = []
    crowds = 0
    for image, place in zip(progress(labelled), located.places, strict=True):
        fitting, of_image = _look_at(annotations.file, image, place)
        kept += fitting.instances
        crowds += len(fitting.crowds)
        problems += of_image
    paths = [place for place in located.places if isinstance(place, Path)]
    about_all = narrow_range(paths, annotations.file), _unlabelled(annotations, kept, skeleton)
    problems += [problem for problem in about_all if problem is not None]
    regions = [region for image in annotations.images for region in image.regions]
    refused_regions = _refused_regions(annotations)
    with_refused = {image for image, _ in refused_regions}
    filled = (
        image.regions or image.crowds or image.filename in with_refused
        for image in annotations.images
    )
    problems.sort(key=lambda problem: via.SEVERITIES.index(problem.severity))
    return CheckReport(
        file=annotations.file,
        container=annotations.container,
        images=len(annotations.images),
        empty_images=sum(not content for content in filled),
        regions=len(regions) + len(refused_regions),
        instances=len(kept),
        crowds=crowds,
        keypoints=sum(v > 0 for instance in kept for _, _, v in instance.keypoints or ()),
        classes=dict(sorted(Counter(instance.label for instance in kept).items())),
        shapes=dict(sorted(Counter(kind_of(region.shape) for region in regions).items())),
        problems=tuple(problems),
    )


def _refused_regions(annotations: via.Annotations) -> list[tuple[str | None, int]]:
    """The image and the index of every region that could not be read.

    A region may have several problems; one that was read is refused by none of them. Entries of one
    name may have regions of one index.
    """
    errors = Counter(
        (problem.image, problem.region, problem.message)
        for problem in annotations.problems
        if problem.severity == "error" and problem.attribute is None
    )
    counts: Counter[tuple[str | None, int]] = Counter()
    for (image, region, _), count in errors.items():
        if region is not None:
            counts |= Counter({(image, region): count})  # the larger count of the two
    read = {(image.filename, one.index) for image in annotations.images for one in image.regions}
    return [place for place in counts.elements() if place not in read]


def _unlabelled(
    annotations: via.Annotations, instances: Sequence[via.Instance], skeleton: Skeleton | None
) -> via.Problem | None:
    """A warning where no object that should have keypoints has one that is labelled.

    Those are objects of the skeleton's classes; without one, of the COCO categories that declare
    keypoints.
    """
    declared = {str(category.id) for category in annotations.categories if category.keypoints}
    poses: list[Sequence[float]] = []  # the visibilities of each object's keypoints
    for instance in instances:
        if skeleton is not None and instance.label in skeleton.classes:
            poses.append([visibility for _, _, visibility in instance.keypoints or ()])
        elif skeleton is None and instance.coco is not None and instance.coco.category in declared:
            poses.append(instance.coco.keypoints[2::3])
    if not poses or any(value > 0 for pose in poses for value in pose):
        return None
    message = f"none of the {len(poses)} objects with a skeleton has a labelled keypoint (v > 0)"
    remedy = "mark keypoints in VIA, or train without: masks and boxes do not need them"
    return via.Problem("warning", message, remedy, annotations.file)


def _as_problem(error: UserError, file: str, remedy: str | None = None) -> via.Problem:
    """An exception about a file, or one in it, as a problem with what was found and expected."""
    inner = None if error.file is None or Path(error.file) == Path(file) else error.file
    details = {"file": inner, "found": error.found, "expected": error.expected}
    parts = [f"{name} {value}" for name, value in details.items() if value is not None]
    remedy = remedy or error.remedy or "save it again, or give another file"
    return via.Problem("error", "; ".join([error.message, *parts]), remedy, file)


def _look_at(
    file: str, labelled: via.LabelledImage, place: Path | via.Problem
) -> tuple[via.LabelledImage, list[via.Problem]]:
    """The image with the instances that are not outside it, and its problems."""
    image = labelled.record
    size = usable_size(file, image, place)
    if isinstance(size, via.Problem):
        return labelled, [size]
    problems = []
    resaved = other_bytes(file, image, place) if isinstance(place, Path) else None
    if resaved is not None:
        problems.append(resaved)
    fitting, unfit = fit_instances(file, labelled, *size)
    problems += unfit
    # Of an instance with a problem, the other regions are not named one by one.
    doubtful = {problem.region for problem in unfit}
    objects = [instance.regions for instance in labelled.instances]
    named = {index for regions in objects if regions[0] in doubtful for index in regions}
    for region in image.regions:
        message = "" if region.index in named else _outside(region, *size)
        if message:
            remedy = "what is outside is cut off; see that the image has the annotated size"
            where = (file, image.filename, region.index)
            problems.append(via.Problem("warning", message, remedy, *where))
    return fitting, problems


def _outside(region: via.Region, width: int, height: int) -> str:
    """Overhang of a region beyond its image, in words; "" for one inside.

    Half a pixel beyond the edge is rounding. A point at the edge itself (x = width) is within: VIA
    rounds a click in an enlarged image up to it.
    """
    x0, y0, x1, y1 = via.bounds(region.shape)
    out = max(-x0, -y0, x1 - width, y1 - height)
    whole = x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height
    if out <= EDGE and (not whole or isinstance(region.shape, via.Point)):
        return ""
    how = "lies wholly" if whole else f"reaches {out:g} pixels"
    kind = kind_of(region.shape)
    return f"the {kind} {how} outside the image of {width} x {height} pixels"
