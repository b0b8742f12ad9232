"""What is behind an AP, in one: against numbers made by hand."""

import math

import pytest

from roilab.evaluation import average_precision, summary
from roilab.evaluation.details import WorkingPoint
from roilab.evaluation.summary import Summary, running_mean, summarize
from roilab.reporting import analysis_text

from .test_parity import skeleton

BONES = skeleton((0.03, 0.05, 0.1))
TASKS = ["bbox", "keypoints"]


def scene(names: tuple[str, str] = ("person", "car")) -> tuple[dict, list[dict]]:
    """Three images, the ids not in order, boxes of 20 x 20.

    Image a: a person, found with an IoU of 2/3, and a car that is taken for a person. Image b: a
    person that is missed, and a person where nothing is. Image c: nothing.
    """

    def given(image: int, kind: int, x: float, points: list[float]) -> dict:
        return {"image_id": image, "category_id": kind, "bbox": [x, 0, 20, 20], "keypoints": points}

    truth = {
        "images": [
            {"id": number, "file_name": f"folder/{name}.jpg", "width": 240, "height": 240}
            for number, name in ((7, "b"), (3, "a"), (5, "c"))
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(names, 1)],
        "annotations": [
            {**each, "id": index, "area": 400, "iscrowd": 0, "num_keypoints": 2}
            for index, each in enumerate(
                [
                    given(3, 1, 0, [5, 5, 2, 10, 10, 1, 0, 0, 0]),
                    given(3, 2, 100, []),
                    given(7, 1, 50, [55, 5, 2, 60, 10, 2, 0, 0, 0]),
                ],
                1,
            )
        ],
    }
    del truth["annotations"][1]["keypoints"]
    found = [
        # The second joint is 3 pixels off.
        {**given(3, 1, 4, [5, 5, 1, 13, 10, 1, 9, 9, 1]), "score": 0.9},
        {**given(3, 1, 100, [105, 5, 1, 110, 10, 1, 0, 0, 1]), "score": 0.8},
        {**given(7, 1, 180, [185, 5, 1, 190, 10, 1, 0, 0, 1]), "score": 0.7},
    ]
    return truth, found


def summed(score: float = 0.5) -> Summary:
    return summarize(*scene(), TASKS, BONES, score)


def test_numbers_by_hand() -> None:
    found = summed()
    assert found.images == ("folder/a.jpg", "folder/c.jpg", "folder/b.jpg")
    box, keypoint = found.tasks["bbox"], found.tasks["keypoints"]
    # One of two persons is found first of all: precision 1 at 51 of 101 recalls. No car is.
    once = 100 * 51 / 101
    assert box.strictness == pytest.approx([once / 2] * 4 + [0] * 6)
    assert box.image_ap50 == pytest.approx([50, None, 0])
    assert box.points == {"person": WorkingPoint(1, 2, 1), "car": WorkingPoint(0, 0, 1)}
    assert found.labels == ("person", "car", "background")
    assert found.confusion.tolist() == [[1, 0, 1], [1, 0, 0], [1, 0, 0]]
    # Keypoints are of persons alone; the OKS of the one that is found is the mean of its terms.
    off = math.exp(-(3**2) / (2 * 400 * (2 * 0.05) ** 2))
    assert 0.65 < (1 + off) / 2 < 0.7
    assert keypoint.strictness == pytest.approx([once] * 4 + [0] * 6)
    assert keypoint.image_ap50 == pytest.approx([100, None, 0])
    assert keypoint.points == {"person": WorkingPoint(1, 2, 1)}
    assert found.joints == {"a": pytest.approx(1), "b": pytest.approx(off), "c": None}


def test_the_score_decides_what_counts_as_found() -> None:
    found = summed(0.75)
    assert found.score == 0.75
    assert found.tasks["bbox"].points["person"] == WorkingPoint(1, 1, 1)
    assert found.confusion.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert found.tasks["bbox"].strictness == summed().tasks["bbox"].strictness


def test_without_keypoints_there_are_no_joints() -> None:
    assert summarize(*scene(), ["bbox"], BONES, 0.5).joints == {}
    assert summarize(*scene(), ["bbox"], None, 0.5).joints == {}


def test_each_task_is_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = summary.match

    def match(truth: dict, found: list, task: str, *rest: object) -> object:
        seen.append(task)
        return original(truth, found, task, *rest)

    monkeypatch.setattr(summary, "match", match)
    summed()
    assert seen == TASKS


def test_worst_images_have_the_lowest_mean_over_tasks() -> None:
    found = summed()
    assert found.worst(5) == [2, 0]  # image c has no object
    assert found.worst(1) == [2]


def test_nothing_annotated_and_nothing_found() -> None:
    truth, _ = scene()
    found = summarize({**truth, "annotations": []}, [], TASKS, BONES, 0.5)
    assert found.tasks["bbox"].image_ap50 == (None, None, None)
    assert found.worst(5) == []
    assert found.joints == dict.fromkeys("abc")
    assert not found.confusion.any()
    assert "| box      | person  |           - |        - |" in analysis_text(found)


def test_running_mean() -> None:
    assert running_mean([None, 4, None, 1, 1]) == [None, 4, 4, 2.5, 2]
    assert running_mean([]) == []


def test_text_for_a_terminal() -> None:
    truth, found = scene()
    text = analysis_text(summarize(truth, found, TASKS, BONES, 0.5))
    assert "joint, from 0 to 1: a 1.00, b 0.32, c -" in text
    assert "from score 0.5 on" in text
    assert "| box      | person  |        33.3 |     50.0 |       1 |       2 |        1 |" in text
    assert "| car        |        1 |     0 |            0 |" in text
    many = {**truth, "categories": [{"id": i, "name": f"c{i}"} for i in range(1, 13)]}
    wide = analysis_text(summarize(many, found, ["bbox"], None, 0.5))
    assert "c12" in wide
    assert "background" not in wide


def test_strictness_is_what_ap_is_the_mean_of() -> None:
    truth, found = scene()
    ap = average_precision(truth, found, TASKS, BONES)
    for task, each in summed().tasks.items():
        values = [value for value in each.strictness if value is not None]
        assert sum(values) / len(values) == pytest.approx(ap[task]["AP"])
