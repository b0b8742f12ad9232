"""Detectron2 annotations, their COCO json, the half pixel, and what is logged of problems."""

import copy
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab import via
from roilab.data.coco import dataset_to_coco
from roilab.data.coordinates import to_continuous, to_pixel_index
from roilab.data.records import box_of, detectron2_annotation, log_problems
from roilab.data.usable_images import SHOWN
from roilab.skeleton import COCO_PERSON, Skeleton
from roilab.via import Instance, Polygon

SIDES = ("left", "right")
PAIR = Skeleton("pair", ("person",), SIDES, (SIDES,), (SIDES,), (0.1, 0.1))
SQUARE = Polygon((10.0, 30.0, 30.0, 10.0), (20.0, 20.0, 40.0, 40.0))
coordinates = st.integers(0, 5000).map(float)
triples = st.tuples(coordinates, coordinates, st.sampled_from([1, 2])) | st.just((0.0, 0.0, 0))


@given(st.lists(triples, min_size=1, max_size=20))
def test_half_a_pixel_there_and_back(keypoints: list[tuple[float, float, int]]) -> None:
    flat = [float(value) for triple in keypoints for value in triple]
    assert to_pixel_index(to_continuous(keypoints)) == flat


def test_a_clicked_pixel_becomes_its_centre_and_an_unlabelled_point_stays() -> None:
    assert to_continuous([(3, 4, 2), (0, 0, 0)]) == [3.5, 4.5, 2, 0.0, 0.0, 0]


def test_an_array_of_keypoints_is_not_touched() -> None:
    keypoints = np.array([[3.5, 4.5, 2.0], [0.0, 0.0, 0.0]])
    assert to_pixel_index(keypoints) == [3, 4, 2, 0, 0, 0]
    assert keypoints.tolist() == [[3.5, 4.5, 2], [0, 0, 0]]


@pytest.mark.parametrize(
    ("x", "kept"), [(99, 99), (99.5, 99.5), (100, 99), (100.5, 99), (101, 101), (0, 0), (-1, -1)]
)
def test_a_point_on_the_edge_is_the_last_pixel(x: float, kept: float) -> None:
    """Detectron2 would drop it; one that is farther out stays for it to drop."""
    instance = Instance("person", (SQUARE,), ((x, 3.0, 2), (4.0, x, 1)), (0,))
    keypoints = detectron2_annotation(instance, ["person"], PAIR, 100, 100)["keypoints"]
    assert keypoints == [kept + 0.5, 3.5, 2, 4.5, kept + 0.5, 1]


def test_box_of_polygons_is_not_shifted_and_is_cut_at_the_image() -> None:
    triangle = Polygon((50.0, 120.0, 60.0), (50.0, 50.0, 70.0))
    instance = Instance("car", (SQUARE, triangle), None, (0,))
    assert box_of(instance, 100, 60) == [10.0, 20.0, 100.0, 60.0]


def test_box_of_keypoints_has_room_around_them() -> None:
    instance = Instance("person", (), ((10.0, 10.0, 2), (29.0, 49.0, 1)), (0,))
    x0, y0, x1, y1 = box_of(instance, 200, 200)
    assert x0 < 10
    assert y0 < 10
    assert x1 > 30
    assert y1 > 50


def test_every_annotation_carries_keypoints_where_there_is_a_skeleton() -> None:
    """Detectron2 looks at an image's first annotation only."""
    car = Instance("car", (SQUARE,), None, (0,))
    annotation = detectron2_annotation(car, ["car", "person"], PAIR, 99, 99)
    assert annotation["keypoints"] == [0.0, 0.0, 0] * 2
    assert "keypoints" not in detectron2_annotation(car, ["car"], None, 99, 99)


def test_an_object_of_keypoints_alone_has_no_mask() -> None:
    person = Instance("person", (), ((10.0, 10.0, 2), (29.0, 49.0, 1)), (0,))
    assert "segmentation" not in detectron2_annotation(person, ["person"], PAIR, 99, 99)


def record(*instances: Instance) -> dict:
    classes = ["car", "person"]
    annotations = [detectron2_annotation(i, classes, PAIR, 100, 100) for i in instances]
    image = {"file_name": "a.png", "image_id": 1, "width": 100, "height": 100}
    return image | {"annotations": annotations}


def test_coco_json_of_an_instance() -> None:
    person = Instance("person", (SQUARE,), ((12.0, 21.0, 2), (0.0, 0.0, 0)), (0,))
    car = Instance("car", (SQUARE, SQUARE), None, (1,))
    records = [record(person, car)]
    before = copy.deepcopy(records)
    data = dataset_to_coco(records, ["car", "person"], PAIR)
    again = dataset_to_coco(records, ["car", "person"], PAIR)
    assert records == before, "the export must not shift what it is given"
    assert data == again
    first, second = data["annotations"]
    assert first["keypoints"] == [12.0, 21.0, 2.0, 0.0, 0.0, 0.0]
    assert first["num_keypoints"] == 1
    assert first["bbox"] == [10.0, 20.0, 20.0, 20.0]
    assert first["area"] == pytest.approx(400)
    assert second["area"] == pytest.approx(800)
    assert "keypoints" not in second
    assert [c["name"] for c in data["categories"]] == ["car", "person"]
    assert data["categories"][1]["keypoints"] == ["left", "right"]


def test_empty_images_stay_in_the_json() -> None:
    data = dataset_to_coco([record()], ["car"], COCO_PERSON)
    assert len(data["images"]) == 1
    assert data["annotations"] == []


def problem(severity: via.Severity, number: int) -> via.Problem:
    return via.Problem(severity, f"{severity} {number}", "mend it", "via.json")


def test_a_long_list_is_cut_and_the_most_severe_stand_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "roilab")
    log_problems([problem("note", 1), *(problem("warning", n) for n in range(2, SHOWN + 1))])
    assert len(caplog.records) == SHOWN
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (SHOWN - 1) + ["INFO"]
    caplog.clear()
    log_problems([*(problem("note", n) for n in range(SHOWN + 1)), problem("error", 9)])
    assert "error 9" in caplog.messages[0]
    assert caplog.messages[SHOWN:] == ["2 more problems: see roilab data check"]
