"""COCO average precision from ground truth and detections, with the skeleton's own sigmas."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from roilab.skeleton import Skeleton

Results = dict[str, dict[str, float | None]]
# The rows of COCO's area axis, under Detectron2's names; keypoints have no small ones.
_AREAS = {
    "bbox": {"APs": 1, "APm": 2, "APl": 3},
    "segm": {"APs": 1, "APm": 2, "APl": 3},
    "keypoints": {"APm": 1, "APl": 2},
}


def average_precision(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    skeleton: Skeleton | None = None,
) -> Results:
    """AP in percent, by COCO's rules (pycocotools).

    Args:
        truth: COCO json data, as `DetectionDataset.coco_json` makes it.
        detections: COCO result rows: image_id, category_id, score, bbox, and segmentation (RLE) and
            keypoints where the task needs them; masks are ranked by `mask_score` where there is.
        tasks: of "bbox", "segm", "keypoints".
        skeleton: gives the OKS sigmas, and the classes that the keypoint AP is over.

    Returns:
        `{task: {metric: percent}}` with Detectron2's names (AP, AP50, AP75, APs, APm, APl) and, per
        class, `AP-<class>` and `AP50-<class>`. None where there is no such ground truth.
    """
    results: Results = {}
    for task in tasks:
        categories = [
            category
            for category in truth["categories"]
            if task != "keypoints" or (skeleton and category["name"] in skeleton.classes)
        ]
        # COCO prints its progress; our callers show their own.
        with contextlib.redirect_stdout(io.StringIO()):
            results[task] = _one_task(truth, detections, task, categories, skeleton)
    return results


def _one_task(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    task: str,
    categories: Sequence[Mapping[str, Any]],
    skeleton: Skeleton | None,
) -> dict[str, float | None]:
    # COCOeval writes into the rows it is given.
    ground_truth = COCO()
    ground_truth.dataset = {
        **truth,
        "annotations": [dict(anno) for anno in truth["annotations"]],
    }
    ground_truth.createIndex()
    # Without its box, a mask result's area is that of its mask, which decides APs, APm and APl.
    hidden = {"segm": {"bbox", "keypoints"}, "bbox": {"segmentation", "keypoints"}}.get(
        task, {"segmentation"}
    )
    rows = [{k: v for k, v in row.items() if k not in hidden} for row in detections]
    if task == "segm":
        rows = [{**row, "score": row.get("mask_score", row["score"])} for row in rows]
    if not rows:
        has = [anno["category_id"] for anno in truth["annotations"]]
        return _no_detections(task, categories, has)
    evaluator = COCOeval(ground_truth, ground_truth.loadRes(rows), task)
    evaluator.params.catIds = [category["id"] for category in categories]
    if task == "keypoints" and skeleton is not None:
        evaluator.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
    evaluator.evaluate()
    evaluator.accumulate()
    # (IoU thresholds, recalls, classes, areas, most detections an image); -1 where undefined.
    precision = evaluator.eval["precision"][..., -1]
    thresholds = [float(value) for value in evaluator.params.iouThrs]
    at50, at75 = (int(np.argmin(np.abs(np.subtract(thresholds, t)))) for t in (0.5, 0.75))
    metrics: dict[str, float | None] = {
        "AP": _mean(precision[:, :, :, 0]),
        "AP50": _mean(precision[at50, :, :, 0]),
        "AP75": _mean(precision[at75, :, :, 0]),
    }
    metrics |= {name: _mean(precision[:, :, :, index]) for name, index in _AREAS[task].items()}
    for index, category in enumerate(categories):
        metrics[f"AP-{category['name']}"] = _mean(precision[:, :, index, 0])
        metrics[f"AP50-{category['name']}"] = _mean(precision[at50, :, index, 0])
    return metrics


def _no_detections(
    task: str, categories: Sequence[Mapping[str, Any]], has: Sequence[int]
) -> dict[str, float | None]:
    """What COCO would give for a model that finds nothing (its loadRes fails on an empty list)."""
    overall = 0.0 if any(category["id"] in has for category in categories) else None
    metrics: dict[str, float | None] = dict.fromkeys(["AP", "AP50", "AP75", *_AREAS[task]], overall)
    for category in categories:
        value = 0.0 if category["id"] in has else None
        metrics |= {f"AP-{category['name']}": value, f"AP50-{category['name']}": value}
    return metrics


def _mean(precision: np.ndarray) -> float | None:
    valid = precision[precision > -1]
    return float(100 * valid.mean()) if valid.size else None
