"""Average precision of masks by Cityscapes' rules, which are not COCO's.

As the official evaluation (cityscapesScripts, "instance-level semantic labeling") defines it:
- A detection matches an object of its class if their IoU is larger than the threshold, one of ten
  from 0.5 to 0.95; of several that match one object, all but the best are false positives.
- Groups of objects, and objects of fewer than 100 pixels, do not count. A detection that matches
  one is neither right nor wrong. So is one that matches nothing if a larger share of it than the
  threshold lies in void, in groups and in such objects of its class.
- AP is the area below the curve of precision by recall, without COCO's interpolation; it begins at
  precision 1 and recall 0, has a point for each different score, and is straight between these.
- The mean is over the classes that have objects that count.
There is no limit to the number of detections in an image.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from roilab.evaluation.matches import Matches

_THRESHOLDS = np.arange(0.5, 1.0, 0.05)
_LEAST_PIXELS = 100  # of an object that counts

Rows = Sequence[Mapping[str, Any]]
# Scores, true positives and false positives of an image's detections, and its objects that count.
_ImageMatches = tuple[np.ndarray, np.ndarray, np.ndarray, int]


class CityscapesMatches(Matches):
    """The matches of one class, with AP by Cityscapes' rules."""

    def _ap(self, weights: np.ndarray) -> np.ndarray:
        total = weights @ self.objects  # B
        counts = weights[:, self.image]  # B x D
        # The last detection of each score.
        last = np.flatnonzero(np.append(np.diff(self.score) != 0, True)[: len(self.score)])
        result = np.full((len(weights), len(self.true_positive)), np.nan)
        start = np.ones((len(weights), 1))
        for t in range(len(self.true_positive)):
            hits = np.cumsum(counts * self.true_positive[t], axis=1)[:, last]
            detections = hits + np.cumsum(counts * self.false_positive[t], axis=1)[:, last]
            # Before the first detection that counts, precision is 1.
            precision = np.where(detections > 0, hits / np.maximum(detections, 1e-12), 1.0)
            heights = np.concatenate([start, precision], axis=1)
            widths = np.diff(hits, axis=1, prepend=0) / np.maximum(total, 1)[:, None]
            areas = (widths * (heights[:, 1:] + heights[:, :-1]) / 2).sum(axis=1)
            result[:, t] = np.where(total > 0, areas, np.nan)
        return result


def match_cityscapes(coco: Mapping[str, Any], detections: Rows) -> dict[str, Matches]:
    """The matches of each class of a data set of Cityscapes; images in the order of their ids.

    Args:
        coco: COCO json data whose images have `void`, and whose crowds are groups of objects.
        detections: COCO result rows with masks, ranked by `mask_score` if a row has it.
    """
    objects = _by_image_and_class(coco["annotations"])
    rows = _by_image_and_class(detections)
    images = sorted(coco["images"], key=lambda image: image["id"])
    matches: dict[str, Matches] = {}
    for category in coco["categories"]:
        of_images = []
        for image in images:
            key = image["id"], category["id"]
            of_images.append(_match_image(image["void"], objects[key], rows[key]))
        matches[category["name"]] = _joined(of_images)
    return matches


def _by_image_and_class(rows: Rows) -> dict[tuple[int, int], list[Mapping[str, Any]]]:
    result: dict[tuple[int, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        result[row["image_id"], row["category_id"]].append(row)
    return result


def _match_image(void: Mapping[str, Any], objects: Rows, rows: Rows) -> _ImageMatches:
    """The matches of one class in one image: D scores, T x D, T x D, and a number of objects."""
    sizes = mask_utils.area([anno["segmentation"] for anno in objects]) if objects else np.zeros(0)
    is_group = np.array([bool(anno["iscrowd"]) for anno in objects], bool)
    is_small = sizes < _LEAST_PIXELS
    counts = ~is_group & ~is_small
    rows = [row for row in rows if mask_utils.area(row["segmentation"])]
    if not rows:
        nothing = np.zeros((len(_THRESHOLDS), 0), bool)
        return np.zeros(0), nothing, nothing, int(counts.sum())
    scores = np.array([row.get("mask_score", row["score"]) for row in rows], float)
    masks = [row["segmentation"] for row in rows]
    areas = mask_utils.area(masks).astype(float)
    # Pixels that a detection and an object share, D x G; and that a detection and void share, D.
    shared = _shared_pixels(masks, areas, [anno["segmentation"] for anno in objects])
    in_void = _shared_pixels(masks, areas, [void])[:, 0]
    iou = shared / (areas[:, None] + sizes - shared)
    # A small group is subtracted twice, by the official evaluation as here.
    ignored = in_void + shared[:, is_group].sum(axis=1) + shared[:, is_small].sum(axis=1)

    thresholds = _THRESHOLDS[:, None]
    is_match = iou > thresholds[..., None]  # T x D x G
    of_object = is_match[..., counts]
    # At thresholds from 0.5 on, a detection matches one object at most: objects are disjoint.
    ranks = np.where(of_object, scores[:, None], -np.inf)
    is_best = np.zeros_like(of_object)
    np.put_along_axis(is_best, ranks.argmax(axis=1)[:, None], True, axis=1)
    true_positive = (is_best & of_object).any(axis=2)
    is_repeated = of_object.any(axis=2) & ~true_positive
    is_nothing = ~is_match.any(axis=2) & (ignored / areas <= thresholds)
    return scores, true_positive, is_repeated | is_nothing, int(counts.sum())


def _shared_pixels(
    masks: Sequence[Mapping[str, Any]], areas: np.ndarray, others: Sequence[Mapping[str, Any]]
) -> np.ndarray:
    """Numbers of pixels that each of D masks and each of G others have in common: D x G."""
    if not others:
        return np.zeros((len(masks), 0))
    # With crowds, pycocotools divides what is shared by the area of the mask.
    shares = np.asarray(mask_utils.iou(list(masks), list(others), [1] * len(others)))
    return np.round(shares * areas[:, None])


def _joined(images: Sequence[_ImageMatches]) -> CityscapesMatches:
    """The matches of single images together, by score."""
    scores, true_positive, false_positive, objects = zip(*images, strict=True)
    all_scores = np.concatenate(scores)
    order = np.argsort(-all_scores, kind="stable")
    places = np.repeat(np.arange(len(images)), [len(of_image) for of_image in scores])
    return CityscapesMatches(
        image=places[order],
        score=all_scores[order],
        true_positive=np.concatenate(true_positive, axis=1)[:, order],
        false_positive=np.concatenate(false_positive, axis=1)[:, order],
        objects=np.array(objects, int),
    )
