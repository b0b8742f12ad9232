"""Average precision by COCO's rules with the skeleton's own sigmas, and what counts for it.

The masks of Cityscapes are evaluated by the rules of Cityscapes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval

from roilab.evaluation.cityscapes_ap import match_cityscapes
from roilab.skeleton import Skeleton

Results = dict[str, dict[str, float | None]]
# COCO result rows.
Detections = Sequence[Mapping[str, Any]]
# COCO's tasks in words, for messages and tables.
TASK_NAMES = {"bbox": "box", "segm": "mask", "keypoints": "keypoint"}
# The largest number of detections of a class that count in an image, by COCO's rules.
COCO_MAX_DETECTIONS = {"bbox": 100, "segm": 100, "keypoints": 20}
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # and those of OKS
# By Detectron2's names: the area of the objects that count, and which thresholds. Keypoints have no
# small objects.
METRICS = {
    "AP": ("all", slice(None)),
    "AP50": ("all", slice(0, 1)),
    "AP75": ("all", slice(5, 6)),
    "APs": ("small", slice(None)),
    "APm": ("medium", slice(None)),
    "APl": ("large", slice(None)),
}
# The keys of a detection that a task needs. The area, which decides APs, APm and APl, is that of
# the box, or without a box that of the mask.
_KEYS = {"bbox": ("bbox",), "segm": ("segmentation",), "keypoints": ("bbox", "keypoints")}


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The objects that detections are compared with, and how many detections count.

    Attributes:
        coco: COCO json data, as `DetectionDataset.coco_json` returns it.
        skeleton: gives the OKS sigmas, and the classes that the keypoint AP is over.
        max_detections: how many detections of a class count in an image, the best by score; None:
            see `detection_limit`.
    """

    coco: Mapping[str, Any]
    skeleton: Skeleton | None = None
    max_detections: int | None = None

    @property
    def is_cityscapes(self) -> bool:
        """Whether the images are of Cityscapes: see `roilab.evaluation.cityscapes_ap`."""
        images = self.coco["images"]
        return bool(images) and all("void" in image for image in images)

    def categories(self, task: str) -> list[Mapping[str, Any]]:
        """The categories that a task's AP is over."""
        posed = self.skeleton.classes if self.skeleton is not None else ()
        rows = self.coco["categories"]
        return [row for row in rows if task != "keypoints" or row["name"] in posed]

    def objects_per_image(self, task: str, *, by_class: bool = True) -> Counter[tuple[int, int]]:
        """The number of objects that count for a task, by (image id, category id).

        Without `by_class` they are objects of all classes, and the category id is 0. Crowds do not
        count, nor for the task "keypoints" objects without a labelled keypoint.
        """
        categories = {category["id"] for category in self.categories(task)}
        return Counter(
            (anno["image_id"], anno["category_id"] if by_class else 0)
            for anno in self.coco["annotations"]
            if anno["category_id"] in categories
            and not anno.get("iscrowd", 0)
            and (task != "keypoints" or anno.get("num_keypoints", 0) > 0)
        )

    def detection_limit(self, task: str, *, by_class: bool = True) -> int:
        """The largest number of detections of a class, or of all classes, that count in an image.

        Without `max_detections` it is COCO's, `COCO_MAX_DETECTIONS`, or the largest number of
        objects in an image where that is more: with fewer, perfect detections would not have an AP
        of 100.
        """
        if self.max_detections is not None:
            return self.max_detections
        objects = self.objects_per_image(task, by_class=by_class)
        return max(COCO_MAX_DETECTIONS[task], *objects.values(), 0)


def average_precision(truth: GroundTruth, detections: Detections, tasks: Sequence[str]) -> Results:
    """AP in percent, by COCO's rules (hotcoco, which gives pycocotools' figures in less time).

    That of the masks of Cityscapes is by its own rules.

    Args:
        detections: COCO result rows: image_id, category_id, score, bbox, and segmentation (RLE) and
            keypoints where the task needs them; masks are ranked by `mask_score` if a row has it.
        tasks: of "bbox", "segm", "keypoints".

    Returns:
        `{task: {metric: percent}}` with Detectron2's names (AP, AP50, AP75, APs, APm, APl) and, per
        class, `AP-<class>` and `AP50-<class>`. None where there is no such ground truth.
    """
    results: Results = {}
    for task in tasks:
        if task == "segm" and truth.is_cityscapes:
            results[task] = _of_cityscapes(truth, detections)
            continue
        coco = coco_eval(truth, detections, task)
        coco.evaluate()
        coco.accumulate()
        # (IoU thresholds, recalls, classes, areas, most detections an image); -1 where undefined.
        curves: Any = coco.eval
        precision = curves["precision"][..., -1]
        areas = list(coco.params.area_rng_lbl)
        parts = {
            name: precision[thresholds, ..., areas.index(area)]
            for name, (area, thresholds) in METRICS.items()
            if area in areas
        }
        for index, category in enumerate(truth.categories(task)):
            parts[f"AP-{category['name']}"] = parts["AP"][..., index]
            parts[f"AP50-{category['name']}"] = parts["AP50"][..., index]
        results[task] = {name: _mean_percent(part) for name, part in parts.items()}
    return results


