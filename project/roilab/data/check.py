"""What is in an annotation file, and what is wrong with it and with its images."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roilab import via
from roilab.data.locate import Located, locate
from roilab.data.outside import outside
from roilab.data.value_range import narrow_range
from roilab.errors import UserError
from roilab.images import ImageFolder, check_readable, header_size
from roilab.skeleton import COCO_PERSON, Skeleton

# How far, in pixels, a coordinate may lie beyond the image's edge.
EDGE = 0.5
SEVERITIES: tuple[via.Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Findings:
    """Counts and problems of one annotation file.

    Attributes:
        file: its path.
        container: the kind of file, in VIA's words.
        images: image entries that could be read.
        empty_images: those of them for which the file holds no region.
        regions: all regions, also those that were refused.
        instances, classes: what the regions became; none where the file could not be labelled.
        keypoints: labelled keypoints (v > 0) that reached an instance.
        shapes: the regions that could be read, by VIA's names of the shapes.
        problems: the most severe first, else in the order in which they were found.
    """

    file: str
    container: str
    images: int
    empty_images: int
    regions: int
    instances: int
    keypoints: int
    classes: Mapping[str, int]
    shapes: Mapping[str, int]
    problems: tuple[via.Problem, ...]

    @property
    def errors(self) -> int:
        """How many of the problems leave something out."""
        return sum(problem.severity == "error" for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON data."""
        data = asdict(self)
        order = ("severity", "file", "image", "region", "attribute", "message", "remedy")
        data["problems"] = [
            {key: getattr(problem, key) for key in order} for problem in self.problems
        ]
        return data


def refused(path: str | Path, error: UserError) -> Findings:
    """The findings of a file that cannot be used at all."""
    remedy = None
    if Path(path).is_dir():
        remedy = "it is a folder: give an annotation file, perhaps one in it"
    elif not Path(path).exists():
        remedy = "there is no such file: see that the path is right"
    problem = _as_problem(error, str(path), remedy)
    return Findings(str(path), "unknown", 0, 0, 0, 0, 0, {}, {}, (problem,))


def fitting_skeleton(annotations: via.Annotations, rules: via.LabelRules) -> Skeleton | None:
    """COCO's person skeleton where the file has persons and points named by it, else None."""
    values: dict[str, set[str]] = {}
    for image in annotations.images:
        for region in image.regions:
            if isinstance(region.shape, via.Point):
                for name, value in region.attributes.items():
                    if isinstance(value, str) and value:
                        values.setdefault(name, set()).add(value)
    known = set(COCO_PERSON.keypoints)
    if not any(found <= known for found in values.values()):
        return None
    try:
        classes = via.label(annotations, rules, COCO_PERSON).classes
    except UserError:
        return None
    return COCO_PERSON if set(classes) & set(COCO_PERSON.classes) else None


def examine(
    annotations: via.Annotations,
    folder: ImageFolder,
    rules: via.LabelRules,
    skeleton: Skeleton | None = None,
    progress: Callable[[Sequence[via.ImageRecord]], Iterable[via.ImageRecord]] = iter,
    located: Located | None = None,
) -> Findings:
    """Label and count what a file holds, and look at the images it names.

    Args:
        folder: where the images are.
        rules, skeleton: as for `via.label`. Where they do not suffice to label the file, that is an
            error among the problems, and the rest is reported all the same.
        progress: wraps the images while their files are looked at, to show how far it is.
        located: what `locate` found, where the file is used together with others.
    """
    problems = list(annotations.problems)
    instances: Sequence[tuple[via.Instance, ...]] = [()] * len(annotations.images)
    try:
        result = via.label(annotations, rules, skeleton)
    except UserError as error:
        problems.append(_as_problem(error, annotations.file))
    else:
        instances = [image.instances for image in result.images]
        problems = list(result.problems)
    if located is None:
        (located,) = locate([(annotations, folder)])
    problems += located.warnings
    kept: list[via.Instance] = []
    for image, place, found in zip(
        progress(annotations.images), located.places, instances, strict=True
    ):
        left, of_image = _look_at(annotations.file, image, place, found)
        kept += left
        problems += of_image
    narrow = narrow_range([each for each in located.places if isinstance(each, Path)])
    if narrow is not None:
        problems.append(via.Problem("warning", *narrow, annotations.file))
    regions = [region for image in annotations.images for region in image.regions]
    refused = _refused_regions(annotations)
    with_refused = {image for image, _ in refused}
    return Findings(
        file=annotations.file,
        container=annotations.container,
        images=len(annotations.images),
        empty_images=sum(
            not image.regions and image.filename not in with_refused for image in annotations.images
        ),
        regions=len(regions) + len(refused),
        instances=len(kept),
        keypoints=sum(v > 0 for each in kept for _, _, v in each.keypoints or ()),
        classes=dict(sorted(Counter(each.label for each in kept).items())),
        shapes=dict(sorted(Counter(map(_shape_name, regions)).items())),
        problems=tuple(sorted(problems, key=lambda problem: SEVERITIES.index(problem.severity))),
    )


