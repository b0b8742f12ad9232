"""How many detections of an image count, and what is said where it has more objects than COCO's."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from roilab.evaluation import GroundTruth, average_precision, bootstrap
from roilab.evaluation.analysis import analyze, confusion_matrix, keypoint_oks
from roilab.evaluation.ap import exceeded_limits, raised_limits
from roilab.skeleton import Skeleton

BONES = Skeleton("bones", ("person",), ("a", "b"), (("a", "b"),), (), (0.1, 0.1))
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
TASKS = ("bbox", "segm", "keypoints")


def scene(*counts: dict[str, int], limit: int | None = None) -> tuple[GroundTruth, list]:
    """Images that hold so many objects of each class, side by side, and perfect detections."""
    annotations, detections = [], []
    for image, classes in enumerate(counts, 1):
        names = [name for name, count in classes.items() for _ in range(count)]
        for place, name in enumerate(names):
            x, y = 20.0 * (place % 30), 20.0 * (place // 30)
            row = {"image_id": image, "category_id": 1 if name == "person" else 2}
            row["bbox"] = [x, y, 10.0, 10.0]
            row["segmentation"] = [[x, y, x + 10, y, x + 10, y + 10, x, y + 10]]
            if name == "person":
                row["keypoints"] = [x + 2, y + 2, 2, x + 8, y + 8, 2]
            number = len(annotations) + 1
            detections.append({**row, "score": 1 - number / 10_000})
            row |= {"id": number, "area": 100.0, "iscrowd": 0, "num_keypoints": 2}
            annotations.append(row)
    images = [
        {"id": number, "width": 600, "height": 600, "file_name": f"{number}.jpg"}
        for number in range(1, len(counts) + 1)
    ]
    for row in detections:
        rle = mask_utils.frPyObjects(row["segmentation"], 600, 600)[0]
        row["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    coco = {"images": images, "categories": CATEGORIES, "annotations": annotations}
    return GroundTruth(coco, BONES, limit), detections


def limited(truth: GroundTruth, limit: int | None) -> GroundTruth:
    return replace(truth, max_detections=limit)


@pytest.mark.parametrize("task", TASKS)
def test_the_best_detections_count_up_to_the_limit(task: str) -> None:
    """A limit cuts the recall of perfect detections; without one, all of them count."""
    truth, detections = scene({"person": 150})
    for limit, counted in ((None, 150), (30, 30), (100, 100), (150, 150), (1000, 150)):
        (ap,) = average_precision(limited(truth, limit), detections, [task]).values()
        # AP is over 101 values of recall.
        expected = 100 * (np.linspace(0, 1, 101) <= counted / 150).mean()
        assert ap["AP-person"] == pytest.approx(expected), limit


@pytest.mark.parametrize("task", TASKS)
def test_limits_of_coco_are_the_default_where_the_objects_fit_them(task: str) -> None:
    coco = {"bbox": 100, "segm": 100, "keypoints": 20}[task]
    for persons, limit in ((coco - 1, coco), (coco, coco), (coco + 1, coco + 1)):
        truth, detected = scene({"person": persons, "car": 40}, {"person": 3})
        assert truth.detection_limit(task) == limit
        # Behind the best hundred there is no room for what is nothing.
        nothing = [{**detected[0], "score": 0.9999, "bbox": [500, 500, 9, 9]} for _ in range(coco)]
        many = [*nothing, *detected]
        ap = average_precision(limited(truth, limit), many, [task])
        assert average_precision(truth, many, [task]) == ap


@pytest.mark.parametrize("limit", [None, 15, 200])
def test_all_figures_are_of_the_same_detections(limit: int | None) -> None:
    """What is behind an AP follows the limit that the AP follows."""
    truth, detections = scene({"person": 120, "car": 10}, {"person": 5}, limit=limit)
    ap = average_precision(truth, detections, TASKS)
    analysis = analyze(truth, detections, TASKS, 0.0)
    for task in TASKS:
        matches = {"all": bootstrap.match_detections(truth, detections, task)}
        first = bootstrap.metrics_of_draws(matches, bootstrap.image_weights(2))["AP"][0]
        assert first == pytest.approx(ap[task]["AP"])
        right, point = min(limit or 120, 120) + 5, analysis.operating_points[task]["person"]
        assert (point.true_positives, point.false_negatives) == (right, 125 - right)
        assert np.mean(analysis.ap_by_iou[task]) == pytest.approx(ap[task]["AP"])
    assert bootstrap.compare_detections(truth, detections, detections, TASKS)["bbox"].value == 0
    fewer = [row for row in detections if row["image_id"] == 1]
    apart = bootstrap.compare_detections(truth, detections, fewer, TASKS)
    for task, difference in apart.items():
        other = average_precision(truth, fewer, [task])[task]["AP"]
        assert difference.value == pytest.approx(ap[task]["AP"] - other)
    assert keypoint_oks(truth, detections) == dict.fromkeys("ab", pytest.approx(1))
    # A confusion matrix has the detections of all classes in an image.
    labels, matrix = confusion_matrix(truth, detections, 0.0)
    assert matrix[0, 0] == min(limit or 120, 120) + 5
    assert matrix[1, 1] == (0 if limit == 15 else 10)
    assert labels == ["person", "car", "background"]


def test_what_a_limit_leaves_out_is_said_with_its_numbers() -> None:
    truth, _ = scene({"person": 60, "car": 60}, {"person": 21}, {"person": 20}, {"car": 5})
    fits = {"topk": 200}
    assert exceeded_limits(truth, TASKS, fits) == []
    (model,) = exceeded_limits(truth, TASKS, {"topk": 100})
    assert model == (
        "1 of 4 images has more than 100 objects, up to 120: 20 of 166 objects are left out by "
        "the model (topk)"
    )
    assert exceeded_limits(limited(truth, 60), TASKS, fits) == []
    outlines, keypoints = exceeded_limits(limited(truth, 20), TASKS, fits)
    assert outlines == (
        "2 of 4 images have more than 20 objects of a class, up to 60: 81 of 166 objects are left "
        "out by box AP and mask AP"
    )
    assert "41 of 101 objects are left out by keypoint AP" in keypoints


def test_a_limit_that_is_not_cocos_is_said_with_its_numbers() -> None:
    more = "more than {} objects of a class, so that the best {} count for {} AP".format
    truth, _ = scene({"person": 60, "car": 60}, {"person": 21}, {"person": 20}, {"car": 5})
    assert raised_limits(truth, ["bbox", "segm"]) == []
    assert raised_limits(limited(truth, 60), TASKS) == []
    assert raised_limits(truth, TASKS) == [f"2 of 4 images have {more(20, 60, 'keypoint')}"]
    # An image with as many objects of two classes together is not one of those.
    truth, _ = scene({"person": 101}, {"person": 20, "car": 90})
    assert raised_limits(truth, TASKS) == [
        f"1 of 2 images has {more(100, 101, 'box AP and mask')}",
        f"1 of 2 images has {more(20, 101, 'keypoint')}",
    ]


def test_crowds_and_objects_without_keypoints_do_not_count() -> None:
    truth, _ = scene({"person": 21}, limit=20)
    truth.coco["annotations"][0]["num_keypoints"] = 0
    assert exceeded_limits(truth, ["keypoints"], {}) == []
    assert limited(truth, None).detection_limit("keypoints") == 20
    assert len(exceeded_limits(truth, ["bbox"], {})) == 1
    truth.coco["annotations"][0]["iscrowd"] = 1
    assert exceeded_limits(truth, ["bbox"], {}) == []


def test_what_a_row_leaves_out_is_no_crowd_and_has_no_keypoints() -> None:
    row = {"image_id": 1, "category_id": 1}
    coco = {"images": [{"id": 1}], "categories": CATEGORIES, "annotations": [row]}
    truth = GroundTruth(coco, BONES)
    assert truth.objects_per_image("bbox") == {(1, 1): 1}
    assert truth.objects_per_image("bbox", by_class=False) == {(1, 0): 1}
    assert not truth.objects_per_image("keypoints")
