"""Matches of detections and objects: AP on any draw of the images, without matching again.

COCO's matching is done once; AP then follows from sums over the sorted detections, in which an
image may count several times or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roilab.evaluation.ap import GroundTruth, coco_eval

_RECALLS = np.linspace(0, 1, 101)
_BLOCK = 2**24  # weights times detections that are held in memory at a time


@dataclass(frozen=True)
class Matches:
    """The matches of one task and class at T thresholds of IoU or OKS, over I images.

    Attributes:
        image: D, the position of each detection's image.
        score: D, the best first.
        true_positive: T x D, whether a detection is matched to an object that counts.
        false_positive: T x D, whether it is matched to nothing; neither: it lies in a crowd, say.
        objects: I, the number of objects of an image that count.
    """

    image: np.ndarray
    score: np.ndarray
    true_positive: np.ndarray
    false_positive: np.ndarray
    objects: np.ndarray

    def ap(self, weights: np.ndarray) -> np.ndarray:
        """AP by COCO's rules, from 0 to 1.

        Args:
            weights: B x I, how often each image counts.

        Returns:
            B x T; NaN where there are no objects.
        """
        step = max(1, _BLOCK // max(1, len(self.image)))
        blocks = [self._ap(weights[i : i + step]) for i in range(0, len(weights), step)]
        return np.concatenate(blocks)

    def _ap(self, weights: np.ndarray) -> np.ndarray:
        total = weights @ self.objects
        counts = weights[:, self.image]
        result = np.full((len(weights), len(self.true_positive)), np.nan)
        for t in range(len(self.true_positive)):
            hits = np.cumsum(counts * self.true_positive[t], axis=1)
            detections = hits + np.cumsum(counts * self.false_positive[t], axis=1)
            precision = hits / np.maximum(detections, 1e-12)
            # The best precision at this recall or a higher one.
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            for b in np.flatnonzero(total):
                # As COCO has it: hits / total in floating point, the first that reaches a recall.
                first = np.searchsorted(hits[b] / total[b], _RECALLS, side="left")
                reached = first[first < len(self.image)]
                result[b, t] = best[b, reached].sum() / len(_RECALLS)
        return result


def match_detections(
    truth: GroundTruth, detections: Sequence[Mapping[str, Any]], task: str, area: str = "all"
) -> dict[str, Matches]:
    """The matches of each class that the task is over; images are in the order of their ids.

    Args:
        detections: as for `average_precision`.
        area: "all", or the size of the objects that count: "small", "medium", "large".
    """
    coco = coco_eval(truth, detections, task)
    areas = list(coco.params.area_rng_lbl)
    # Keypoints have no small objects, by COCO's rules.
    bounds = coco.params.area_rng[areas.index(area)] if area in areas else [0.0, 0.0]
    coco.params.area_rng, coco.params.area_rng_lbl = [bounds], [area]
    coco.evaluate()
    ids = sorted(image["id"] for image in truth.coco["images"])
    positions = {number: position for position, number in enumerate(ids)}
    by_class: dict[int, list[dict[str, Any]]] = {
        category["id"]: [] for category in truth.categories(task)
    }
    for image in filter(None, coco.eval_imgs):
        by_class[image["category_id"]].append(image)
    return {
        category["name"]: _joined(by_class[category["id"]], positions, len(coco.params.iou_thrs))
        for category in truth.categories(task)
    }


def _joined(
    images: Sequence[dict[str, Any]], positions: Mapping[int, int], thresholds: int
) -> Matches:
    """The images' matches together, by score; equal scores are in the order of the images."""
    objects = np.zeros(len(positions), int)
    nothing = np.zeros((thresholds, 0), bool)
    scores, places, matched, ignored = [np.zeros(0)], [np.zeros(0, int)], [nothing], [nothing]
    for image in sorted(images, key=lambda image: positions[image["image_id"]]):
        position, count = positions[image["image_id"]], len(image["dtScores"])
        objects[position] = np.logical_not(image["gtIgnore"]).sum()
        if count:
            scores.append(np.asarray(image["dtScores"], float))
            places.append(np.full(count, position))
            matched.append(np.asarray(image["dtMatched"], bool))
            ignored.append(np.asarray(image["dtIgnore"], bool))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    is_matched, is_ignored = (np.concatenate(x, axis=1)[:, order] for x in (matched, ignored))
    return Matches(
        image=np.concatenate(places)[order],
        score=np.concatenate(scores)[order],
        true_positive=is_matched & ~is_ignored,
        false_positive=~is_matched & ~is_ignored,
        objects=objects,
    )
