"""Evaluation of a model on a data set: instances -> COCO result rows -> AP."""

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.structures import Instances
from detectron2.utils import comm
from torch import nn

from roilab.data.coco import coco_row, encode_mask
from roilab.data.coordinates import to_pixel_index
from roilab.data.dataset import DetectionDataset
from roilab.evaluation.ap import TASK_NAMES, GroundTruth, Results, average_precision
from roilab.evaluation.memory_bound import MemoryBound, bounded_inference
from roilab.evaluation.tta import AugmentedInference
from roilab.skeleton import Skeleton


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a model on a data set; empty in all processes but the first.

    The detections are COCO result rows; the seconds are the median for an image, if there are any,
    and `image_seconds` those of the single images.
    """

    results: Results
    detections: list[dict[str, Any]]
    seconds: float | None
    image_seconds: Sequence[float] = ()


# An input dict, its instances on the CPU, and the seconds that the model took for it.
Predicted = tuple[dict[str, Any], Instances, float]
_FIELDS = {"segm": "pred_masks", "keypoints": "pred_keypoints"}  # of instances, by task


@torch.inference_mode()
def predict(
    model: nn.Module,
    batches: Iterable[list[dict[str, Any]]],
    bound: MemoryBound | None = None,
    tta: AugmentedInference | None = None,
) -> Iterator[Predicted]:
    """Run a model on batches, in evaluation mode; afterwards its mode is as it was.

    Instances are on the CPU, in the size of the original image; seconds are its share of a batch.
    """
    training = model.training
    model.eval()
    try:
        for batch in batches:
            start = time.perf_counter()
            outputs = [output.to("cpu") for output in bounded_inference(model, batch, bound, tta)]
            seconds = (time.perf_counter() - start) / len(batch)
            for inputs, instances in zip(batch, outputs, strict=True):
                yield inputs, instances, seconds
    finally:
        model.train(training)


def coco_rows(
    image_id: int, instances: Instances, classes: Sequence[str], skeleton: Skeleton | None
) -> list[dict[str, Any]]:
    """Instances of one image as COCO result rows; the instances are not touched.

    Keypoints are given in pixel indices, for classes of the skeleton only. Where a head rates its
    masks, that is `mask_score`, by which masks are ranked in place of `score`.
    """
    boxes = instances.pred_boxes.tensor.double().tolist()
    rows = []
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        category = int(instances.pred_classes[index])
        mask = keypoints = None
        scores = {"score": float(instances.scores[index])}
        if instances.has("pred_masks"):
            mask = encode_mask(instances.pred_masks[index].numpy())
        if instances.has("mask_scores"):
            scores["mask_score"] = float(instances.mask_scores[index])
        posed = skeleton is not None and classes[category] in skeleton.classes
        if posed and instances.has("pred_keypoints"):
            keypoints = to_pixel_index(instances.pred_keypoints[index].numpy())
        box = (x0, y0, x1 - x0, y1 - y0)
        rows.append(
            coco_row(image_id, category + 1, box, segmentation=mask, keypoints=keypoints, **scores)
        )
    return rows


def evaluate(
    predictions: Iterable[Predicted], dataset: DetectionDataset, max_detections: int | None = None
) -> Evaluation:
    """Evaluate predictions; every process has its share, the first returns the result.

    The tasks are boxes, and masks and keypoints where the model has their heads. For
    `max_detections` see `GroundTruth`.
    """
    detections: list[dict[str, Any]] = []
    tasks = {"bbox"}
    times = []
    for inputs, instances, seconds in predictions:
        times.append(seconds)
        tasks |= {task for task, field in _FIELDS.items() if instances.has(field)}
        detections += coco_rows(inputs["image_id"], instances, dataset.classes, dataset.skeleton)
    shares = comm.gather((detections, tasks, times))
    if not comm.is_main_process():
        return Evaluation({}, [], None)
    detections = [row for rows, _, _ in shares for row in rows]
    tasks = set().union(*(names for _, names, _ in shares))
    times = [seconds for _, _, share in shares for seconds in share]
    truth = GroundTruth(dataset.coco_json(), dataset.skeleton, max_detections)
    results = average_precision(truth, detections, [task for task in TASK_NAMES if task in tasks])
    return Evaluation(results, detections, statistics.median(times) if times else None, times)
