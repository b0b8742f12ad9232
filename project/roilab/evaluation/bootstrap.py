"""Differences in AP between two models, with bootstrap intervals over images and seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roilab.evaluation.ap import GroundTruth
from roilab.evaluation.matches import Matches, match_detections
from roilab.text import counted

# The area of the objects that count, and which of ten thresholds of IoU or OKS from 0.5 on.
METRICS = {
    "AP": ("all", slice(None)),
    "AP50": ("all", slice(0, 1)),
    "AP75": ("all", slice(5, 6)),
    "APs": ("small", slice(None)),
    "APm": ("medium", slice(None)),
    "APl": ("large", slice(None)),
}
_DRAWS = 2000
# Values of Student's t for each draw: with one, chance decides its tails, and so the interval.
_T_VALUES = 200


@dataclass(frozen=True)
class PairedDifference:
    """A difference in percent of AP, with an interval that holds the true one in 95 of 100 cases.

    Attributes:
        images, seeds: the number of images and seeds that it is estimated from.
    """

    value: float
    low: float
    high: float
    images: int
    seeds: int

    @property
    def conclusion(self) -> str:
        """The conclusion that the interval allows, in words."""
        seeds = counted(self.seeds, "seed")
        # One training says nothing about others.
        restriction = f" with this {seeds}" if self.seeds == 1 else ""
        if self.low > 0:
            return f"better{restriction}"
        if self.high < 0:
            return f"worse{restriction}"
        return f"not distinguishable with {self.images} images and {seeds}"


def bootstrap_weights(images: int) -> np.ndarray:
    """Number of times each image counts, (1 + B) x I: once, then as in B draws with replacement.

    The draws are the same for every model, so that comparisons are paired, and in every call, so
    that the same results give the same report.
    """
    random = np.random.default_rng(0)
    weights = random.multinomial(images, np.full(images, 1 / images), size=_DRAWS)
    return np.concatenate([np.ones((1, images), int), weights])


def bootstrap_metrics(
    matches: Mapping[str, Mapping[str, Matches]], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Every metric in percent on each draw of images; NaN where a draw has no object.

    Args:
        matches: by area and class.
        weights: (1 + B) x I.

    Returns:
        1 + B values of each of `METRICS` whose area is among the matches.
    """
    metrics = {}
    for area, classes in matches.items():
        ap = np.stack([of_class.ap(weights) for of_class in classes.values()])
        for name, (area_of_metric, thresholds) in METRICS.items():
            if area_of_metric == area:
                means = np.ma.masked_invalid(ap[:, :, thresholds]).mean(axis=(0, 2))
                metrics[name] = 100 * means.filled(np.nan)
    return metrics


def paired_difference(
    values: np.ndarray, baseline: np.ndarray, images: int
) -> PairedDifference | None:
    """The difference of a metric's mean over seeds to the baseline's; None without objects.

    Args:
        values, baseline: S x (1 + B), on the same draws and with the same seeds.
        images: the number of images that were drawn from.
    """
    differences = values - baseline
    differences = differences[:, ~np.isnan(differences).any(axis=0)]  # draws without an object
    if not differences.size:
        return None
    points = differences[:, 0]
    low, high = confidence_interval(points, differences[:, 1:], np.random.default_rng(0))
    return PairedDifference(float(points.mean()), low, high, images, len(points))


def compare_detections(
    truth: GroundTruth,
    detections: Sequence[Mapping[str, Any]],
    baseline: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
) -> dict[str, PairedDifference]:
    """The differences in AP of two sets of detections on the same images, by task."""
    images = len(truth.coco["images"])
    weights = bootstrap_weights(images)
    differences = {}
    for task in tasks:
        ap, before = (
            bootstrap_metrics({"all": match_detections(truth, rows, task)}, weights)["AP"][None]
            for rows in (detections, baseline)
        )
        difference = paired_difference(ap, before, images)
        if difference is not None:
            differences[task] = difference
    return differences


def confidence_interval(
    points: np.ndarray, draws: np.ndarray, random: np.random.Generator
) -> tuple[float, float]:
    """The 95% interval of the mean over seeds.

    The draws show what other images would give. What other seeds would give is not drawn, which
    would make two or three look surer than they are: their mean varies as Student's t.

    Args:
        points: S, the value of each seed on the images as they are.
        draws: S x B, its values on draws of the images.
    """
    seeds = len(points)
    means = draws.mean(axis=0)
    if seeds > 1:
        error = points.std(ddof=1) / math.sqrt(seeds)
        t = random.standard_t(seeds - 1, (_T_VALUES, len(means)))
        # Both signs of each, so that the opposite difference has the opposite interval.
        means = means + error * np.concatenate([t, -t])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
