"""Anchors of an RPN: how well the best of them overlaps boxes, and others that fit the boxes more.

The share of boxes that some anchor overlaps by an IoU is an upper bound of the recall of proposals
before the RPN has learnt anything: an RPN learns from anchors with an IoU of 0.7 and more, and
where there is none, from the best (Faster R-CNN, arXiv 1506.01497, Sec. 3.1.2).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.floating[Any]]
Sizes = list[list[float]]  # of each level of the pyramid, in pixels: the root of the anchor's area
Ratios = list[float]  # height / width
MakeGenerator = Callable[[Sizes, Ratios], Any]

IOUS = (0.5, 0.7)
# A smaller gain of the mean recall at these IoUs is not worth anchors of one's own.
LEAST_GAIN = 0.02
# With fewer boxes, one of them is two points of recall.
LEAST_BOXES = 50
_STEPS = 100  # of k-means, which ends earlier


@dataclass(frozen=True, slots=True)
class BoxesInImage:
    """Boxes of an image in the size that the model sees.

    Attributes:
        boxes: N x 4, (x0, y0, x1, y1) in pixels, continuous.
        height, width: of the image with its padding, which divides by all strides but the last.
    """

    boxes: Array
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class RecallBound:
    """The shares of boxes that some anchor overlaps by an IoU of at least 0.5 and 0.7."""

    at_50: float
    at_70: float

    @property
    def mean(self) -> float:
        """The mean of both."""
        return (self.at_50 + self.at_70) / 2

    def __str__(self) -> str:
        return f"{100 * self.at_50:.1f}% by an IoU of 0.5 and {100 * self.at_70:.1f}% by 0.7"


@dataclass(frozen=True, slots=True)
class Anchors:
    """Sizes of each level and ratios of all, and the recall bound that they give."""

    sizes: Sizes
    ratios: Ratios
    bound: RecallBound


@dataclass(frozen=True, slots=True)
class AnchorFit:
    """The anchors of a config, and others that were fitted to boxes.

    Attributes:
        fitted: their bound was measured on images that they were not fitted to; None: there were
            too few boxes to fit any.
        boxes: how many there are.
    """

    default: Anchors
    fitted: Anchors | None
    boxes: int

    @property
    def gain(self) -> float:
        """The rise in mean recall from the default anchors to the fitted ones."""
        return 0.0 if self.fitted is None else self.fitted.bound.mean - self.default.bound.mean

    @property
    def best(self) -> Anchors:
        """The fitted anchors if they gain enough, else the default."""
        return self.default if self.fitted is None or self.gain <= LEAST_GAIN else self.fitted


def best_ious(generator: Any, image: BoxesInImage) -> Array:
    """For each box the IoU of the anchor that overlaps it best, over the whole grid: N numbers.

    The overlap of a box and an anchor is a product of one in x and one in y, and the grid has all
    pairs of its columns and rows: the best of each is enough.

    Args:
        generator: Detectron2's, or one that places its anchors on a grid by `forward`.
    """
    x0, y0, x1, y1 = np.asarray(image.boxes, dtype=float).reshape(-1, 4).T
    best = np.zeros(len(x0))
    maps = [
        torch.empty(1).expand(1, 1, -(-image.height // stride), -(-image.width // stride))
        for stride in generator.strides
    ]
    for level, anchors in zip(maps, generator(maps), strict=True):
        rows, columns = level.shape[-2:]
        grid = anchors.tensor.double().numpy().reshape(rows, columns, -1, 4)
        overlap_x = _best_overlap(x0, x1, grid[0, :, :, 0], grid[0, :, :, 2])
        overlap_y = _best_overlap(y0, y1, grid[:, 0, :, 1], grid[:, 0, :, 3])
        common = overlap_x * overlap_y  # boxes x anchors of a cell
        cell = grid[0, 0]
        areas = (cell[:, 2] - cell[:, 0]) * (cell[:, 3] - cell[:, 1])
        union = ((x1 - x0) * (y1 - y0))[:, None] + areas - common
        best = np.maximum(best, (common / union).max(axis=1))
    return best


def _best_overlap(low: Array, high: Array, starts: Array, ends: Array) -> Array:
    """The longest overlap of intervals (N) with those of a row of the grid (cells x A): N x A."""
    last = np.minimum(high[:, None, None], ends)
    first = np.maximum(low[:, None, None], starts)
    overlaps: Array = np.clip(last - first, 0, None).max(axis=1)
    return overlaps


def recall_bound(ious: Array) -> RecallBound:
    """The recall bound that follows from the IoU of each box's best anchor."""
    at_50, at_70 = (float((ious >= threshold).mean()) if ious.size else 0.0 for threshold in IOUS)
    return RecallBound(at_50, at_70)


