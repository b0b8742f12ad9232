"""AP against Detectron2's evaluator, and against what AP means."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from pycocotools import mask as mask_utils

from roilab.data.coco import encode_mask
from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.evaluation import GroundTruth, average_precision
from roilab.evaluation.evaluator import coco_rows
from roilab.reporting import ap_table
from roilab.skeleton import COCO_PERSON, Skeleton
from roilab.synthetic import FiguresPaths

# Detectron2 and pycocotools.mask with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TASKS = ("bbox", "segm", "keypoints")


@pytest.fixture
def dataset(figures: FiguresPaths) -> DetectionDataset:
    return load_dataset(str(figures.train), str(figures.train.parent), skeleton="coco_person")


def truth_of(dataset: DetectionDataset) -> GroundTruth:
    return GroundTruth(dataset.coco_json(), dataset.skeleton)


def perfect(dataset: DetectionDataset) -> list[dict]:
    """The ground truth as detections."""
    sizes = {record["image_id"]: record for record in dataset.records}
    keys = ("image_id", "category_id", "bbox", "keypoints")
    detections = []
    for anno in dataset.coco_json()["annotations"]:
        size = sizes[anno["image_id"]]
        parts = mask_utils.frPyObjects(anno["segmentation"], size["height"], size["width"])
        rle = mask_utils.merge(parts)
        rle["counts"] = rle["counts"].decode()
        row = {key: anno[key] for key in keys if key in anno}
        detections.append({**row, "score": 0.9, "segmentation": rle})
    return detections


def test_masks_are_ranked_by_their_own_score_where_there_is_one(dataset: DetectionDataset) -> None:
    """A second, empty mask for each object is better by the box's score and worse by its own."""
    truth, good = truth_of(dataset), perfect(dataset)
    bad = [{**row, "score": 0.95} for row in copy.deepcopy(good)]
    for row in bad:
        size = row["segmentation"]["size"]
        row["segmentation"] = encode_mask(np.zeros(size, bool))
    rated = [{**row, "mask_score": 0.8} for row in good]
    rated += [{**row, "mask_score": 0.1} for row in bad]
    plain, ranked = (average_precision(truth, rows, TASKS[:2]) for rows in (good + bad, rated))
    assert plain["segm"]["AP"] < 60
    assert ranked["segm"]["AP"] == pytest.approx(100)
    assert ranked["bbox"] == plain["bbox"]


def test_the_ground_truth_is_perfect(dataset: DetectionDataset) -> None:
    detections = perfect(dataset)
    truth = truth_of(dataset)
    before = copy.deepcopy((truth.coco, detections))
    results = average_precision(truth, detections, TASKS)
    assert (truth.coco, detections) == before
    for task in TASKS:
        assert results[task]["AP"] == pytest.approx(100)
        assert results[task]["AP-person"] == pytest.approx(100)
    assert results["bbox"]["AP-car"] == pytest.approx(100)
    assert "AP-car" not in results["keypoints"]


def test_moved_keypoints_lower_the_keypoint_ap_and_wider_sigmas_forgive_more(
    dataset: DetectionDataset,
) -> None:
    truth, moved = truth_of(dataset), perfect(dataset)
    for row in moved:
        if "keypoints" in row:
            row["keypoints"] = [v + 4 if i % 3 < 2 else v for i, v in enumerate(row["keypoints"])]
    results = average_precision(truth, moved, TASKS)
    assert results["keypoints"]["AP"] < 90
    assert results["bbox"]["AP"] == pytest.approx(100)
    wide = replace(COCO_PERSON, sigmas=tuple(3 * sigma for sigma in COCO_PERSON.sigmas))
    lax = average_precision(replace(truth, skeleton=wide), moved, ["keypoints"])
    assert lax["keypoints"]["AP"] > results["keypoints"]["AP"]


