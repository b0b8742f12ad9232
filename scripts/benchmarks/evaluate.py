"""Box AP from the instances of a model, against Detectron2's COCOEvaluator.

Ours ends in hotcoco, the evaluator in pycocotools. It is made anew each time, as Detectron2's
training script does for every evaluation, and goes through its JSON files.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, BoxMode, Instances
from torch import nn

from benchmarks import Benchmark
from roilab.data.coco import CocoIds
from roilab.data.dataset import DetectionDataset, register_dataset
from roilab.errors import UserError
from roilab.evaluation import evaluate, predict

IMAGES, OBJECTS, DETECTIONS, BATCH = 100, 10, 50, 10
CLASSES = ("a", "b", "c")
SIZE = 480


def benchmark(folder: Path) -> Benchmark:
    """Random boxes, five detections for each: near the truth and far from it."""
    dataset, model = scene()

    def batches() -> Iterator[list[dict[str, Any]]]:
        for begin in range(0, len(dataset), BATCH):
            yield list(dataset.records[begin : begin + BATCH])

    def ours() -> dict[str, float | None]:
        return evaluate(predict(model, batches()), dataset).results["bbox"]

    def reference() -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            evaluator = COCOEvaluator(
                dataset.name, ("bbox",), distributed=False, output_dir=str(folder)
            )
            evaluator.reset()
            for batch in batches():
                evaluator.process(batch, model(batch))
            return evaluator.evaluate()["bbox"]

    check(ours(), reference())
    return Benchmark(reference_name="COCOEvaluator", ours=ours, reference=reference, rounds=7)


def scene() -> tuple[DetectionDataset, nn.Module]:
    """A data set without images, and a model that finds about half of it."""
    random = np.random.default_rng(0)
    records, found = [], {}
    for image_id in range(1, IMAGES + 1):
        corners = random.uniform(0, SIZE - 120, (OBJECTS, 2))
        boxes = np.hstack([corners, corners + random.uniform(8, 120, (OBJECTS, 2))])
        classes = random.integers(0, len(CLASSES), OBJECTS)
        annotations = [
            {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": kind, "iscrowd": 0}
            for box, kind in zip(boxes.tolist(), classes.tolist(), strict=True)
        ]
        records.append(
            {
                "file_name": f"{image_id}.jpg",
                "image_id": image_id,
                "width": SIZE,
                "height": SIZE,
                "annotations": annotations,
            }
        )
        copies = DETECTIONS // OBJECTS
        instances = Instances((SIZE, SIZE))
        noise = random.normal(0, 4, (DETECTIONS, 4))
        instances.pred_boxes = Boxes(torch.tensor(np.repeat(boxes, copies, 0) + noise))
        instances.pred_classes = torch.tensor(np.repeat(classes, copies))
        instances.scores = torch.tensor(random.random(DETECTIONS))
        found[image_id] = instances
    ids = CocoIds.numbered(found, len(CLASSES))
    dataset = DetectionDataset("benchmark_evaluate", tuple(records), CLASSES, None, ids)
    register_dataset(dataset)
    return dataset, Played(found)


class Played(nn.Module):
    """Answers what was prepared for each image."""

    def __init__(self, found: dict[int, Instances]) -> None:
        super().__init__()
        self.found = found

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        """The instances of each input, by image id."""
        return [{"instances": self.found[inputs["image_id"]]} for inputs in batch]


def check(ours: dict[str, float | None], reference: dict[str, float]) -> None:
    """Refuse to compare what does not give the same AP."""
    for name, expected in reference.items():
        found = ours[name]
        if found is None or abs(found - expected) > 1e-3:
            raise UserError(f"the two evaluations differ in {name}", found=found, expected=expected)
