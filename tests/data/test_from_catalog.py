"""A data set of DatasetCatalog: dicts and metadata are checked, and become what files become."""

import copy
import itertools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools import mask as mask_utils

from roilab.data.catalog_records import is_in_image
from roilab.data.dataset import load_dataset
from roilab.data.from_catalog import from_catalog
from roilab.errors import UserError
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import FiguresPaths
from roilab.via import LabelRules

WIDTH, HEIGHT = 20, 10
Register = Callable[..., str]
Log = pytest.LogCaptureFixture
Dicts = list[dict[str, Any]]
RING = [1.0, 1.0, 9.0, 1.0, 9.0, 9.0]
METADATA = {"thing_classes": ["car", "person"]}
POSE = {
    "keypoint_names": ["left", "right"],
    "keypoint_flip_map": [("left", "right")],
    "keypoint_connection_rules": [("left", "right", (255, 0, 0))],
}

_numbers = itertools.count()


@pytest.fixture
def registered() -> Iterator[Register]:
    """Registers dicts with metadata; both are gone after the test."""
    names = []

    def add(dicts: Any, **metadata: Any) -> str:
        name = f"catalog_{next(_numbers)}"
        DatasetCatalog.register(name, lambda: dicts)
        MetadataCatalog.get(name).set(**{**METADATA, **metadata})
        names.append(name)
        return name

    yield add
    for name in names:
        DatasetCatalog.pop(name)
        MetadataCatalog.pop(name)


