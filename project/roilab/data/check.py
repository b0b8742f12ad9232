"""What is in an annotation file, and what is wrong with it and with its images."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roilab import via
from roilab.errors import UserError
from roilab.images import ImageFolder, check_readable, header_size
from roilab.skeleton import COCO_PERSON, Skeleton

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
    problem = _as_problem(error, str(path))
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
) -> Findings:
    """Label and count what a file holds, and look at the images it names.

    Args:
        folder: where the images are.
        rules, skeleton: as for `via.label`. Where they do not suffice to label the file, that is an
            error among the problems, and the rest is reported all the same.
        progress: wraps the images while their files are looked at, to show how far it is.
    """
    problems = list(annotations.problems)
    labelled: tuple[via.LabelledImage, ...] = ()
    try:
        result = via.label(annotations, rules, skeleton)
    except UserError as error:
        problems.append(_as_problem(error, annotations.file))
    else:
        labelled, problems = result.images, list(result.problems)
    for image in progress(annotations.images):
        problems += _image_problems(annotations.file, image, folder)
    refused = {
        (problem.image, problem.region)
        for problem in annotations.problems
        if problem.severity == "error" and problem.region is not None and problem.attribute is None
    }
    instances = [each for image in labelled for each in image.instances]
    regions = [region for image in annotations.images for region in image.regions]
    with_refused = {image for image, _ in refused}
    return Findings(
        file=annotations.file,
        container=annotations.container,
        images=len(annotations.images),
        empty_images=sum(
            not image.regions and image.filename not in with_refused for image in annotations.images
        ),
        regions=len(regions) + len(refused),
        instances=len(instances),
        keypoints=sum(v > 0 for each in instances for _, _, v in each.keypoints or ()),
        classes=dict(sorted(Counter(each.label for each in instances).items())),
        shapes=dict(sorted(Counter(map(_shape_name, regions)).items())),
        problems=tuple(sorted(problems, key=lambda problem: SEVERITIES.index(problem.severity))),
    )


def _shape_name(region: via.Region) -> str:
    # VIA's names are those of our classes in lower case.
    return type(region.shape).__name__.lower()


def _as_problem(error: UserError, file: str) -> via.Problem:
    parts = [error.message]
    if error.found is not None:
        parts.append(f"found {error.found}")
    if error.expected is not None:
        parts.append(f"expected {error.expected}")
    remedy = error.remedy or f"give another {error.key or 'value'}"
    return via.Problem("error", "; ".join(parts), remedy, file)


def _image_problems(
    file: str, image: via.ImageRecord, folder: ImageFolder
) -> Iterator[via.Problem]:
    path = folder.find(image.filename, image.size)
    if path is None:
        yield via.Problem(
            "error", *folder.why_not(image.filename, image.size), file, image.filename
        )
        return
    try:
        size = header_size(path)
        check_readable(path)
    except UserError as error:
        message = f"{error.message}: {error.found}"
        yield via.Problem("error", message, "replace the image file", file, image.filename)
        return
    bytes_found = path.stat().st_size
    if image.size is not None and bytes_found != image.size:
        message = f"the image has {bytes_found} bytes, the annotated one had {image.size}"
        remedy = "make sure that it is the same picture"
        yield via.Problem("warning", message, remedy, file, image.filename)
    for region in image.regions:
        message = _outside(region, *size)
        if message:
            remedy = "what is outside is cut off; see that the image has the annotated size"
            yield via.Problem("warning", message, remedy, file, image.filename, region.index)


def _outside(region: via.Region, width: int, height: int) -> str:
    """How far a region reaches out of its image; "" where it does not."""
    x0, y0, x1, y1 = via.bounds(region.shape)
    # A point is the index of a pixel: the last one of a row is width - 1.
    last = 1 if isinstance(region.shape, via.Point) else 0
    out = max(-x0, -y0, x1 - (width - last), y1 - (height - last))
    if out <= 0:
        return ""
    whole = x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height
    how = "lies wholly" if whole else f"reaches {out:g} pixels"
    return f"the {_shape_name(region)} {how} outside the image of {width} x {height} pixels"
