"""AP from matches: COCO's, and that of a data set whose images are drawn again."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from roilab.evaluation import GroundTruth, average_precision
from roilab.evaluation.bootstrap import match_detections

from .test_parity import SCENES, TASKS, scene


def mean(ap: np.ndarray) -> float | None:
    return None if np.isnan(ap).all() else float(100 * np.nanmean(ap))


@pytest.mark.parametrize("task", TASKS)
@given(drawn_scene=SCENES)
@settings(max_examples=40, deadline=None)
def test_all_images_once_give_the_ap_of_coco(
    task: str, drawn_scene: tuple[GroundTruth, list[dict]]
) -> None:
    truth, detections = drawn_scene
    expected = average_precision(truth, detections, [task])[task]
    matches = match_detections(truth, detections, task)
    for name, of_class in matches.items():
        ap = of_class.ap(np.ones((1, len(truth.coco["images"]))))[0]
        for suffix, part in (("AP", ap), ("AP50", ap[0])):
            value, mine = expected[f"{suffix}-{name}"], mean(part)
            assert (value is None) == (mine is None)
            assert value is None or abs(value - mine) < 1e-9


@pytest.mark.parametrize("task", TASKS)
def test_weights_are_images_drawn_again(task: str) -> None:
    truth, detections = scene(3, 6, 5, 3)
    weights = np.array([[0, 2, 1, 0, 3, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 6, 0, 0]])
    matches = match_detections(truth, detections, task)
    for row in weights:
        again, detected = drawn(truth, detections, row)
        expected = average_precision(again, detected, [task])[task]
        for name, of_class in matches.items():
            value, mine = expected[f"AP-{name}"], mean(of_class.ap(row[None])[0])
            assert (value is None) == (mine is None)
            assert value is None or abs(value - mine) < 1e-9
    together = matches["person"].ap(weights)
    alone = np.concatenate([matches["person"].ap(row[None]) for row in weights])
    np.testing.assert_array_equal(together, alone)


def without_objects(truth: GroundTruth) -> GroundTruth:
    return replace(truth, coco={**truth.coco, "annotations": []})


def drawn(
    truth: GroundTruth, rows: list[dict], weights: np.ndarray
) -> tuple[GroundTruth, list[dict]]:
    """Copies of the images, as often as they are drawn."""
    images, annotations, detections = [], [], []
    for image, times in zip(truth.coco["images"], weights, strict=True):
        for _ in range(times):
            number = len(images) + 1
            images.append({**image, "id": number})
            for row in copy.deepcopy(truth.coco["annotations"]):
                if row["image_id"] == image["id"]:
                    annotations.append({**row, "image_id": number, "id": len(annotations) + 1})
            detections += [
                {**row, "image_id": number} for row in rows if row["image_id"] == image["id"]
            ]
    coco = {**truth.coco, "images": images, "annotations": annotations}
    return replace(truth, coco=coco), detections
