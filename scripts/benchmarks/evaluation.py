"""AP of random detections by our evaluation, against pycocotools and Detectron2's evaluator."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, BoxMode, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from benchmarks import Benchmark
from roilab.data.coco import CocoIds
from roilab.data.dataset import DetectionDataset, register_dataset
from roilab.errors import UserError
from roilab.evaluation import GroundTruth, average_precision, predict
from roilab.evaluation import evaluate as evaluate_model
from roilab.skeleton import COCO_PERSON

OBJECTS, SIDE = 10, 640
Rows = list[dict[str, Any]]


def compare_evaluations(task: str, folder: Path, images: int = 2000) -> Benchmark:
    """From ground truth and result rows to AP: ten persons and twenty detections an image."""
    truth, detections = persons(images, detections=20)
    ours = partial(average_precision, GroundTruth(truth, COCO_PERSON), detections, [task])
    reference = partial(pycocotools, truth, detections, task)
    check_equal(ours()[task], {"AP": reference()}, 1e-9)
    return Benchmark("pycocotools", ours, reference, rounds=3, bar=(0, 1 / 25))


eval_bbox = partial(compare_evaluations, "bbox")
eval_keypoints = partial(compare_evaluations, "keypoints")


def persons(images: int, detections: int) -> tuple[dict[str, Any], Rows]:
    """Persons with keypoints, and detections of them: half of them near one, half anywhere."""
    random = np.random.default_rng(0)
    truth: Rows = []
    results: Rows = []
    for image in range(1, images + 1):
        corners = random.uniform(0, SIDE - 160, (OBJECTS, 2))
        sizes = random.uniform(16, 160, (OBJECTS, 2))
        boxes = np.hstack([corners, sizes])
        points = corners[:, None] + random.random((OBJECTS, 17, 2)) * sizes[:, None]
        row = {"image_id": image, "category_id": 1}
        for box, xy in zip(boxes, points, strict=True):
            visibility = random.integers(0, 3, (17, 1))
            values = {"bbox": box.tolist(), "area": float(box[2] * box[3]), "iscrowd": 0}
            values["keypoints"] = np.hstack([xy, visibility]).ravel().tolist()
            values["num_keypoints"] = int((visibility > 0).sum())
            truth.append({**row, "id": len(truth) + 1, **values})
        for index in range(detections):
            person, deviation = index % OBJECTS, 0.05 if index % 2 else 1
            size = [*sizes[person], *sizes[person]]
            box = boxes[person] + random.normal(0, deviation, 4) * size * [1, 1, 0.1, 0.1]
            xy = points[person] + random.normal(0, deviation, (17, 2)) * sizes[person]
            score = float(random.random())
            keypoints = np.hstack([xy, np.ones((17, 1))])
            values = {"bbox": [*box[:2].tolist(), *np.abs(box[2:]).tolist()]}
            values["keypoints"] = keypoints.ravel().tolist()
            results.append({**row, "score": score, **values})
    rows = [{"id": i + 1, "width": SIDE, "height": SIDE} for i in range(images)]
    categories = [{"id": 1, "name": "person"}]
    return {"images": rows, "categories": categories, "annotations": truth}, results


def pycocotools(truth: dict[str, Any], detections: Rows, task: str) -> float:
    """AP in percent. pycocotools writes into its rows, which are therefore copies."""
    hidden = {"keypoints"} if task == "bbox" else set()
    coco = COCO()
    coco.dataset = {**truth, "annotations": [dict(row) for row in truth["annotations"]]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        rows = [{k: v for k, v in row.items() if k not in hidden} for row in detections]
        evaluator = COCOeval(coco, coco.loadRes(rows), task)
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][..., 0, -1]
    return 100 * float(precision[precision > -1].mean())


def evaluate(folder: Path, images: int = 100) -> Benchmark:
    """Box AP from the instances of a model, against Detectron2's COCOEvaluator.

    Ours ends in hotcoco, the evaluator in pycocotools. It is built anew each time, as Detectron2's
    training script does for every evaluation, and goes through its JSON files.
    """
    dataset, model = persons_and_model(folder.name, images, detections=50)

    def batches(size: int = 10) -> Iterator[list[dict[str, Any]]]:
        for begin in range(0, len(dataset), size):
            yield list(dataset.records[begin : begin + size])

    def ours() -> dict[str, float | None]:
        return evaluate_model(predict(model, batches()), dataset).results["bbox"]

    def reference() -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            evaluator = COCOEvaluator(dataset.name, ("bbox",), False, str(folder))
            evaluator.reset()
            for batch in batches():
                evaluator.process(batch, model(batch))
            return evaluator.evaluate()["bbox"]

    check_equal(ours(), reference(), 1e-3)
    return Benchmark("COCOEvaluator", ours, reference, rounds=7)


def persons_and_model(
    name: str, images: int, detections: int
) -> tuple[DetectionDataset, nn.Module]:
    """The persons as a data set without image files, and a model that returns the detections."""
    truth, results = persons(images, detections)
    box = {"bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 0}
    records: Rows = []
    answers = {}
    for index, image in enumerate(truth["images"]):
        rows = truth["annotations"][index * OBJECTS : (index + 1) * OBJECTS]
        annotations = [{**box, "bbox": row["bbox"]} for row in rows]
        names = {"file_name": f"{image['id']}.jpg", "image_id": image["id"]}
        records.append({**image, **names, "annotations": annotations})
        rows = results[index * detections : (index + 1) * detections]
        answer = answers[image["id"]] = Instances((SIDE, SIDE))
        boxes = torch.tensor([row["bbox"] for row in rows])
        answer.pred_boxes = Boxes(BoxMode.convert(boxes, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS))
        answer.pred_classes = torch.zeros(detections, dtype=torch.int64)
        answer.scores = torch.tensor([row["score"] for row in rows])
    ids = CocoIds.numbered(answers, 1)
    dataset = DetectionDataset(name, tuple(records), ("person",), None, ids)
    register_dataset(dataset)
    return dataset, PreparedAnswers(answers)


class PreparedAnswers(nn.Module):
    """A model that answers with instances prepared for each image id."""

    def __init__(self, instances: dict[int, Instances]) -> None:
        super().__init__()
        self.instances = instances

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        return [{"instances": self.instances[inputs["image_id"]]} for inputs in batch]


def check_equal(ours: Mapping[str, Any], reference: Mapping[str, float], tolerance: float) -> None:
    """Raise UserError where the two evaluations differ, since their times then say nothing."""
    for name, expected in reference.items():
        value = ours[name]
        if value is None or abs(value - expected) > tolerance:
            raise UserError(f"the two evaluations differ in {name}", found=value, expected=expected)