@pytest.fixture
def dicts(tmp_path: Path) -> Dicts:
    """Two images, without sizes; the first has a car and a person."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
    car = {"bbox": [1, 1, 8, 8], "bbox_mode": BoxMode.XYWH_ABS}
    car |= {"category_id": 0, "segmentation": [RING]}
    person = {
        "bbox": [2, 2, 12, 9],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 1,
        "keypoints": [3.5, 4.5, 2, 0.5, 0.5, 0],
    }
    return [
        {"file_name": str(tmp_path / "a.png"), "image_id": "a", "annotations": [car, person]},
        {"file_name": str(tmp_path / "b.png"), "image_id": "b", "annotations": []},
    ]


def test_dicts_are_copied_and_completed(registered: Register, dicts: Dicts) -> None:
    before = copy.deepcopy(dicts)
    dataset = from_catalog(registered(dicts, **POSE))
    assert dicts == before
    first, second = dataset.records
    assert [(r["width"], r["height"]) for r in dataset.records] == [(WIDTH, HEIGHT)] * 2
    assert second["annotations"] == []
    car, person = first["annotations"]
    assert car["bbox"] == [1, 1, 9, 9]
    assert car["bbox_mode"] == BoxMode.XYXY_ABS
    assert car["keypoints"] == [0] * 6
    # The frame is Detectron2's already; what is not labelled is zero.
    assert person["keypoints"] == [3.5, 4.5, 2, 0, 0, 0]
    assert dataset.skeleton is not None
    assert dataset.skeleton.classes == ("person",)
    assert dataset.skeleton.swaps == (("left", "right"),)
    assert dataset.skeleton.links == (("left", "right"),)
    rows = [{"image_id": r["image_id"], "category_id": 1} for r in dataset.records]
    assert [row["image_id"] for row in dataset.coco_ids.to_file(rows)] == ["a", "b"]


def test_a_coco_file_is_the_same_through_the_catalog(
    figures: FiguresPaths, tmp_path: Path, registered: Register
) -> None:
    folder = figures.val.parent
    data = load_dataset(str(figures.val), str(folder), skeleton="coco_person").coco_json()
    ids = {1: 500, 2: 3}
    for row in data["annotations"]:
        row["category_id"] = ids[row["category_id"]]
    for category in data["categories"]:
        category["id"] = ids[category["id"]]
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(data))
    name = f"catalog_{next(_numbers)}"
    register_coco_instances(name, {}, str(file), str(folder))
    ours = load_dataset(str(file), str(folder), skeleton="coco_person")
    theirs = from_catalog(name, skeleton="coco_person")
    assert theirs.classes == ours.classes == ("person", "car")
    assert theirs.coco_ids == ours.coco_ids
    assert theirs.coco_ids.categories == (3, 500)
    exact, again = ours.coco_json(), theirs.coco_json()
    for one, other in zip(exact["annotations"], again["annotations"], strict=True):
        # The catalog does not carry the file's areas.
        assert one | {"area": 0} == other | {"area": 0}
    assert exact["images"] == again["images"]
    assert exact["categories"] == again["categories"]
    DatasetCatalog.pop(name)
    MetadataCatalog.pop(name)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"bbox": [1, 1, 8]}, "bbox"),
        ({"bbox": [1, 1, 8, float("nan")]}, "bbox"),
        ({"bbox": None}, "bbox"),
        ({"bbox_mode": BoxMode.XYWHA_ABS}, "bbox_mode"),
        ({"bbox_mode": None}, "bbox_mode"),
        ({"category_id": 2}, "category_id"),
        ({"category_id": -1}, "category_id"),
        ({"category_id": "0"}, "category_id"),
        ({"segmentation": [[1, 1, 5, 5]]}, "segmentation"),
        ({"segmentation": [[1, 1, 5, 5, 5, float("inf")]]}, "segmentation"),
        ({"segmentation": "outline"}, "segmentation"),
        ({"segmentation": {"size": [3, 3], "counts": [9]}}, "segmentation.size"),
        ({"segmentation": {"size": 9, "counts": [9]}}, "segmentation.size"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [9]}}, "segmentation.counts"),
        ({"keypoints": [1, 1, 2]}, "keypoints"),
        ({"keypoints": [1, 1, 2, 1, 1, 3]}, "keypoints"),
    ],
)
def test_unsound_annotations_are_named(
    registered: Register, dicts: Dicts, changes: dict[str, Any], key: str
) -> None:
    dicts[0]["annotations"][1].update(changes)
    with pytest.raises(UserError) as caught:
        from_catalog(registered(dicts, **POSE))
    assert caught.value.key == f"annotations[1].{key}"
    assert str(caught.value.file).endswith("a.png")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"file_name": None}, "[0].file_name"),
        ({"annotations": None}, "[0].annotations"),
        ({"image_id": 1.5}, "[0].image_id"),
        ({"image_id": "b"}, "image_id"),
        ({"width": 21}, "width and height"),
        ({"width": WIDTH, "height": 1}, "width and height"),
        ({"file_name": "nowhere.png"}, "name"),
    ],
)
def test_unsound_images_are_named(
    registered: Register, dicts: Dicts, changes: dict[str, Any], key: str
) -> None:
    dicts[0].update(changes)
    with pytest.raises(UserError) as caught:
        from_catalog(registered(dicts))
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("metadata", "key"),
    [
        ({"thing_classes": []}, "thing_classes"),
        ({"thing_classes": ["car", "car"]}, "thing_classes"),
        ({"thing_classes": "car"}, "thing_classes"),
        ({"thing_dataset_id_to_contiguous_id": {7: 0}}, "thing_dataset_id_to_contiguous_id"),
        ({"thing_dataset_id_to_contiguous_id": [1, 2]}, "thing_dataset_id_to_contiguous_id"),
        (POSE | {"keypoint_flip_map": [("left", "rihgt")]}, "swaps"),
        (POSE | {"keypoint_flip_map": None}, "keypoint_flip_map"),
        ({"keypoint_names": ["nose", "left"]}, "keypoint_flip_map"),
        (POSE | {"keypoint_flip_map": ["left"]}, "keypoint_names"),
        (POSE | {"keypoint_connection_rules": [("left", "rihgt", (1, 1, 1))]}, "links"),
        (POSE | {"keypoint_names": ["left", "left"]}, "keypoints"),
    ],
)
def test_unsound_metadata_are_named(
    registered: Register, dicts: Dicts, metadata: dict[str, Any], key: str
) -> None:
    with pytest.raises(UserError) as caught:
        from_catalog(registered(dicts, **metadata))
    assert caught.value.key == key


def test_a_skeleton_must_be_that_of_the_metadata(registered: Register, dicts: Dicts) -> None:
    with pytest.raises(UserError, match="keypoint_names"):
        from_catalog(registered(dicts, **POSE), skeleton="coco_person")
    coco = {
        "keypoint_names": list(COCO_PERSON.keypoints),
        "keypoint_flip_map": [pair[::-1] for pair in COCO_PERSON.swaps[::-1]],
    }
    dicts[0]["annotations"][1]["keypoints"] = [1.5, 1.5, 2] * 17
    assert from_catalog(registered(dicts, **coco), skeleton="coco_person").skeleton == COCO_PERSON
    swapped = coco | {"keypoint_flip_map": list(COCO_PERSON.swaps[1:])}
    with pytest.raises(UserError, match="keypoint_flip_map"):
        from_catalog(registered(dicts, **swapped), skeleton="coco_person")


@pytest.mark.parametrize("size", [[HEIGHT, WIDTH], (HEIGHT, WIDTH), np.array([HEIGHT, WIDTH])])
@pytest.mark.parametrize("kind", ["list", "bytes", "text"])
def test_masks_are_text(registered: Register, dicts: Dicts, kind: str, size: Any) -> None:
    counts: Any = [WIDTH * HEIGHT - 5, 5]
    rle: Any = {"size": [HEIGHT, WIDTH], "counts": counts}
    packed = mask_utils.frPyObjects(rle, HEIGHT, WIDTH)["counts"]
    rle["counts"] = {"list": counts, "bytes": packed, "text": packed.decode()}[kind]
    rle["size"] = size
    dicts[0]["annotations"][0]["segmentation"] = rle
    car = from_catalog(registered(dicts)).records[0]["annotations"][0]
    assert car["segmentation"] == {"size": [HEIGHT, WIDTH], "counts": packed.decode()}


def test_objects_outside_their_image_are_left_out(registered: Register, dicts: Dicts) -> None:
    dicts[0]["annotations"][1]["bbox"] = [WIDTH, 1, WIDTH + 5, 5]
    name = registered(dicts)
    dataset = from_catalog(name)
    assert [len(record["annotations"]) for record in dataset.records] == [1, 0]
    assert dataset.outside == 1
    with pytest.raises(UserError):
        from_catalog(name, strict=True)


def test_a_box_in_another_mode_is_a_warning(
    registered: Register, dicts: Dicts, caplog: Log
) -> None:
    caplog.set_level(logging.WARNING, "roilab")
    from_catalog(registered(dicts))
    assert "bbox_mode" not in caplog.text
    # The corners as width and height: another box than the outline, or one beyond the image.
    car, person = dicts[0]["annotations"]
    car.update(bbox=[10, 1, 18, 9], segmentation=[[10, 1, 18, 1, 18, 9]])
    person.update(bbox_mode=BoxMode.XYWH_ABS, bbox=[12, 2, 16, 9])
    from_catalog(registered(dicts))
    assert "annotation 0, a car, has an IoU of 0." in caplog.text
    assert "annotation 1, a person, reaches 8 pixels beyond the image" in caplog.text
    assert "bbox_mode" in caplog.text


def test_classes_are_mapped_and_ordered(registered: Register, dicts: Dicts) -> None:
    ids = {40: 0, 7: 1}
    name = registered(dicts, thing_dataset_id_to_contiguous_id=ids)
    assert from_catalog(name).coco_ids.categories == (40, 7)
    ordered = from_catalog(name, classes=["person", "bus", "car"])
    assert [a["category_id"] for a in ordered.records[0]["annotations"]] == [2, 0]
    assert ordered.coco_ids.categories == (7, 41, 40)
    merged = from_catalog(name, rules=LabelRules(class_map={"car": "thing", "person": "thing"}))
    assert merged.classes == ("thing",)
    assert merged.coco_ids.categories == (40,)
    dropped = from_catalog(name, rules=LabelRules(class_map={"car": None}))
    assert dropped.classes == ("person",)
    assert len(dropped.records[0]["annotations"]) == 1
    with pytest.raises(UserError) as caught:
        from_catalog(name, classes=["person"])
    assert caught.value.key == "classes"
    with pytest.raises(UserError) as caught:
        from_catalog(name, rules=LabelRules(class_map={"bus": "car"}))
    assert caught.value.key == "class_map"


def test_missing_images_are_left_out_where_that_is_asked_for(
    registered: Register, dicts: Dicts
) -> None:
    Path(dicts[1]["file_name"]).write_bytes(b"no image")
    name = registered(dicts)
    with pytest.raises(UserError, match=r"0 not there, 1 not readable(.|\n)*missing_images=skip"):
        from_catalog(name)
    assert from_catalog(name, missing_images="skip").missing == 1


def test_a_file_of_two_images_is_said(registered: Register, dicts: Dicts, caplog: Log) -> None:
    from_catalog(registered(dicts))
    assert "more than once" not in caplog.text
    file = Path(dicts[0]["file_name"])
    dicts[1]["file_name"] = str(file.parent / ".." / file.parent.name / file.name)
    assert len(from_catalog(registered(dicts)).records) == 2
    assert f"images that occur more than once: {file}" in caplog.text


def test_another_evaluator_is_said(registered: Register, dicts: Dicts, caplog: Log) -> None:
    caplog.set_level(logging.WARNING, "roilab")
    from_catalog(registered(dicts, evaluator_type="coco"))
    assert "evaluator" not in caplog.text
    from_catalog(registered(dicts, evaluator_type="lvis"))
    assert "its evaluator is 'lvis'" in caplog.text


def test_the_file_that_registers_is_run_once(tmp_path: Path, dicts: Dicts) -> None:
    name = f"catalog_{next(_numbers)}"
    file = tmp_path / "register.py"
    file.write_text(
        "from detectron2.data import DatasetCatalog, MetadataCatalog\n"
        f"def made():\n    return {dicts!r}\n".replace("<BoxMode.XYWH_ABS: 1>", "1").replace(
            "<BoxMode.XYXY_ABS: 0>", "0"
        )
        + f"DatasetCatalog.register('{name}', made)\n"
        f"MetadataCatalog.get('{name}').thing_classes = ['car', 'person']\n"
    )
    with pytest.raises(UserError, match=r"register"):
        from_catalog(name)
    for _ in range(2):  # a second registration would fail
        assert len(from_catalog(name, register=str(file))) == 2
    DatasetCatalog.pop(name)
    MetadataCatalog.pop(name)


@pytest.mark.parametrize("content", [None, "", "1 / 0", "not python"])
def test_a_file_that_does_not_register_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "register.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError) as caught:
        from_catalog("catalog_nowhere", register=str(file))
    assert caught.value.key == "register"


def test_a_function_that_fails_is_named(registered: Register) -> None:
    with pytest.raises(UserError, match="the function of a registered data set fails"):
        from_catalog(registered(None))


SEEN = [3.5, 4.5, 2.0] + [0.0, 0.0, 0.0] * 16


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 5, 5], True),
        ([-4, -4, 1, 1], True),
        ([-4, 0, 0, 5], False),
        ([0, -4, 5, 0], False),
        ([39, 29, 44, 34], True),
        ([40, 0, 44, 5], False),
        ([0, 30, 5, 34], False),
        ([3, 4, 3, 9], False),
        ([3, 4, 9, 4], False),
    ],
)
def test_a_box_is_left_where_it_has_an_area_in_the_image(box: list[float], expected: bool) -> None:
    anno: dict[str, Any] = {"bbox": box, "iscrowd": 0, "keypoints": [0.0] * 51}
    assert is_in_image(anno, 40, 30, None) is expected
    assert is_in_image(anno, 40, 30, COCO_PERSON) is expected
    # Keypoints stand for an object whose box has no extent.
    is_empty = box[0] == box[2] or box[1] == box[3]
    assert is_in_image(anno | {"keypoints": SEEN}, 40, 30, COCO_PERSON) is (expected or is_empty)
    assert is_in_image(anno | {"iscrowd": 1}, 40, 30, None)
    # An outline says more than a box.
    outside = {"segmentation": [[50.0, 1.0, 60.0, 1.0, 60.0, 9.0]]}
    assert not is_in_image(anno | outside, 40, 30, None)
