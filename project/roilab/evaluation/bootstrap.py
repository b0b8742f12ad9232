"""AP on draws of the images, and differences between models with their bootstrap intervals.

The matching is done once; AP then follows from sums over the sorted detections, in which an
image may count several times or not at all. Intervals are over images and seeds.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roilab.evaluation.ap import IOU_THRESHOLDS, METRICS, Detections, GroundTruth, coco_eval
from roilab.evaluation.cityscapes_ap import match_cityscapes
from roilab.evaluation.matches import Matches
from roilab.text import counted

_DRAWS = 2000
# Values of Student's t for each draw: with one, chance decides its tails, and so the interval.
_T_VALUES = 200


def match_detections(
    truth: GroundTruth, detections: Detections, task: str, area: str = "all"
) -> dict[str, Matches]:
    """The matches of each class that the task is over; images are in the order of their ids.

    An area other than "all" is the size of the objects that count: "small", "medium", "large". The
    masks of Cityscapes are matched by its rules, which have no such sizes.
    """
    if task == "segm" and truth.is_cityscapes:
        matches = match_cityscapes(truth.coco, detections)
        if area == "all":
            return matches
        return {name: replace(of, objects=0 * of.objects) for name, of in matches.items()}
    coco = coco_eval(truth, detections, task)
    areas = list(coco.params.area_rng_lbl)
    # Keypoints have no small objects, by COCO's rules.
    bounds = coco.params.area_rng[areas.index(area)] if area in areas else [0.0, 0.0]
    coco.params.area_rng = [bounds]
    coco.params.area_rng_lbl = [area]
    coco.evaluate()
    ids = sorted(image["id"] for image in truth.coco["images"])
    positions = {number: position for position, number in enumerate(ids)}
    by_class: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for image in filter(None, coco.eval_imgs):
        by_class[image["category_id"]].append(image)
    return {
        category["name"]: _joined(by_class[category["id"]], positions)
        for category in truth.categories(task)
    }


def _joined(images: list[dict[str, Any]], positions: dict[int, int]) -> Matches:
    """COCO's matches of one class in single images together, by score.

    Equal scores are in the order of the images; the positions are by the images' ids.
    """
    objects = np.zeros(len(positions), int)
    # The first part of each is empty, so that there is one also without detections.
    nothing = np.zeros((len(IOU_THRESHOLDS), 0), bool)
    scores = [np.zeros(0)]
    places = [np.zeros(0, int)]
    matched = [nothing]
    ignored = [nothing]
    for image in sorted(images, key=lambda image: positions[image["image_id"]]):
        position = positions[image["image_id"]]
        objects[position] = np.logical_not(image["gtIgnore"]).sum()
        count = len(image["dtScores"])
        if count:
            scores.append(np.asarray(image["dtScores"], float))
            places.append(np.full(count, position))
            matched.append(np.asarray(image["dtMatched"], bool))
            ignored.append(np.asarray(image["dtIgnore"], bool))
    all_scores = np.concatenate(scores)
    order = np.argsort(-all_scores, kind="stable")
    is_matched = np.concatenate(matched, axis=1)[:, order]
    counts = ~np.concatenate(ignored, axis=1)[:, order]
    return Matches(
        image=np.concatenate(places)[order],
        score=all_scores[order],
        true_positive=is_matched & counts,
        false_positive=~is_matched & counts,
        objects=objects,
    )


@dataclass(frozen=True)
class PairedDifference:
    """A difference in percent of AP, with an interval that holds it in 95 of 100 cases.

    Attributes:
        images, seeds: the numbers of each that it is from.
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


def image_weights(images: int, fold: int = 0) -> np.ndarray:
    """Number of times each image counts, (1 + B) x I: once, then as in B draws with replacement.

    The draws are the same for every model, so that comparisons are paired, and in every call, so
    that the same results give the same report. Those of other folds of a cross-validation, whose
    images are others, are independent.
    """
    random = np.random.default_rng(fold)
    weights = random.multinomial(images, np.full(images, 1 / images), size=_DRAWS)
    return np.concatenate([np.ones((1, images), int), weights])


def metrics_of_draws(
    matches: Mapping[str, Mapping[str, Matches]], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """1 + B values in percent of each of `METRICS` whose area is among the matches.

    With objects of all areas, `AP-<class>` and `AP50-<class>` of each class, too. The matches are
    by area and class, the weights (1 + B) x I; NaN where a draw has no object.
    """
    metrics = {}

    def add(name: str, ap: np.ndarray) -> None:
        """`ap` is classes x (1 + B) x thresholds."""
        means = np.ma.masked_invalid(ap).mean(axis=(0, 2))
        metrics[name] = 100 * means.filled(np.nan)

    for area, classes in matches.items():
        ap = np.stack([of_class.ap(weights) for of_class in classes.values()])
        for name, (area_of_metric, thresholds) in METRICS.items():
            if area_of_metric == area:
                add(name, ap[:, :, thresholds])
        if area == "all":
            for number, name in enumerate(classes):
                add(f"AP-{name}", ap[number : number + 1])
                add(f"AP50-{name}", ap[number : number + 1, :, METRICS["AP50"][1]])
    return metrics


def interval_of_mean(values: np.ndarray) -> tuple[float, float, float] | None:
    """The low end of the 95% interval, the mean over seeds, and the high end; None without objects.

    The values are S x (1 + B), on draws of images that are the same for all seeds.
    """
    values = values[:, ~np.isnan(values).any(axis=0)]  # without draws without an object
    if not values.size:
        return None
    points = values[:, 0]
    low, high = confidence_interval(points, values[:, 1:], np.random.default_rng(0))
    return low, float(points.mean()), high


def paired_difference(
    values: np.ndarray, baseline: np.ndarray, images: int
) -> PairedDifference | None:
    """The difference of a metric's mean over seeds to the baseline's; None without objects.

    The values of both are S x (1 + B), on the same draws of images and with the same seeds.
    """
    interval = interval_of_mean(values - baseline)
    if interval is None:
        return None
    low, value, high = interval
    return PairedDifference(value, low, high, images, len(values))


def compare_detections(
    truth: GroundTruth, detections: Detections, baseline: Detections, tasks: Sequence[str]
) -> dict[str, PairedDifference]:
    """The differences in AP of two sets of detections on the same images, by task."""
    images = len(truth.coco["images"])
    weights = image_weights(images)
    differences = {}

    def draws(rows: Detections, task: str) -> np.ndarray:
        matches = match_detections(truth, rows, task)
        return metrics_of_draws({"all": matches}, weights)["AP"][None]  # of one seed

    for task in tasks:
        difference = paired_difference(draws(detections, task), draws(baseline, task), images)
        if difference is not None:
            differences[task] = difference
    return differences


def time_ratio(seconds: Sequence[float], baseline: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of the median times of the same images, and its 95% interval over images."""
    times = np.array([seconds, baseline])
    images = times.shape[1]
    draws = np.random.default_rng(0).integers(images, size=(_DRAWS, images))
    value = np.median(times, axis=1)
    medians = np.median(times[:, draws], axis=2)
    low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
    return float(value[0] / value[1]), float(low), float(high)


def confidence_interval(
    points: np.ndarray, draws: np.ndarray, random: np.random.Generator
) -> tuple[float, float]:
    """The 95% interval of the mean over seeds.

    The draws show what other images would give. What other seeds would give is not drawn, which
    would make two or three look surer than they are: their mean varies as Student's t.

    The points are the S values on the images as they are, the draws S x B on draws of the images.
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
