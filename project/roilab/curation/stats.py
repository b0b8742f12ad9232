"""Statistics of annotation files."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import Any

from roilab import via
from roilab.data.class_balance import class_repeat_factor
from roilab.skeleton import Skeleton
from roilab.via.geometry import area, kind_of

# COCO's bounds of small, medium and large: areas of squares of 32 and 96 pixels.
_MEDIUM, _LARGE = 32**2, 96**2
SIZES = ("small", "medium", "large")
# Of an instance, in square pixels: its box, and its outlines, None where it has none.
_Areas = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class ClassStats:
    """A class in numbers.

    Attributes:
        instances, images: how many, and in how many images.
        area: of all its outlines, in square pixels.
        median_area: of an instance with an outline; 0 where none has one.
        sizes: instances with a small, medium and large box, by COCO's bounds of the area.
        repeat_factor: how often a training that repeats rare classes draws an image that has it
            and no rarer one.
    """

    instances: int
    images: int
    area: float
    median_area: float
    sizes: tuple[int, int, int]
    repeat_factor: float


@dataclass(frozen=True, slots=True)
class Stats:
    """Annotation files in numbers.

    Attributes:
        images, empty_images: how many, and how many without an instance.
        crowds: of COCO files, which are no instances.
        shapes: regions by VIA's name of the shape.
        per_image: number of instances -> images that have as many.
        box_sides: k -> instances whose box is as large as a square of 2^k to 2^(k+1) pixels a side.
        keypoints: name -> how many are visible, occluded, and not labelled.
        together: pairs of classes, in order of name -> images that hold both; a class with itself:
            images that hold it.
        repeat_threshold: the share of the images, without empty ones, below which a class is rare.
    """

    files: tuple[str, ...]
    images: int
    empty_images: int
    crowds: int
    shapes: Mapping[str, int]
    classes: Mapping[str, ClassStats]
    per_image: Mapping[int, int]
    box_sides: Mapping[int, int]
    keypoints: Mapping[str, tuple[int, int, int]]
    together: Mapping[tuple[str, str], int]
    repeat_threshold: float

    @property
    def instances(self) -> int:
        """The number of instances of all classes."""
        return sum(numbers.instances for numbers in self.classes.values())

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON data; the pairs as a list of [class, class, images]."""
        data = asdict(self)
        data["together"] = [[*pair, count] for pair, count in self.together.items()]
        return data


def count_annotations(
    files: Sequence[tuple[via.Annotations, via.LabelledSet]],
    skeleton: Skeleton | None,
    progress: Callable[[Sequence[via.LabelledImage]], Iterable[via.LabelledImage]] = iter,
    repeat_threshold: float = 0.1,
) -> Stats:
    """Count files, each with what `via.build_instances` made of it; several are counted together.

    Args:
        progress: wraps the images.
        repeat_threshold: that the repeat factors of the classes follow from, see
            `class_repeat_factor`.
    """
    records = [image for annotations, _ in files for image in annotations.images]
    labelled = [image for _, labelled_set in files for image in labelled_set.images]
    shapes = Counter(kind_of(region.shape) for record in records for region in record.regions)
    together: Counter[tuple[str, str]] = Counter()
    areas: dict[str, list[_Areas]] = defaultdict(list)
    for image in progress(labelled):
        names = sorted({instance.label for instance in image.instances})
        together.update(combinations_with_replacement(names, 2))
        for instance in image.instances:
            outline = sum(map(area, instance.polygons)) if instance.outlines else None
            areas[instance.label].append((_box_area(instance), outline))
    sides = Counter(
        # A box of less than a pixel is counted with those of one.
        max(0, math.floor(math.log2(max(1.0, box)) / 2))
        for instances in areas.values()
        for box, _ in instances
    )
    counts = Counter(len(image.instances) for image in labelled)
    drawn = len(labelled) - counts[0]  # a training leaves empty images out
    classes = {}
    for name, instances in sorted(areas.items()):
        images = together[name, name]
        factor = class_repeat_factor(images, drawn, repeat_threshold)
        classes[name] = _class_stats(instances, images, factor)
    return Stats(
        files=tuple(annotations.file for annotations, _ in files),
        images=len(records),
        empty_images=counts[0],
        crowds=sum(len(image.crowds) for image in labelled),
        shapes=dict(sorted(shapes.items())),
        classes=classes,
        per_image=dict(sorted(counts.items())),
        box_sides=dict(sorted(sides.items())),
        keypoints=_keypoints(labelled, skeleton),
        together=dict(sorted(together.items())),
        repeat_threshold=repeat_threshold,
    )


def _class_stats(instances: Sequence[_Areas], images: int, repeat_factor: float) -> ClassStats:
    outlined = [outline for _, outline in instances if outline is not None]
    # 0, 1 and 2 for small, medium and large.
    sizes = Counter((box >= _MEDIUM) + (box >= _LARGE) for box, _ in instances)
    return ClassStats(
        instances=len(instances),
        images=images,
        area=sum(outlined),
        median_area=statistics.median(outlined) if outlined else 0.0,
        sizes=(sizes[0], sizes[1], sizes[2]),
        repeat_factor=repeat_factor,
    )


def _box_area(instance: via.Instance) -> float:
    """The area of the box around the outlines, else around the labelled keypoints."""
    boxes = [via.bounds(shape) for shape in instance.outlines]
    if not boxes:
        boxes = [(x, y, x, y) for x, y, v in instance.keypoints or () if v]
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return (max(x1) - min(x0)) * (max(y1) - min(y0))


def _keypoints(
    images: Iterable[via.LabelledImage], skeleton: Skeleton | None
) -> dict[str, tuple[int, int, int]]:
    if skeleton is None:
        return {}
    instances = [instance for image in images for instance in image.instances]
    poses = [instance.keypoints for instance in instances if instance.keypoints]
    counts = {
        name: Counter(pose[index][2] for pose in poses)
        for index, name in enumerate(skeleton.keypoints)
    }
    return {name: (count[2], count[1], count[0]) for name, count in counts.items()}
