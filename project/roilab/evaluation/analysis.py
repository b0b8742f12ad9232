"""Analysis of an AP: by IoU threshold, image, operating point, confused class and keypoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roilab.evaluation.ap import Detections, GroundTruth, coco_eval
from roilab.evaluation.bootstrap import match_detections
from roilab.evaluation.matches import Matches
from roilab.skeleton import oks_terms


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


@dataclass(frozen=True, eq=False)
class Analysis:
    """The analysis of a model's AP on a data set; a value is None without such objects.

    Attributes:
        score: the least score of a detection in operating points and confused classes.
        images: the images' files, in order of their ids.
        ap_by_iou, image_ap50: by task, see the functions of these names.
        operating_points: by task and class.
        labels, confusion: see `confusion_matrix`.
        keypoint_oks: see `keypoint_oks`; empty where keypoints are not among the tasks.
    """

    score: float
    images: Sequence[str]
    ap_by_iou: Mapping[str, Sequence[float | None]]
    image_ap50: Mapping[str, Sequence[float | None]]
    operating_points: Mapping[str, Mapping[str, OperatingPoint]]
    labels: Sequence[str]
    confusion: np.ndarray
    keypoint_oks: Mapping[str, float | None]

    def worst_images(self, count: int) -> list[int]:
        """Positions of the images with the lowest per-image AP@0.5, the mean over tasks."""
        values = np.array(list(self.image_ap50.values()), float)
        means = enumerate(_column_means(values))
        ranked = sorted((mean, position) for position, mean in means if mean is not None)
        return [position for _, position in ranked[:count]]


def analyze(
    truth: GroundTruth, detections: Detections, tasks: Sequence[str], score: float
) -> Analysis:
    """Analyze detections, each task matched once; arguments as for `average_precision`.

    Where a head rates its masks, the rating of a mask has to reach the score.
    """
    images = sorted(truth.coco["images"], key=lambda image: image["id"])
    matches = {task: match_detections(truth, detections, task) for task in tasks}
    labels, confusion = confusion_matrix(truth, detections, score)
    return Analysis(
        score=score,
        images=[image["file_name"] for image in images],
        ap_by_iou={task: ap_by_iou(classes) for task, classes in matches.items()},
        image_ap50={task: image_ap50(classes) for task, classes in matches.items()},
        operating_points={
            task: {name: operating_point(of_class, score) for name, of_class in classes.items()}
            for task, classes in matches.items()
        },
        labels=labels,
        confusion=confusion,
        keypoint_oks=keypoint_oks(truth, detections) if "keypoints" in tasks else {},
    )


def ap_by_iou(matches: Mapping[str, Matches]) -> list[float | None]:
    """AP in percent at each of `IOU_THRESHOLDS`, the mean over classes."""
    images = len(next(iter(matches.values())).objects)
    once = np.ones((1, images), int)
    by_class = np.concatenate([of_class.ap(once) for of_class in matches.values()])
    return _column_means(100 * by_class)


def image_ap50(matches: Mapping[str, Matches]) -> list[float | None]:
    """For each image, as if it were the whole set, the AP at 0.5 in percent over its classes.

    Their mean is not COCO's AP50, which ranks the detections of all images together.
    """
    once = np.ones((1, 1), int)
    values = []
    for of_class in matches.values():
        ap = np.full(len(of_class.objects), np.nan)  # NaN without an object
        order = np.argsort(of_class.image, kind="stable")
        ends = np.searchsorted(of_class.image[order], np.arange(len(ap) + 1))
        for image in np.flatnonzero(of_class.objects):
            # Its own detections alone: as a weight of 1 among zeros it would cost as much as all.
            own = order[ends[image] : ends[image + 1]]
            part = replace(
                of_class,
                image=np.zeros(len(own), int),
                score=of_class.score[own],
                true_positive=of_class.true_positive[:1, own],
                false_positive=of_class.false_positive[:1, own],
                objects=of_class.objects[[image]],
            )
            ap[image] = part.ap(once)[0, 0]
        values.append(100 * ap)
    return _column_means(np.stack(values))


def operating_point(matches: Matches, score: float) -> OperatingPoint:
    """The operating point of a class; an object that only a worse detection matches is missed."""
    kept = matches.score >= score
    true_positives = int((matches.true_positive[0] & kept).sum())
    false_positives = int((matches.false_positive[0] & kept).sum())
    false_negatives = int(matches.objects.sum()) - true_positives
    return OperatingPoint(true_positives, false_positives, false_negatives)


def confusion_matrix(
    truth: GroundTruth, detections: Detections, score: float
) -> tuple[list[str], np.ndarray]:
    """Boxes of each class that were detected as another class, at IoU 0.5.

    Returns:
        The classes and at last "background", and how often an object of a row's class was detected
        as a column's: the last column counts missed objects, the last row detections of nothing.
    """
    coco = coco_eval(truth, detections, "bbox")
    # Detections of all classes in an image are matched together.
    coco.params.max_dets = [truth.detection_limit("bbox", by_class=False)]
    confusion = coco.confusion_matrix(min_score=score)
    return [*confusion["cat_names"], "background"], confusion["matrix"].astype(int)


def keypoint_oks(truth: GroundTruth, detections: Detections) -> dict[str, float | None]:
    """The mean OKS term of each keypoint over the objects that a detection matches at OKS 0.5.

    Matched by COCO's rules; labelled keypoints only. From 0 to 1; None without such objects; empty
    without a skeleton.
    """
    skeleton = truth.skeleton
    if skeleton is None:
        return {}
    coco = coco_eval(truth, detections, "keypoints")
    coco.params.area_rng = [[0, 1e10]]
    coco.params.area_rng_lbl = ["all"]
    coco.evaluate()
    objects = {anno["id"]: anno for anno in truth.coco["annotations"]}
    terms = [np.full(len(skeleton.keypoints), np.nan)]  # a row for each matched object
    for image in filter(None, coco.eval_imgs):
        columns = (image["gtIds"], image["gtMatches"][0], image["gtMatched"][0], image["gtIgnore"])
        for object_id, row_id, is_matched, is_ignored in zip(*columns, strict=True):
            if is_matched and not is_ignored:
                anno = objects[object_id]
                points = np.reshape(anno["keypoints"], (-1, 3))
                detected = np.reshape(coco.coco_dt.anns[row_id]["keypoints"], (-1, 3))
                oks = oks_terms(points[:, :2], detected[:, :2], anno["area"], skeleton.sigmas)
                terms.append(np.where(points[:, 2] > 0, oks, np.nan))
    return dict(zip(skeleton.keypoints, _column_means(np.stack(terms)), strict=True))


def running_mean(values: Sequence[float | None]) -> list[float | None]:
    """The mean of the values so far at each position, without those that are None."""
    numbers = np.array(values, float)
    totals = np.nancumsum(numbers).tolist()
    counts = np.cumsum(~np.isnan(numbers)).tolist()
    return [total / count if count else None for total, count in zip(totals, counts, strict=True)]


def _column_means(values: np.ndarray) -> list[float | None]:
    """The mean of each column without NaN; None for a column of NaN."""
    means: list[float | None] = np.ma.masked_invalid(values).mean(axis=0).tolist()
    return means
