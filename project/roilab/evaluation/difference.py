"""By how much one model is better than another, and how sure that is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roilab.evaluation.matches import Matches

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_DRAWS = 2000


@dataclass(frozen=True)
class Difference:
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
        """What may be concluded."""
        if self.low > 0:
            return "better"
        if self.high < 0:
            return "worse"
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"not distinguishable with {self.images} images and {seeds}"


def difference(
    arm: Sequence[Mapping[str, Matches]], baseline: Sequence[Mapping[str, Matches]]
) -> Difference | None:
    """Of the mean AP over seeds; None where there is nothing to find.

    Paired: both arms are judged on the same draws of images, and each seed against the same seed.
    """
    images = len(next(iter(arm[0].values())).objects)
    random = np.random.default_rng(0)  # the same report from the same results
    weights = random.multinomial(images, np.full(images, 1 / images), size=_DRAWS)
    weights = np.concatenate([np.ones((1, images), int), weights])
    apart = np.array(
        [mean_ap(a, weights) - mean_ap(b, weights) for a, b in zip(arm, baseline, strict=True)]
    )
    apart = apart[:, ~np.isnan(apart).any(axis=0)]  # draws without an object
    if not apart.size:
        return None
    low, high = interval(apart[:, 0], apart[:, 1:], random)
    return Difference(float(apart[:, 0].mean()), low, high, images, len(arm))


def mean_ap(matches: Mapping[str, Matches], weights: np.ndarray) -> np.ndarray:
    """AP in percent over classes and thresholds for each of B draws (B x I weights); NaN: none."""
    ap = np.stack([each.ap(weights) for each in matches.values()])  # classes x B x T
    counted = ~np.isnan(ap)
    sums = np.where(counted, ap, 0).sum(axis=(0, 2))
    counts = counted.sum(axis=(0, 2))
    return 100 * np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


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
        means = means + error * random.standard_t(seeds - 1, len(means))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
