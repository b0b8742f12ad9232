"""Result rows with the ids of the annotation file, as pycocotools evaluates them against it."""

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.evaluation import evaluate, predict
from roilab.synthetic import FiguresPaths

# pycocotools.mask with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# Detectron2 orders classes by category id; these ids reverse the order of the names.
CATEGORIES = {1: 500, 2: 3}


# Image ids that are not 1, 2, ...
RENAMED: dict[str, Callable[[int], Any]] = {
    "numbers": lambda number: 9000 - 7 * number,
    "text": lambda number: f"street/{9 - number}",
    "negative": lambda number: -number,
}


@pytest.fixture(params=RENAMED)
def coco(
    request: pytest.FixtureRequest, figures: FiguresPaths, tmp_path: Path
) -> tuple[Path, Path]:
    """A COCO file whose ids are not 1, 2, ..., and the folder of its images."""
    images, rename = figures.train.parent, RENAMED[request.param]
    data = load_dataset(str(figures.train), str(images), skeleton="coco_person").coco_json()
    for image in data["images"]:
        image["id"] = rename(image["id"])
        image["file_name"] = Path(image["file_name"]).name
    for row in data["annotations"]:
        row["image_id"] = rename(row["image_id"])
        row["category_id"] = CATEGORIES[row["category_id"]]
    for category in data["categories"]:
        category["id"] = CATEGORIES[category["id"]]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    return path, images


class Played(nn.Module):
    """Answers with the annotations of an image, moved and shuffled, and some of the other class."""

    def __init__(self, dataset: DetectionDataset) -> None:
        super().__init__()
        self.dataset = dataset
        self.random = np.random.default_rng(4)

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        return [{"instances": self.answer(record)} for record in batch]

    def answer(self, record: Mapping[str, Any]) -> Instances:
        annos, (height, width) = record["annotations"], (record["height"], record["width"])
        instances = Instances((height, width))
        boxes = torch.tensor([anno["bbox"] for anno in annos]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances.pred_boxes = Boxes(boxes + torch.tensor(self.random.normal(0, 2, boxes.shape)))
        kinds = np.array([anno["category_id"] for anno in annos], int)
        wrong = self.random.random(len(kinds)) < 0.2
        instances.pred_classes = torch.tensor(np.where(wrong, 1 - kinds, kinds))
        outlines = PolygonMasks([anno["segmentation"] for anno in annos])
        instances.pred_masks = BitMasks.from_polygon_masks(outlines, height, width).tensor
        instances.scores = torch.tensor(self.random.random(len(annos)))
        return instances


def by_pycocotools(truth: Path, detections: Path, task: str) -> list[float]:
    """AP, AP50 and AP75 in percent."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO(str(truth))
        evaluator = COCOeval(ground_truth, ground_truth.loadRes(str(detections)), task)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [100 * value for value in evaluator.stats[:3]]


def test_pycocotools_gets_our_ap_with_the_original_file(
    coco: tuple[Path, Path], tmp_path: Path
) -> None:
    file, images = coco
    dataset = load_dataset(str(file), str(images))
    assert dataset.classes == ("person", "car")
    evaluation = evaluate(predict(Played(dataset), [list(dataset.records)]), dataset)
    run = Run(tmp_path)
    run.write_evaluation(evaluation, dataset.coco_ids)
    truth = json.loads(file.read_text())
    written = json.loads(run.detections_file.read_text())
    assert {row["image_id"] for row in written} == {row["image_id"] for row in truth["annotations"]}
    assert {row["category_id"] for row in written} == set(CATEGORIES.values())
    for task in ("bbox", "segm"):
        ours = [evaluation.results[task][name] for name in ("AP", "AP50", "AP75")]
        assert 5 < ours[0] < 95, "neither all wrong nor all right"
        assert by_pycocotools(file, run.detections_file, task) == pytest.approx(ours)
    assert run.detections(dataset.coco_ids) == evaluation.detections


def test_classes_of_the_model_keep_the_ids_of_the_file(coco: tuple[Path, Path]) -> None:
    dataset = load_dataset(str(coco[0]), str(coco[1]), classes=["bus", "car", "person"])
    assert dataset.coco_ids.categories == (501, 500, 3)


def test_detections_of_an_older_run_are_read(coco: tuple[Path, Path], tmp_path: Path) -> None:
    """They have the image ids of the file, and class index + 1 as category ids."""
    ids = load_dataset(str(coco[0]), str(coco[1])).coco_ids
    run, image = Run(tmp_path), next(iter(ids.images))
    old = {"image_id": ids.images[image], "category_id": 2, "bbox": [0, 0, 9, 9], "score": 0.5}
    run.detections_file.write_text(json.dumps([old]))
    assert run.detections(ids) == [old | {"image_id": image}]


def test_detections_of_other_data_are_refused(coco: tuple[Path, Path], tmp_path: Path) -> None:
    ids = load_dataset(str(coco[0]), str(coco[1])).coco_ids
    run = Run(tmp_path)
    run.category_ids_file.write_text("[3, 500]")
    row = {"image_id": 1, "category_id": 500, "bbox": [0, 0, 9, 9], "score": 0.5}
    run.detections_file.write_text(json.dumps([row]))
    with pytest.raises(UserError, match=r"roilab evaluate run=") as caught:
        run.detections(ids)
    assert caught.value.key == "image_id"
