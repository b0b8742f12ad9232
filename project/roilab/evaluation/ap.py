"""COCO average precision from ground truth and detections, with the skeleton's own sigmas."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval

from roilab.skeleton import Skeleton

Results = dict[str, dict[str, float | None]]
# COCO's tasks in words, for messages and tables.
TASK_NAMES = {"bbox": "box", "segm": "mask", "keypoints": "keypoint"}
# The largest number of detections of a class that count in an image, by COCO's rules.
COCO_MAX_DETECTIONS = {"bbox": 100, "segm": 100, "keypoints": 20}
# The rows of COCO's area axis, under Detectron2's names; keypoints have no small ones.
_AREAS = {
    "bbox": {"APs": 1, "APm": 2, "APl": 3},
    "segm": {"APs": 1, "APm": 2, "APl": 3},
    "keypoints": {"APm": 1, "APl": 2},
}
# The keys of a detection that a task needs. The area, which decides APs, APm and APl, is that of
# the box, or without a box that of the mask.
_KEYS = {"bbox": ("bbox",), "segm": ("segmentation",), "keypoints": ("bbox", "keypoints")}


def average_precision(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    skeleton: Skeleton | None = None,
    max_detections: int | None = None,
) -> Results:
    """AP in percent, by COCO's rules (hotcoco, which gives pycocotools' figures in less time).

    Args:
        truth: COCO json data, as `DetectionDataset.coco_json` returns it.
        detections: COCO result rows: image_id, category_id, score, bbox, and segmentation (RLE) and
            keypoints where the task needs them; masks are ranked by `mask_score` if a row has it.
        tasks: of "bbox", "segm", "keypoints".
        skeleton: gives the OKS sigmas, and the classes that the keypoint AP is over.
        max_detections: how many detections of a class count in an image, the best by score; None:
            see `detection_limit`.

    Returns:
        `{task: {metric: percent}}` with Detectron2's names (AP, AP50, AP75, APs, APm, APl) and, per
        class, `AP-<class>` and `AP50-<class>`. None where there is no such ground truth.
    """
    return {task: _one_task(truth, detections, task, skeleton, max_detections) for task in tasks}


def flat(results: Results) -> dict[str, float | None]:
    """AP by `task/metric`, as metrics are logged and `train.best` names them."""
    return {
        f"{task}/{name}": ap for task, metrics in results.items() for name, ap in metrics.items()
    }


def scored_categories(
    truth: Mapping[str, Any], task: str, skeleton: Skeleton | None
) -> list[Mapping[str, Any]]:
    """The categories that a task's AP is over."""
    return [
        category
        for category in truth["categories"]
        if task != "keypoints" or (skeleton and category["name"] in skeleton.classes)
    ]


def objects_per_image(
    truth: Mapping[str, Any], task: str, skeleton: Skeleton | None, *, by_class: bool
) -> Counter[tuple[int, int]]:
    """The number of objects that count for a task, by (image id, category id).

    Without `by_class` they are objects of all classes, and the category id is 0. Crowds do not
    count, nor for the task "keypoints" objects without a labelled keypoint.
    """
    categories = {category["id"] for category in scored_categories(truth, task, skeleton)}
    return Counter(
        (anno["image_id"], anno["category_id"] if by_class else 0)
        for anno in truth["annotations"]
        if anno["category_id"] in categories
        and not anno.get("iscrowd", 0)
        and (task != "keypoints" or anno.get("num_keypoints", 0) > 0)
    )


def detection_limit(
    truth: Mapping[str, Any],
    task: str,
    skeleton: Skeleton | None,
    max_detections: int | None,
    *,
    by_class: bool = True,
) -> int:
    """The largest number of detections of a class, or of all classes, that count in an image.

    Without `max_detections` it is COCO's, `COCO_MAX_DETECTIONS`, or the largest number of objects
    in an image where that is more: with fewer, perfect detections would not have an AP of 100.
    """
    if max_detections is not None:
        return max_detections
    objects = objects_per_image(truth, task, skeleton, by_class=by_class)
    return max(COCO_MAX_DETECTIONS[task], *objects.values(), 0)


def coco_eval(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    task: str,
    skeleton: Skeleton | None,
    max_detections: int | None = None,
) -> COCOeval:
    """COCO's evaluation of one task, ready to run; arguments as for `average_precision`."""
    keys = ("image_id", "category_id", *_KEYS[task])
    rows = [
        {key: row[key] for key in keys if key in row}
        | {"score": row.get("mask_score", row["score"]) if task == "segm" else row["score"]}
        for row in detections
    ]
    ground_truth = COCO(dict(truth))
    coco = COCOeval(ground_truth, ground_truth.load_res(rows), task)
    coco.params.max_dets = [detection_limit(truth, task, skeleton, max_detections)]
    coco.params.cat_ids = [category["id"] for category in scored_categories(truth, task, skeleton)]
    if task == "keypoints" and skeleton is not None:
        coco.params.kpt_oks_sigmas = list(skeleton.sigmas)
    return coco


def _one_task(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    task: str,
    skeleton: Skeleton | None,
    max_detections: int | None,
) -> dict[str, float | None]:
    coco = coco_eval(truth, detections, task, skeleton, max_detections)
    coco.evaluate()
    coco.accumulate()
    # (IoU thresholds, recalls, classes, areas, most detections an image); -1 where undefined.
    curves: Any = coco.eval
    precision = curves["precision"][..., -1]
    thresholds = [float(value) for value in coco.params.iou_thrs]
    at50, at75 = (int(np.argmin(np.abs(np.subtract(thresholds, t)))) for t in (0.5, 0.75))
    metrics: dict[str, float | None] = {
        "AP": _mean(precision[:, :, :, 0]),
        "AP50": _mean(precision[at50, :, :, 0]),
        "AP75": _mean(precision[at75, :, :, 0]),
    }
    metrics |= {name: _mean(precision[:, :, :, index]) for name, index in _AREAS[task].items()}
    for index, category in enumerate(scored_categories(truth, task, skeleton)):
        metrics[f"AP-{category['name']}"] = _mean(precision[:, :, index, 0])
        metrics[f"AP50-{category['name']}"] = _mean(precision[at50, :, index, 0])
    return metrics


def _mean(precision: np.ndarray) -> float | None:
    valid = precision[precision > -1]
    return float(100 * valid.mean()) if valid.size else None
