"""Analysis of an AP: by IoU threshold, image, operating point, confused class and keypoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roilab.evaluation.ap import GroundTruth, coco_eval
from roilab.evaluation.matches import Matches, match_detections
from roilab.skeleton import Skeleton, oks_terms

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # and those of OKS


@dataclass(frozen=True)
class OperatingPoint:
    """The detections of a class from some score on, matched at IoU or OKS 0.5."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float | None:
        """The share of the detections that match an object; None without detections."""
        detections = self.true_positives + self.false_positives
        return self.true_positives / detections if detections else None

    @property
    def recall(self) -> float | None:
        """The share of the objects that a detection matches; None without objects."""
        objects = self.true_positives + self.false_negatives
        return self.true_positives / objects if objects else None


@dataclass(frozen=True)
class TaskAnalysis:
    """The analysis of one task, see `ap_by_iou`, `operating_point` of each class, `image_ap50`."""

    ap_by_iou: Sequence[float | None]
    operating_points: Mapping[str, OperatingPoint]
    image_ap50: Sequence[float | None]


@dataclass(frozen=True, eq=False)
class Analysis:
    """The analysis of a model's AP on a data set; a value is None without such objects.

    Attributes:
        score: the least score of a detection in operating points and confused classes.
        images: the images' files, in order of their ids.
        labels, confusion: see `confusion_matrix`.
        keypoint_oks: see `keypoint_oks`; empty where keypoints are not among the tasks.
    """

    score: float
    images: Sequence[str]
    tasks: Mapping[str, TaskAnalysis]
    labels: Sequence[str]
    confusion: np.ndarray
    keypoint_oks: Mapping[str, float | None]

    def worst_images(self, count: int) -> list[int]:
        """Positions of the images with the lowest per-image AP@0.5, the mean over tasks."""
        means = _column_means(np.array([t.image_ap50 for t in self.tasks.values()], float))
        ranked = sorted((mean, position) for position, mean in enumerate(means) if mean is not None)
        return [position for _, position in ranked[:count]]


def analyze(
    truth: GroundTruth,
    detections: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    score: float,
) -> Analysis:
    """Analyze detections, each task matched once; arguments as for `average_precision`.

    Where a head rates its masks, the rating of a mask has to reach the score.
    """
    labels, confusion = confusion_matrix(truth, detections, score)
    analyses = {}
    for task in tasks:
        matches = match_detections(truth, detections, task)
        analyses[task] = TaskAnalysis(
            ap_by_iou(matches),
            {name: operating_point(of_class, score) for name, of_class in matches.items()},
            image_ap50(matches),
        )
    return Analysis(
        score=score,
        images=[
            image["file_name"] for image in sorted(truth.coco["images"], key=lambda row: row["id"])
        ],
        tasks=analyses,
        labels=labels,
        confusion=confusion,
        keypoint_oks=keypoint_oks(truth, detections) if "keypoints" in tasks else {},
    )


def ap_by_iou(matches: Mapping[str, Matches]) -> list[float | None]:
    """AP in percent at each of `IOU_THRESHOLDS`, the mean over classes."""
    once = np.ones((1, len(next(iter(matches.values())).objects)), int)
    return _column_means(100 * np.concatenate([of_class.ap(once) for of_class in matches.values()]))


def image_ap50(matches: Mapping[str, Matches]) -> list[float | None]:
    """For each image, as if it were the whole set, the AP at 0.5 in percent over its classes.

    Their mean is not COCO's AP50, which ranks the detections of all images together.
    """
    return _column_means(100 * np.stack([_image_ap50(of_class) for of_class in matches.values()]))


def _image_ap50(matches: Matches) -> np.ndarray:
    """I, from 0 to 1: the AP at 0.5 of each image; NaN where it has no object."""
    result = np.full(len(matches.objects), np.nan)
    order = np.argsort(matches.image, kind="stable")
    ends = np.searchsorted(matches.image[order], np.arange(len(result) + 1))
    for image in np.flatnonzero(matches.objects):
        # Only its own detections: as a weight of 1 among zeros, an image costs as much as the set.
        own = order[ends[image] : ends[image + 1]]
        part = Matches(
            np.zeros(len(own), int),
            matches.score[own],
            matches.true_positive[:1, own],
            matches.false_positive[:1, own],
            matches.objects[[image]],
        )
        result[image] = part.ap(np.ones((1, 1), int))[0, 0]
    return result


def operating_point(matches: Matches, score: float) -> OperatingPoint:
    """The operating point of a class; an object that only a worse detection matches is missed."""
    kept = matches.score >= score
    right = int((matches.true_positive[0] & kept).sum())
    wrong = int((matches.false_positive[0] & kept).sum())
    return OperatingPoint(right, wrong, int(matches.objects.sum()) - right)


def confusion_matrix(
    truth: GroundTruth, detections: Sequence[Mapping[str, Any]], score: float
) -> tuple[list[str], np.ndarray]:
    """Boxes of each class that were detected as another class, at IoU 0.5.

    Returns:
        The classes and at last "background", and how often an object of a row's class was detected
        as a column's: the last column counts missed objects, the last row detections of nothing.
    """
    coco = coco_eval(truth, detections, "bbox", by_class=False)
    confusion = coco.confusion_matrix(min_score=score)
    return [*confusion["cat_names"], "background"], confusion["matrix"].astype(int)


def keypoint_oks(
    truth: GroundTruth, detections: Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
    """The mean OKS term of each keypoint over the objects that a detection matches at OKS 0.5.

    Matched by COCO's rules; labelled keypoints only. From 0 to 1; None without such objects; empty
    without a skeleton.
    """
    skeleton = truth.skeleton
    if skeleton is None:
        return {}
    coco = coco_eval(truth, detections, "keypoints")
    coco.params.area_rng, coco.params.area_rng_lbl = [[0, 1e10]], ["all"]
    coco.evaluate()
    objects = {anno["id"]: anno for anno in truth.coco["annotations"]}
    rows = coco.coco_dt.anns
    terms = [np.zeros((0, len(skeleton.keypoints)))]
    for image in filter(None, coco.eval_imgs):
        ids, ignored = image["gtIds"], image["gtIgnore"]
        pairs = zip(ids, image["gtMatches"][0], image["gtMatched"][0], ignored, strict=True)
        for object_id, row_id, is_matched, is_ignored in pairs:
            if is_matched and not is_ignored:
                terms.append(_labelled_terms(objects[object_id], rows[row_id], skeleton)[None])
    return dict(zip(skeleton.keypoints, _column_means(np.concatenate(terms)), strict=True))


def _labelled_terms(
    anno: Mapping[str, Any], row: Mapping[str, Any], skeleton: Skeleton
) -> np.ndarray:
    """K terms of OKS; NaN where a keypoint is not labelled."""
    points, detected = (np.asarray(r["keypoints"], float).reshape(-1, 3) for r in (anno, row))
    terms = oks_terms(points[:, :2], detected[:, :2], anno["area"], skeleton.sigmas)
    return np.where(points[:, 2] > 0, terms, np.nan)


def running_mean(values: Sequence[float | None]) -> list[float | None]:
    """The mean of the values so far at each position, without those that are None."""
    total, count = 0.0, 0
    means: list[float | None] = []
    for value in values:
        if value is not None:
            total, count = total + value, count + 1
        means.append(total / count if count else None)
    return means


def _column_means(values: np.ndarray) -> list[float | None]:
    """The mean of each column without NaN; None for a column of NaN."""
    means: list[float | None] = np.ma.masked_invalid(values).mean(axis=0).tolist()
    return means
