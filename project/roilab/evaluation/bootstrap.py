"""By how much one model is better than another, and how sure that is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roilab.evaluation.matches import Matches, match
from roilab.skeleton import Skeleton
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
# Of Student's t for each draw: with one, its tails, and so the interval, are left to chance.
_OF_T = 200


@dataclass(frozen=True)
class PairedDifference:
    """In percent of AP, with an interval that holds the true difference in 95 of 100 cases.

    Attributes:
        images, seeds: how many there were to judge from.
    """

    value: float
    low: float
    high: float
    images: int
    seeds: int

    def sentence(self) -> str:
        """The conclusion in words."""
        seeds = counted(self.seeds, "seed")
        # One training says nothing of others.
        alone = f" with this {seeds}" if self.seeds == 1 else ""
        if self.low > 0:
            return f"better{alone}"
        if self.high < 0:
            return f"worse{alone}"
        return f"not distinguishable with {self.images} images and {seeds}"


def draws(images: int) -> np.ndarray:
    """Bootstrap weights of the images, (1 + B) x I: ones first, then draws with replacement.

    The same for every arm: a comparison is paired.
    """
    random = np.random.default_rng(0)  # the same report from the same results
    weights = random.multinomial(images, np.full(images, 1 / images), size=_DRAWS)
    return np.concatenate([np.ones((1, images), int), weights])


def drawn(
    matches: Mapping[str, Mapping[str, Matches]], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Every metric in percent on each draw of images; NaN: there is no object in it.

    Args:
        matches: by area and class.
        weights: (1 + B) x I.

    Returns:
        1 + B values for each of `METRICS` whose area is there.
    """
    found = {}
    for area, classes in matches.items():
        ap = np.stack([each.ap(weights) for each in classes.values()])  # classes x (1 + B) x T
        for name, (of_area, thresholds) in METRICS.items():
            if of_area == area:
                found[name] = _mean(ap[:, :, thresholds])
    return found


def _mean(ap: np.ndarray) -> np.ndarray:
    """Over classes and thresholds, in percent."""
    counted = ~np.isnan(ap)
    sums = np.where(counted, ap, 0).sum(axis=(0, 2))
    counts = counted.sum(axis=(0, 2))
    return 100 * np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def difference(arm: np.ndarray, baseline: np.ndarray, images: int) -> PairedDifference | None:
    """The difference of a metric's mean over seeds; None without data.

    Args:
        arm, baseline: S x (1 + B), on the same draws and with the same seeds.
        images: from how many was drawn.
    """
    apart = arm - baseline
    apart = apart[:, ~np.isnan(apart).any(axis=0)]  # draws without an object
    if not apart.size:
        return None
    low, high = interval(apart[:, 0], apart[:, 1:], np.random.default_rng(0))
    return PairedDifference(float(apart[:, 0].mean()), low, high, images, len(apart))


def between(
    truth: Mapping[str, Any],
    one: Sequence[Mapping[str, Any]],
    other: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    skeleton: Skeleton | None,
    max_detections: int | None = None,
) -> dict[str, PairedDifference]:
    """The differences in AP between two sets of detections, by task.

    Args:
        truth: COCO json of the images, on which both were found.
        one, other: COCO result rows.
        tasks, skeleton, max_detections: as for `average_precision`.
    """
    images = len(truth["images"])
    weights = draws(images)
    apart = {}
    for task in tasks:
        ours, theirs = (
            drawn({"all": match(truth, rows, task, skeleton, "all", max_detections)}, weights)[
                "AP"
            ][None]
            for rows in (one, other)
        )
        found = difference(ours, theirs, images)
        if found is not None:
            apart[task] = found
    return apart


def interval(
    points: np.ndarray, draws: np.ndarray, random: np.random.Generator
) -> tuple[float, float]:
    """The 95% interval of the mean of several seeds.

    What other images would give is taken from the draws. What other seeds would give is not drawn
    from so few, which would make two or three look surer than they are: their mean varies as
    Student's t.

    Args:
        points: S, the value for each seed on the images as they are.
        draws: S x B, the same on each draw of images.
    """
    seeds = len(points)
    means = draws.mean(axis=0)
    if seeds > 1:
        error = points.std(ddof=1) / math.sqrt(seeds)
        t = random.standard_t(seeds - 1, (_OF_T, len(means)))
        # Both signs of each, so that the difference the other way round has the same interval.
        means = means + error * np.concatenate([t, -t])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