def _of_cityscapes(truth: GroundTruth, detections: Detections) -> dict[str, float | None]:
    """Mask AP in percent by Cityscapes' rules: all that has no areas of objects."""
    once = np.ones((1, len(truth.coco["images"])), int)
    matches = match_cityscapes(truth.coco, detections)
    by_class = np.concatenate([of_class.ap(once) for of_class in matches.values()])
    precision = np.where(np.isnan(by_class), -1, by_class)  # classes x thresholds
    parts = {name: precision[:, of] for name, (area, of) in METRICS.items() if area == "all"}
    for name, values in zip(matches, precision, strict=True):
        parts[f"AP-{name}"] = values
        parts[f"AP50-{name}"] = values[:1]
    return {name: _mean_percent(part) for name, part in parts.items()}


def _mean_percent(precision: np.ndarray) -> float | None:
    """The mean in percent without undefined values, which are -1; None without others."""
    defined = precision[precision > -1]
    return float(100 * defined.mean()) if defined.size else None


def flat(results: Results) -> dict[str, float | None]:
    """AP by `task/metric`, as metrics are logged and `train.best` names them."""
    return {
        f"{task}/{name}": ap for task, metrics in results.items() for name, ap in metrics.items()
    }


def coco_eval(truth: GroundTruth, detections: Detections, task: str) -> COCOeval:
    """COCO's evaluation of one task, ready to run, for detections as of `average_precision`."""
    keys = ("image_id", "category_id", *_KEYS[task])
    rows = []
    for detection in detections:
        row = {key: detection[key] for key in keys if key in detection}
        row["score"] = detection["score"]
        if task == "segm":
            row["score"] = detection.get("mask_score", detection["score"])
        rows.append(row)
    ground_truth = COCO(dict(truth.coco))
    coco = COCOeval(ground_truth, ground_truth.load_res(rows), task)
    coco.params.max_dets = [truth.detection_limit(task)]
    coco.params.cat_ids = [category["id"] for category in truth.categories(task)]
    if task == "keypoints" and truth.skeleton is not None:
        coco.params.kpt_oks_sigmas = list(truth.skeleton.sigmas)
    return coco


def _limited(truth: GroundTruth, tasks: Sequence[str]) -> list[str]:
    """The tasks whose AP counts a limited number of detections: not the masks of Cityscapes."""
    return [task for task in tasks if task != "segm" or not truth.is_cityscapes]


def raised_limits(truth: GroundTruth, tasks: Sequence[str]) -> list[str]:
    """Sentences about the tasks whose AP counts more detections than COCO's, with the numbers.

    There is none where `truth.max_detections` sets their number.
    """
    if truth.max_detections is not None:
        return []
    names: dict[str, list[str]] = {}  # of the tasks that share a sentence
    for task in _limited(truth, tasks):
        stock = COCO_MAX_DETECTIONS[task]
        limit = truth.detection_limit(task)
        if limit > stock:
            images = _images(truth, truth.objects_per_image(task), stock)
            text = f"{images} more than {stock} objects of a class, so that the best {limit} count"
            names.setdefault(text, []).append(f"{TASK_NAMES[task]} AP")
    return [f"{text} for {' and '.join(of_text)}" for text, of_text in names.items()]


def exceeded_limits(
    truth: GroundTruth, tasks: Sequence[str], limits_of_model: Mapping[str, int]
) -> list[str]:
    """Sentences about the limits that leave out objects of a data set, with the numbers.

    No model reaches an AP of 100 on such images: objects beyond a limit count as missed. Limits of
    the model are on the detections of all classes in an image, by the config key that sets them.
    """
    # Limits that leave out the same objects share a sentence.
    names: dict[str, list[str]] = {}

    def add(name: str, objects: Counter[tuple[int, int]], limit: int, counted: str) -> None:
        lost = sum(max(0, number - limit) for number in objects.values())
        if lost:
            text = (
                f"{_images(truth, objects, limit)} more than {limit} {counted}, up to "
                f"{max(objects.values())}: {lost} of {objects.total()} objects are left out"
            )
            names.setdefault(text, []).append(name)

    for task in _limited(truth, tasks):
        objects = truth.objects_per_image(task)
        limit = truth.detection_limit(task)
        add(f"{TASK_NAMES[task]} AP", objects, limit, "objects of a class")
    of_all_classes = truth.objects_per_image("bbox", by_class=False)
    for key, limit in limits_of_model.items():
        add(f"the model ({key})", of_all_classes, limit, "objects")
    return [f"{text} by {' and '.join(of_text)}" for text, of_text in names.items()]


def _images(truth: GroundTruth, objects: Counter[tuple[int, int]], limit: int) -> str:
    """The images beyond a limit as the subject of a sentence, with its verb."""
    count = len({image for (image, _), number in objects.items() if number > limit})
    return f"{count} of {len(truth.coco['images'])} images {'has' if count == 1 else 'have'}"
