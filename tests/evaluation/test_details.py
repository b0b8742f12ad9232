"""What is behind an AP, against AP itself and by hand."""

import itertools
import math

import numpy as np
import pytest

from roilab.evaluation import average_precision
from roilab.evaluation.details import (
    confusion,
    image_ap50,
    joints,
    strictness,
    working_point,
)
from roilab.evaluation.matches import match

from .test_parity import TASKS, scene, skeleton

BONES = skeleton((0.03, 0.05, 0.1))


@pytest.mark.parametrize("task", TASKS)
def test_strictness_has_the_ap_and_its_parts(task: str) -> None:
    truth, found = scene(2, 20, 5, 3, tied=False)
    ap = average_precision(truth, found, [task], BONES)[task]
    curve = strictness(match(truth, found, task, BONES))
    assert curve[0] == pytest.approx(ap["AP50"], abs=1e-9)
    assert curve[5] == pytest.approx(ap["AP75"], abs=1e-9)
    assert np.mean(curve) == pytest.approx(ap["AP"], abs=1e-9)
    assert all(a >= b for a, b in itertools.pairwise(curve))


def test_an_image_alone_is_a_data_set_of_one_image() -> None:
    truth, found = scene(4, 6, 4, 2, tied=False)
    values = image_ap50(match(truth, found, "bbox", BONES))
    for image, value in zip(truth["images"], values, strict=True):
        part, rows = (
            [each for each in all_ if each["image_id"] == image["id"]]
            for all_ in (truth["annotations"], found)
        )
        alone = {**truth, "images": [image], "annotations": part}
        expected = average_precision(alone, rows, ["bbox"], BONES)["bbox"]["AP50"]
        assert (value is None) == (expected is None)
        assert value is None or value == pytest.approx(expected, abs=1e-9)


def box(number: int, x: float, kind: int, score: float | None = None) -> dict:
    """A box of 20 x 20 in image 1."""
    given = {"image_id": 1, "category_id": kind, "bbox": [x, 0, 20, 20]}
    if score is None:
        return {**given, "id": number, "area": 400, "iscrowd": 0}
    return {**given, "score": score}


def by_hand() -> tuple[dict, list[dict]]:
    """Persons at 0 and 50, a car at 100; found: the first person, a car for the second, nothing."""
    truth = {
        "images": [{"id": 1, "width": 240, "height": 240}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "annotations": [box(1, 0, 1), box(2, 50, 1), box(3, 100, 2)],
    }
    found = [box(0, 1, 1, 0.9), box(0, 51, 2, 0.8), box(0, 180, 1, 0.7), box(0, 100, 2, 0.2)]
    return truth, found


def test_a_working_point_by_hand() -> None:
    matches = match(*by_hand(), "bbox")
    person = working_point(matches["person"], 0.5)
    assert (person.right, person.wrong, person.missed) == (1, 1, 1)
    assert (person.precision, person.recall) == (0.5, 0.5)
    strict = working_point(matches["car"], 0.5)
    assert (strict.right, strict.wrong, strict.missed) == (0, 1, 1)
    assert working_point(matches["car"], 0.1).right == 1
    nothing = working_point(matches["car"], 0.95)
    assert nothing.precision is None
    assert nothing.recall == 0


def test_confusion_by_hand() -> None:
    names, matrix = confusion(*by_hand(), score=0.5)
    assert names == ["person", "car", "background"]
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_joints_by_hand() -> None:
    """The second keypoint is 3 pixels off, the third is not labelled."""
    truth, found = by_hand()
    truth["annotations"] = [
        {**box(1, 0, 1), "keypoints": [5, 5, 2, 10, 10, 1, 0, 0, 0], "num_keypoints": 2}
    ]
    found = [{**box(0, 0, 1, 0.9), "keypoints": [5, 5, 1, 13, 10, 1, 9, 9, 1]}]
    expected = math.exp(-9 / (2 * 400 * (2 * 0.05) ** 2))
    values = joints(truth, found, BONES)
    assert values == {"a": pytest.approx(1), "b": pytest.approx(expected), "c": None}
    assert joints({**truth, "annotations": []}, found, BONES) == dict.fromkeys("abc")


def test_joints_make_up_the_oks() -> None:
    """A detection is right at a threshold when the mean of its terms reaches it."""
    truth, found = by_hand()
    truth["annotations"] = [
        {**box(1, 0, 1), "keypoints": [5, 5, 2, 10, 10, 2, 15, 15, 2], "num_keypoints": 3}
    ]
    found = [{**box(0, 0, 1, 0.9), "keypoints": [6, 5, 1, 12, 10, 1, 15, 17, 1]}]
    oks = np.mean(list(joints(truth, found, BONES).values()))
    right = match(truth, found, "keypoints", BONES)["person"].right[:, 0]
    assert right.tolist() == [oks >= 0.5 + 0.05 * step for step in range(10)]
    assert 0.55 < oks < 0.9