def test_a_skeleton_of_two_points() -> None:
    pair = Skeleton("pair", ("p",), ("a", "b"), (("a", "b"),), (), (0.1, 0.1))
    row = {"image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 30]}
    labels = {"keypoints": [10, 10, 2, 30, 30, 1], "num_keypoints": 2}
    truth = {
        "images": [{"id": 1, "width": 50, "height": 50}],
        "categories": [{"id": 1, "name": "p"}],
        "annotations": [{**row, **labels, "id": 1, "area": 900, "iscrowd": 0}],
    }
    detection = {**row, "keypoints": [10, 10, 1, 30, 30, 1], "score": 1.0}
    results = average_precision(GroundTruth(truth, pair), [detection], ["keypoints"])
    assert results["keypoints"]["AP"] == pytest.approx(100)


def test_nothing_found_is_zero_and_nothing_there_is_none(dataset: DetectionDataset) -> None:
    truth = truth_of(dataset)
    truth.coco["categories"].append({"id": 3, "name": "tree", "supercategory": ""})
    for detections in ([], perfect(dataset)):
        results = average_precision(truth, detections, ["bbox"])["bbox"]
        assert results["AP-car"] == (0 if not detections else pytest.approx(100))
        assert results["AP-tree"] is None
        assert results["AP"] == (0 if not detections else pytest.approx(100))
    json.dumps(results, allow_nan=False)


def noisy_instances(dataset: DetectionDataset) -> dict[int, Instances]:
    """Jittered copies of the ground truth with random scores and some nonsense, as a model's."""
    rng = np.random.default_rng(0)
    by_image = {}
    for record in dataset.records:
        boxes, classes, masks, keypoints = [], [], [], []
        for anno in [*record["annotations"]] * 2:
            box = np.array(anno["bbox"]) + rng.normal(0, 3, 4)
            box = np.array([*np.minimum(box[:2], box[2:] - 1), *box[2:]]).clip(0, 96)
            boxes.append(box)
            classes.append(anno["category_id"] if rng.random() < 0.9 else rng.integers(2))
            mask = np.zeros((96, 96), bool)
            x0, y0, x1, y1 = box.astype(int)
            mask[y0 : y1 + 1, x0 : x1 + 1] = True
            masks.append(mask)
            points = np.array(anno["keypoints"], float).reshape(-1, 3)
            points[:, :2] += rng.normal(0, 1.5, (17, 2))
            keypoints.append(points)
        instances = Instances((96, 96))
        count = len(boxes)
        instances.pred_boxes = Boxes(torch.tensor(np.array(boxes).reshape(-1, 4)).float())
        instances.scores = torch.tensor(rng.random(count))
        instances.pred_classes = torch.tensor(np.array(classes, dtype=int))
        instances.pred_masks = torch.tensor(np.array(masks).reshape(-1, 96, 96))
        instances.pred_keypoints = torch.tensor(np.array(keypoints).reshape(-1, 17, 3)).float()
        by_image[record["image_id"]] = instances
    return by_image


def test_equal_to_detectron2s_evaluator(dataset: DetectionDataset, tmp_path: Path) -> None:
    by_image = noisy_instances(dataset)
    detections = [
        row
        for image_id, instances in by_image.items()
        for row in coco_rows(image_id, instances, dataset.classes, dataset.skeleton)
    ]
    ours = average_precision(truth_of(dataset), detections, TASKS)
    options = {"distributed": False, "output_dir": str(tmp_path), "kpt_oks_sigmas": ()}
    evaluator = COCOEvaluator(dataset.name, TASKS, **options)
    evaluator.reset()
    for image_id, instances in by_image.items():
        # Detectron2 moves the keypoints of what it is given.
        evaluator.process([{"image_id": image_id}], [{"instances": copy.deepcopy(instances)}])
    theirs = evaluator.evaluate()
    for task in TASKS:
        assert set(theirs[task]) - {"AP-car"} <= set(ours[task])
        for name in set(theirs[task]) & set(ours[task]):
            expected = theirs[task][name]
            if ours[task][name] is None:
                assert not np.isfinite(expected) or expected < 0
            else:
                assert ours[task][name] == pytest.approx(expected, abs=1e-3), (task, name)
    assert 5 < ours["bbox"]["AP"] < 95
    assert 5 < ours["keypoints"]["AP"] < 99


def test_rows_do_not_touch_the_instances(dataset: DetectionDataset) -> None:
    by_image = noisy_instances(dataset)
    image_id, instances = next((number, of) for number, of in by_image.items() if len(of))
    before = instances.pred_keypoints.clone()
    first = coco_rows(image_id, instances, dataset.classes, dataset.skeleton)
    assert first == coco_rows(image_id, instances, dataset.classes, dataset.skeleton)
    assert torch.equal(before, instances.pred_keypoints)


def test_table_shows_every_task_and_class(dataset: DetectionDataset) -> None:
    text = ap_table(average_precision(truth_of(dataset), perfect(dataset), TASKS))
    for word in ("box", "mask", "keypoint", "person", "car", "100.0"):
        assert word in text
