"""Which detections are right: what AP is made of, and what it would be on other draws of images.

COCO's matching of detections to objects is done once; AP then follows from sums over the sorted
detections, in which an image may count several times or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roilab.evaluation.ap import evaluator, scored
from roilab.skeleton import Skeleton

_RECALLS = np.linspace(0, 1, 101)
_CELLS = 2**24  # of weights times detections at a time


@dataclass(frozen=True)
class Matches:
    """The matches of one task and class, at T thresholds of IoU or OKS, over I images.

    Attributes:
        image: D, the position of each detection's image.
        score: D, the best first.
        right: T x D, whether a detection is matched to an object that counts.
        wrong: T x D, whether it is matched to nothing; neither: it is in a crowd, say.
        objects: I, how many objects of an image count.
    """

    image: np.ndarray
    score: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    objects: np.ndarray

    def ap(self, weights: np.ndarray) -> np.ndarray:
        """AP by COCO's rules, from 0 to 1.

        Args:
            weights: B x I, how often each image counts.

        Returns:
            B x T; NaN where there are no objects.
        """
        step = max(1, _CELLS // max(1, len(self.image)))
        parts = [self._ap(weights[i : i + step]) for i in range(0, len(weights), step)]
        return np.concatenate(parts)

    def _ap(self, weights: np.ndarray) -> np.ndarray:
        total = weights @ self.objects
        counts = weights[:, self.image]
        result = np.full((len(weights), len(self.right)), np.nan)
        for t, (right, wrong) in enumerate(zip(self.right, self.wrong, strict=True)):
            hits = np.cumsum(counts * right, axis=1)
            tried = hits + np.cumsum(counts * wrong, axis=1)
            precision = hits / np.maximum(tried, 1e-12)
            # The best precision at this recall or a higher one.
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            for b in np.flatnonzero(total):
                # As COCO has it: hits / total in floating point, the first that reaches a recall.
                at = np.searchsorted(hits[b] / total[b], _RECALLS, side="left")
                reached = at[at < len(self.image)]
                result[b, t] = best[b, reached].sum() / len(_RECALLS)
        return result


def match(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    task: str,
    skeleton: Skeleton | None = None,
    area: str = "all",
    max_detections: int | None = None,
) -> dict[str, Matches]:
    """The matches of each class that the task is over.

    Args:
        area: "all", or the size of the objects that count: "small", "medium", "large".
        truth, detections, skeleton, max_detections: as `average_precision` takes them; images are
            in the order of their ids.
    """
    categories = scored(truth, task, skeleton)
    coco = evaluator(truth, detections, task, skeleton, max_detections)
    names = list(coco.params.area_rng_lbl)
    # Keypoints have no small objects, by COCO's rules.
    bounds = coco.params.area_rng[names.index(area)] if area in names else [0.0, 0.0]
    coco.params.area_rng, coco.params.area_rng_lbl = [bounds], [area]
    coco.evaluate()
    place = {number: index for index, number in enumerate(sorted(i["id"] for i in truth["images"]))}
    found: dict[int, list[dict[str, Any]]] = {category["id"]: [] for category in categories}
    for each in coco.eval_imgs:
        if each is not None:
            found[each["category_id"]].append(each)
    thresholds = len(coco.params.iou_thrs)
    return {
        category["name"]: _gather(found[category["id"]], place, thresholds)
        for category in categories
    }


def _gather(images: list[dict[str, Any]], place: Mapping[int, int], thresholds: int) -> Matches:
    """The images' matches as one, by score; equal scores are in the order of the images."""
    images = sorted(images, key=lambda each: place[each["image_id"]])
    objects = np.zeros(len(place), int)
    none = np.zeros((thresholds, 0), bool)
    scores, image, matched, ignored = [np.zeros(0)], [np.zeros(0, int)], [none], [none]
    for each in images:
        where, count = place[each["image_id"]], len(each["dtScores"])
        objects[where] = np.logical_not(each["gtIgnore"]).sum()
        if count:
            scores.append(np.asarray(each["dtScores"], float))
            image.append(np.full(count, where))
            matched.append(np.asarray(each["dtMatched"], bool))
            ignored.append(np.asarray(each["dtIgnore"], bool))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    taken, left_out = (np.concatenate(each, axis=1)[:, order] for each in (matched, ignored))
    return Matches(
        image=np.concatenate(image)[order],
        score=np.concatenate(scores)[order],
        right=taken & ~left_out,
        wrong=~taken & ~left_out,
        objects=objects,
    )
