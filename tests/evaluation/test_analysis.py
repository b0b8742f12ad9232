"""Analysis of an AP, against AP itself and against numbers worked out by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from roilab.evaluation import GroundTruth, analysis, average_precision
from roilab.evaluation.analysis import OperatingPoint, analyze
from roilab.evaluation.bootstrap import match_detections
from roilab.reporting import analysis_text

from . import test_parity
from .test_matches import without_objects

TASKS = ["bbox", "keypoints"]


def row(image: int, category: int, x: float, points: list[float]) -> dict:
    """A box of 20 x 20 with keypoints."""
    return {"image_id": image, "category_id": category, "bbox": [x, 0, 20, 20], "keypoints": points}


def scene() -> tuple[GroundTruth, list[dict]]:
    """Three images, the ids not in order.

    Image a: a person, detected with an IoU of 2/3, and a car that is detected as a person. Image b:
    a person that is missed, and a detection of nothing. Image c: nothing.
    """
    annotations = [
        row(3, 1, 0, [5, 5, 2, 10, 10, 1, 0, 0, 0]),
        row(3, 2, 100, []),
        row(7, 1, 50, [55, 5, 2, 60, 10, 2, 0, 0, 0]),
    ]
    del annotations[1]["keypoints"]
    coco = {
        "images": [
            {"id": number, "file_name": f"folder/{name}.jpg", "width": 240, "height": 240}
            for number, name in ((7, "b"), (3, "a"), (5, "c"))
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "annotations": [
            {**anno, "id": index, "area": 400, "iscrowd": 0, "num_keypoints": 2}
            for index, anno in enumerate(annotations, 1)
        ],
    }
    detections = [
        # The second keypoint is 3 pixels off.
        {**row(3, 1, 4, [5, 5, 1, 13, 10, 1, 9, 9, 1]), "score": 0.9},
        {**row(3, 1, 100, [105, 5, 1, 110, 10, 1, 0, 0, 1]), "score": 0.8},
        {**row(7, 1, 180, [185, 5, 1, 190, 10, 1, 0, 0, 1]), "score": 0.7},
    ]
    return GroundTruth(coco, test_parity.scene(0, 0, 0, 0)[0].skeleton), detections


def test_numbers_by_hand() -> None:
    whole = analyze(*scene(), TASKS, 0.5)
    assert whole.images == ["folder/a.jpg", "folder/c.jpg", "folder/b.jpg"]
    # One of two persons is found first of all: precision 1 at 51 of 101 recalls. No car is.
    once = 100 * 51 / 101
    assert whole.ap_by_iou["bbox"] == pytest.approx([once / 2] * 4 + [0] * 6)
    assert whole.image_ap50["bbox"] == pytest.approx([50, None, 0])
    person, car = OperatingPoint(1, 2, 1), OperatingPoint(0, 0, 1)
    assert whole.operating_points["bbox"] == {"person": person, "car": car}
    assert (person.precision, person.recall) == (1 / 3, 1 / 2)
    assert (car.precision, car.recall) == (None, 0)
    assert whole.labels == ["person", "car", "background"]
    assert whole.confusion.tolist() == [[1, 0, 1], [1, 0, 0], [1, 0, 0]]
    # Keypoints are of persons alone; the OKS of the one that is found is the mean of its terms.
    off = math.exp(-(3**2) / (2 * 400 * (2 * 0.05) ** 2))
    assert 0.65 < (1 + off) / 2 < 0.7
    assert whole.ap_by_iou["keypoints"] == pytest.approx([once] * 4 + [0] * 6)
    assert whole.image_ap50["keypoints"] == pytest.approx([100, None, 0])
    assert whole.operating_points["keypoints"] == {"person": person}
    assert whole.keypoint_oks == {"a": pytest.approx(1), "b": pytest.approx(off), "c": None}


def test_the_score_decides_what_counts() -> None:
    usual, strict = (analyze(*scene(), TASKS, score) for score in (0.5, 0.75))
    assert strict.score == 0.75
    assert strict.operating_points["bbox"]["person"] == OperatingPoint(1, 1, 1)
    assert strict.confusion.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert strict.ap_by_iou["bbox"] == usual.ap_by_iou["bbox"]


def test_an_object_that_only_a_worse_detection_matches_is_missed() -> None:
    truth, detections = scene()
    detections.append({**row(3, 2, 100, []), "score": 0.2})
    car = match_detections(truth, detections, "bbox")["car"]
    assert analysis.operating_point(car, 0.1) == OperatingPoint(1, 0, 0)
    assert analysis.operating_point(car, 0.5) == OperatingPoint(0, 0, 1)


def test_without_keypoints_there_is_no_oks() -> None:
    truth, detections = scene()
    for skeleton in (truth.skeleton, None):
        boxes = analyze(replace(truth, skeleton=skeleton), detections, ["bbox"], 0.5)
        assert boxes.keypoint_oks == {}


def test_each_task_is_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = analysis.match_detections

    def match(truth: GroundTruth, detections: list, task: str) -> object:
        seen.append(task)
        return original(truth, detections, task)

    monkeypatch.setattr(analysis, "match_detections", match)
    analyze(*scene(), TASKS, 0.5)
    assert seen == TASKS


def test_worst_images_have_the_lowest_mean_over_tasks() -> None:
    whole = analyze(*scene(), TASKS, 0.5)
    assert whole.worst_images(5) == [2, 0]  # image c has no object
    assert whole.worst_images(1) == [2]


def test_nothing_annotated_and_nothing_found() -> None:
    empty = analyze(without_objects(scene()[0]), [], TASKS, 0.5)
    assert empty.image_ap50["bbox"] == [None, None, None]
    assert empty.worst_images(5) == []
    assert empty.keypoint_oks == dict.fromkeys("abc")
    assert not empty.confusion.any()
    assert "| box      | person  |           - |        - |" in analysis_text(empty)


def test_running_mean() -> None:
    assert analysis.running_mean([None, 4, None, 1, 1]) == [None, 4, 4, 2.5, 2]
    assert analysis.running_mean([]) == []


def test_text_for_a_terminal() -> None:
    truth, detections = scene()
    text = analysis_text(analyze(truth, detections, TASKS, 0.5))
    assert "keypoint, from 0 to 1: a 1.00, b 0.32, c -" in text
    assert "from score 0.5 on" in text
    assert "| box      | person  |        33.3 |     50.0 |                1 |" in text
    assert "| car        |        1 |     0 |            0 |" in text
    many = {**truth.coco, "categories": [{"id": i, "name": f"c{i}"} for i in range(1, 13)]}
    wide = analysis_text(analyze(GroundTruth(many), detections, ["bbox"], 0.5))
    assert "c12" in wide
    assert "background" not in wide


@pytest.mark.parametrize("task", test_parity.TASKS)
def test_thresholds_have_the_ap_and_its_parts(task: str) -> None:
    truth, detections = test_parity.scene(2, 20, 5, 3)
    ap = average_precision(truth, detections, [task])[task]
    curve = analysis.ap_by_iou(match_detections(truth, detections, task))
    assert curve[0] == pytest.approx(ap["AP50"], abs=1e-9)
    assert curve[5] == pytest.approx(ap["AP75"], abs=1e-9)
    assert np.mean(curve) == pytest.approx(ap["AP"], abs=1e-9)
    assert all(a >= b for a, b in itertools.pairwise(curve))


def test_an_image_alone_is_a_data_set_of_one_image() -> None:
    truth, detections = test_parity.scene(4, 6, 4, 2)
    values = analysis.image_ap50(match_detections(truth, detections, "bbox"))
    for image, value in zip(truth.coco["images"], values, strict=True):
        annotations, rows = (
            [row for row in rows if row["image_id"] == image["id"]]
            for rows in (truth.coco["annotations"], detections)
        )
        alone = GroundTruth({**truth.coco, "images": [image], "annotations": annotations})
        expected = average_precision(alone, rows, ["bbox"])["bbox"]["AP50"]
        assert (value is None) == (expected is None)
        assert value is None or value == pytest.approx(expected, abs=1e-9)


def test_terms_make_up_the_oks() -> None:
    """A detection matches at a threshold when the mean of its terms reaches it."""
    truth, _ = scene()
    labelled = {"keypoints": [5, 5, 2, 10, 10, 2, 15, 15, 2], "num_keypoints": 3}
    truth.coco["annotations"][:] = [{**truth.coco["annotations"][0], **labelled}]
    detections = [{**row(3, 1, 0, [6, 5, 1, 12, 10, 1, 15, 17, 1]), "score": 0.9}]
    oks = np.mean(list(analysis.keypoint_oks(truth, detections).values()))
    matches = match_detections(truth, detections, "keypoints")["person"]
    right = matches.true_positive[:, 0]
    assert right.tolist() == [oks >= 0.5 + 0.05 * step for step in range(10)]
    assert 0.55 < oks < 0.9