def _refused_regions(annotations: via.Annotations) -> list[tuple[str | None, int]]:
    """The image and the index of every region that could not be read.

    A region may have several problems; one that was read is refused by none of them. Entries of one
    name may have regions of one index.
    """
    errors = Counter(
        (problem.image, problem.region, problem.message)
        for problem in annotations.problems
        if problem.severity == "error" and problem.region is not None and problem.attribute is None
    )
    counts: dict[tuple[str | None, int], int] = {}
    for (image, region, _), count in errors.items():
        if region is not None:
            counts[image, region] = max(count, counts.get((image, region), 0))
    read = {(image.filename, each.index) for image in annotations.images for each in image.regions}
    return [place for place, count in counts.items() for _ in range(count) if place not in read]


def _shape_name(region: via.Region) -> str:
    # VIA's names are those of our classes in lower case.
    return type(region.shape).__name__.lower()


def _as_problem(error: UserError, file: str, remedy: str | None = None) -> via.Problem:
    parts = [error.message]
    if error.found is not None:
        parts.append(f"found {error.found}")
    if error.expected is not None:
        parts.append(f"expected {error.expected}")
    remedy = remedy or error.remedy
    if remedy is None:
        remedy = f"give another {error.key}" if error.key else "save it again, or give another file"
    return via.Problem("error", "; ".join(parts), remedy, file)


def _look_at(
    file: str, image: via.ImageRecord, place: Path | via.Problem, instances: Sequence[via.Instance]
) -> tuple[Sequence[via.Instance], list[via.Problem]]:
    """The instances of an image that are not outside it, and its problems."""
    if isinstance(place, via.Problem):
        return instances, [place]
    try:
        size = header_size(place)
        check_readable(place)
    except UserError as error:
        message = f"{error.message}: {error.found}"
        problem = via.Problem("error", message, "replace the image file", file, image.filename)
        return instances, [problem]
    problems = []
    bytes_found = place.stat().st_size
    if image.size is not None and bytes_found != image.size:
        message = f"the image has {bytes_found} bytes, the annotated one had {image.size}"
        remedy = "make sure that it is the same picture"
        problems.append(via.Problem("warning", message, remedy, file, image.filename))
    messages = {region.index: _outside(region, *size) for region in image.regions}
    suspects = [each for each in instances if any(messages[index] for index in each.regions)]
    lost = [each for each in suspects if _is_outside(each, *size)]
    problems += [outside(file, image, each, *size) for each in lost]
    told = {index for each in lost for index in each.regions}
    remedy = "what is outside is cut off; see that the image has the annotated size"
    problems += [
        via.Problem("warning", message, remedy, file, image.filename, index)
        for index, message in messages.items()
        if message and index not in told
    ]
    return [each for each in instances if all(each is not one for one in lost)], problems


def _is_outside(instance: via.Instance, width: int, height: int) -> bool:
    """Whether nothing is left of an instance that is cut to its image, as in `load`."""
    from roilab.data.dicts import box_of  # of Detectron2's room, which takes seconds to import

    x0, y0, x1, y1 = box_of(instance, width, height)
    return x0 >= x1 or y0 >= y1


def _outside(region: via.Region, width: int, height: int) -> str:
    """How far a region reaches out of its image; "" where it does not.

    Half a pixel beyond the edge is rounding. A point at the edge itself (x = width) is within: VIA
    rounds a click in an enlarged image up to it.
    """
    x0, y0, x1, y1 = via.bounds(region.shape)
    out = max(-x0, -y0, x1 - width, y1 - height)
    whole = x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height
    if out <= EDGE and (not whole or isinstance(region.shape, via.Point)):
        return ""
    how = "lies wholly" if whole else f"reaches {out:g} pixels"
    return f"the {_shape_name(region)} {how} outside the image of {width} x {height} pixels"
