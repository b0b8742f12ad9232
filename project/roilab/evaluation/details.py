"""Analysis of an AP: by IoU threshold, image, working point, confused class and joint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roilab.evaluation.ap import detection_limit, evaluator
from roilab.evaluation.matches import Matches
from roilab.skeleton import Skeleton, oks_terms

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # of IoU or OKS


def strictness(matches: Mapping[str, Matches]) -> list[float | None]:
    """AP in percent at each of `THRESHOLDS`, the mean over classes."""
    once = np.ones((1, len(_any(matches).objects)), int)
    ap = np.concatenate([each.ap(once) for each in matches.values()])
    return [_mean(column) for column in ap.T]


def image_ap50(matches: Mapping[str, Matches]) -> list[float | None]:
    """For each image, as if it were the whole set, the AP at 0.5 in percent over its classes.

    Their mean is not COCO's AP50, which ranks the detections of all images together.
    """
    ap = np.stack([_alone(each) for each in matches.values()])
    return [_mean(column) for column in ap.T]


def _alone(matches: Matches) -> np.ndarray:
    """I, from 0 to 1: the AP at 0.5 of each image; NaN where it has no object."""
    result = np.full(len(matches.objects), np.nan)
    order = np.argsort(matches.image, kind="stable")
    ends = np.searchsorted(matches.image[order], np.arange(len(result) + 1))
    for image in np.flatnonzero(matches.objects):
        # Of its own detections alone: as weights of all of them, an image costs as much as the set.
        own = order[ends[image] : ends[image + 1]]
        part = Matches(
            np.zeros(len(own), int),
            matches.score[own],
            matches.right[:1, own],
            matches.wrong[:1, own],
            matches.objects[[image]],
        )
        result[image] = part.ap(np.ones((1, 1), int))[0, 0]
    return result


@dataclass(frozen=True)
class WorkingPoint:
    """Counts at IoU or OKS 0.5 of the detections from some score on."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float | None:
        """The share of the detections that is right; None: there is no detection."""
        found = self.right + self.wrong
        return self.right / found if found else None

    @property
    def recall(self) -> float | None:
        """The share of the objects that is found; None: there is no object."""
        objects = self.right + self.missed
        return self.right / objects if objects else None


def working_point(matches: Matches, score: float) -> WorkingPoint:
    """The working point of a class. An object that only a worse detection matches is missed."""
    taken = matches.score >= score
    right, wrong = (int((each[0] & taken).sum()) for each in (matches.right, matches.wrong))
    return WorkingPoint(right, wrong, int(matches.objects.sum()) - right)


def confusion(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    score: float,
    max_detections: int | None = None,
) -> tuple[list[str], np.ndarray]:
    """Boxes of each class that were taken for another one, at IoU 0.5.

    Returns:
        The classes and at last "background", and how often an object of a row's class was found as
        a column's: the last column has objects that were missed, the last row what is nothing.
    """
    limit = detection_limit(truth, "bbox", None, max_detections, by_class=False)
    coco = evaluator(truth, detections, "bbox", None, limit)
    found = coco.confusion_matrix(min_score=score)
    return [*found["cat_names"], "background"], found["matrix"].astype(int)


def joints(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    skeleton: Skeleton,
    max_detections: int | None = None,
) -> dict[str, float | None]:
    """The mean term of each keypoint in the OKS of an object and the detection it is matched to.

    Matched at OKS 0.5 by COCO's rules; labelled keypoints alone. From 0 to 1, None: there is none.
    """
    coco = evaluator(truth, detections, "keypoints", skeleton, max_detections)
    coco.params.area_rng, coco.params.area_rng_lbl = [[0, 1e10]], ["all"]
    coco.evaluate()
    objects = {anno["id"]: anno for anno in truth["annotations"]}
    found = coco.coco_dt.anns
    terms: list[np.ndarray] = []
    for each in coco.eval_imgs:
        if each is None:
            continue
        pairs = zip(each["gtIds"], each["gtMatches"][0], each["gtMatched"][0], strict=True)
        ignored = dict(zip(each["gtIds"], each["gtIgnore"], strict=True))
        terms += [
            _terms(objects[of], found[by], skeleton)
            for of, by, matched in pairs
            if matched and not ignored[of]
        ]
    every = np.array(terms).reshape(-1, len(skeleton.keypoints))
    means = [_mean(column, scale=1) for column in every.T]
    return dict(zip(skeleton.keypoints, means, strict=True))


def _terms(object_: Mapping[str, Any], found: Mapping[str, Any], skeleton: Skeleton) -> np.ndarray:
    """K terms of OKS; NaN where a keypoint is not labelled."""
    of, by = (np.asarray(each["keypoints"], float).reshape(-1, 3) for each in (object_, found))
    terms = oks_terms(of[:, :2], by[:, :2], object_["area"], skeleton.sigmas)
    return np.where(of[:, 2] > 0, terms, np.nan)


def _any(matches: Mapping[str, Matches]) -> Matches:
    return next(iter(matches.values()))


def _mean(values: np.ndarray, scale: float = 100) -> float | None:
    """The mean of the values that are not NaN."""
    valid = values[~np.isnan(values)]
    return float(scale * valid.mean()) if valid.size else None