def kmeans_in_log(values: Array, count: int) -> list[float]:
    """Centres of positive numbers by k-means of their logarithms, in order.

    It begins with quantiles, so that the same numbers give the same centres. Where there are fewer
    different numbers than centres, some of these are equal.
    """
    logs = np.log(np.asarray(values, dtype=float))
    centres = np.quantile(logs, (np.arange(count) + 0.5) / count)
    for _ in range(_STEPS):
        nearest = np.abs(logs[:, None] - centres).argmin(axis=1)
        members = [logs[nearest == index] for index in range(count)]
        means = [
            part.mean() if part.size else old for part, old in zip(members, centres, strict=True)
        ]
        if np.allclose(means, centres, rtol=0, atol=1e-9):
            break
        centres = np.array(means)
    return [float(value) for value in np.exp(np.sort(centres))]


@dataclass(frozen=True, slots=True)
class _Fit:
    """A way to fit anchors to boxes.

    Attributes:
        least: strides of a level that its anchors have at least; None: the sizes stay.
        ratios: whether the ratios are fitted, too.
    """

    least: int | None
    ratios: bool

    def __call__(
        self,
        images: Sequence[BoxesInImage],
        sizes: Sizes,
        ratios: Ratios,
        strides: Sequence[float],
    ) -> tuple[Sizes, Ratios]:
        """Sizes and ratios in the place of a config's; arguments as for `fit_anchors`."""
        width, height = _sides(images)
        if self.ratios:
            ratios = [round(value, 2) for value in kmeans_in_log(height / width, len(ratios))]
        if self.least is not None:
            of_level = len(sizes[0])
            rest = iter(kmeans_in_log(np.sqrt(width * height), len(sizes) * of_level))
            floors = [self.least * stride for stride in strides]
            sizes = [
                [float(round(max(size, floor))) for size in itertools.islice(rest, of_level)]
                for floor in floors
            ]
        return sizes, ratios


# A level's anchors of fewer strides would miss what lies between them. FPN's defaults have four.
_FITS = (_Fit(None, True), *(_Fit(least, ratios) for least in (2, 4) for ratios in (False, True)))


def fit_anchors(
    images: Sequence[Sequence[BoxesInImage]],
    sizes: Sizes,
    ratios: Ratios,
    strides: Sequence[float],
    make: MakeGenerator,
) -> AnchorFit:
    """Compare a config's anchors with sizes, ratios, or both, from k-means of the boxes.

    The bound of fitted anchors is that of images that they were not fitted to: every second image
    is fitted to the others. There are as many anchors of each level as before.

    Args:
        images: each in the sizes in which the model sees it.
        sizes, ratios, strides: of the config; each level has as many sizes, and a stride.
        make: builds a generator of sizes and ratios.
    """
    images = [views for views in images if len(views[0].boxes)]
    boxes = sum(len(views[0].boxes) for views in images)
    every, *halves = (list(itertools.chain(*part)) for part in (images, images[::2], images[1::2]))
    default = Anchors(sizes, ratios, recall_bound(_ious(every, make(sizes, ratios))))
    if boxes < LEAST_BOXES or not all(halves):
        return AnchorFit(default, None, boxes)

    candidates = []
    for fit in _FITS:
        fitted = partial(fit, sizes=sizes, ratios=ratios, strides=strides)
        swapped = zip(reversed(halves), map(fitted, halves), strict=True)
        ious = [_ious(half, make(*others)) for half, others in swapped]
        candidates.append(Anchors(*fitted(every), recall_bound(np.concatenate(ious))))
    return AnchorFit(default, max(candidates, key=lambda anchors: anchors.bound.mean), boxes)


def _ious(images: Sequence[BoxesInImage], generator: Any) -> Array:
    return np.concatenate([np.zeros(0), *(best_ious(generator, image) for image in images)])


def _sides(images: Sequence[BoxesInImage]) -> tuple[Array, Array]:
    """Widths and heights of all boxes."""
    boxes = np.concatenate([np.asarray(image.boxes, dtype=float) for image in images])
    return boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
