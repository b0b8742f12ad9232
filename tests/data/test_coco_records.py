"""COCO files as training reads them: what Detectron2's reader gives, and what is wrong in them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from detectron2.data import MetadataCatalog
from detectron2.data.datasets import load_coco_json
from detectron2.structures import BoxMode
from PIL import Image

from roilab import skeleton as skeletons
from roilab.curation.check import CheckReport, check_annotations
from roilab.data.coordinates import box_of
from roilab.data.dataset import load_dataset
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import find_images
from roilab.errors import UserError
from roilab.image_files import ImageFolder
from roilab.via import LabelRules, build_instances

WIDTH, HEIGHT = 20, 10
Json = dict[str, Any]


@pytest.fixture
def coco(tmp_path: Path) -> Json:
    """Two images, each with an object; the second one's has the id 7."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 1, 8, 8],
        "area": 32,
        "iscrowd": 0,
        "segmentation": [[1, 1, 9, 1, 9, 9]],
        "keypoints": [3, 3, 2],
    }
    return {
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for number, name in enumerate(("a.png", "b.png"), 1)
        ],
        "annotations": [annotation, annotation | {"id": 7, "image_id": 2}],
        "categories": [{"id": 1, "name": "car"}],
    }


def write(folder: Path, data: object, **options: Any) -> Path:
    path = folder / "coco.json"
    path.write_text(json.dumps(data, **options), encoding="utf-8")
    return path


def test_vias_export_with_sorted_keys_is_mended(tmp_path: Path, coco: Json) -> None:
    coco["info"] = {"description": "VIA project exported to COCO format"}
    coco["categories"][0]["supercategory"] = "kind"
    row = {"segmentation": [1, 1, 9, 1, 9, 9], "category_id": 1}
    coco["annotations"] = [
        row | {"id": number, "image_id": str(1 + number % 2)} for number in range(100)
    ]
    path = write(tmp_path, coco, sort_keys=True)
    assert path.read_text().index("VIA project") > 4096
    assert sum(len(record["annotations"]) for record in load_dataset(str(path)).records) == 100


def test_a_byte_order_mark_is_read_over(tmp_path: Path, coco: Json) -> None:
    plain = load_dataset(str(write(tmp_path, coco)))
    path = write(tmp_path, coco)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_dataset(str(path)).records == plain.records


def test_two_images_of_one_file(
    tmp_path: Path, coco: Json, caplog: pytest.LogCaptureFixture
) -> None:
    coco["images"][1]["file_name"] = "./a.png"
    path = write(tmp_path, coco)
    assert len(load_dataset(str(path))) == 2
    assert "is that of the entry" in caplog.text


def rle(counts: object, height: object = HEIGHT, width: object = WIDTH) -> dict[str, object]:
    return {"size": [height, width], "counts": counts}


def checked(path: Path, bones: Path | None = None) -> CheckReport:
    skeleton = None if bones is None else skeletons.load_skeleton(str(bones))
    annotations = read_annotations(path)
    (located,) = find_images([(annotations, ImageFolder(path.parent))])
    return check_annotations(annotations, located, LabelRules(), skeleton)


# A value that is unsound, and what says so: with an outline, an unsound box is no loss.
@pytest.mark.parametrize(
    ("key", "value", "message", "is_lost"),
    [
        ("keypoints", "abc", "the keypoints of annotation 7", False),
        ("keypoints", 5, "the keypoints of annotation 7", False),
        ("keypoints", {"nose": [1, 2, 2]}, "the keypoints of annotation 7", False),
        ("keypoints", [1, 2, "x"], "the keypoints of annotation 7", False),
        ("keypoints", [[1, 2, 2]], "the keypoints of annotation 7", False),
        ("keypoints", [1, 2, float("nan")], "the keypoints of annotation 7", False),
        ("keypoints", [10**400, 2, 2], "the keypoints of annotation 7", False),
        ("keypoints", [1, 2], "annotation 7 has 2 numbers for keypoints", False),
        ("bbox", [1, 1, 8], "the bbox of annotation 7 is no x, y", False),
        ("bbox", [1, 1, "8", 8], "the bbox of annotation 7 is no x, y", False),
        ("bbox", [1, 1, 8, float("inf")], "the bbox of annotation 7 is no x, y", False),
        ("bbox", {"0": 1, "1": 1, "2": 8, "3": 8}, "the bbox of annotation 7 is no x, y", False),
        ("bbox", [1, 1, 0, 8], "the bbox of annotation 7 is without extent (0 x 8)", False),
        ("bbox", [1, 1, 8, 0], "the bbox of annotation 7 is without extent (8 x 0)", False),
        ("segmentation", "abc", "the segmentation of annotation 7", True),
        ("segmentation", [["1", 1, 9, 1, 9, 9]], "7: a ring of its segmentation is ['1'", True),
        ("segmentation", [[1, 1, 9, 1, 9]], "7: a ring of its segmentation is [1, 1, 9", True),
        ("segmentation", [[1, 1, 9, 1]], "annotation 7: a polygon of 2 distinct vertices", True),
        ("segmentation", rle([-1, 201]), "no lengths", True),
        ("segmentation", rle([1 << 40]), "cover", True),
        ("segmentation", rle([3, 4]), "cover 7 of 200 pixels", True),
        ("segmentation", rle([0.5, 199.5]), "no lengths", True),
        ("segmentation", rle("99"), "do not cover", True),
        ("segmentation", rle(None), "do not cover", True),
        ("segmentation", rle([200], -HEIGHT), "its size is", True),
        ("segmentation", rle([200], 10**400, 1), "its size is", True),
        ("segmentation", rle([20, 30, 150], WIDTH, HEIGHT), "10 x 20 pixels, its image", True),
        ("segmentation", {"counts": [200]}, "its size is None", True),
        ("category_id", 9, "annotation 7 has the unknown category 9", True),
        ("image_id", 9, "annotation 7 belongs to image 9", True),
    ],
)
def test_what_is_unsound_is_named_and_the_rest_is_read(
    tmp_path: Path,
    coco: Json,
    caplog: pytest.LogCaptureFixture,
    key: str,
    value: object,
    message: str,
    is_lost: bool,
) -> None:
    coco["categories"][0]["keypoints"] = ["hub"]
    coco["annotations"][1][key] = value
    path = write(tmp_path, coco)
    dataset = load_dataset(str(path))
    assert message in caplog.text
    assert sum(len(record["annotations"]) for record in dataset.records) == 2 - is_lost
    findings = checked(path)
    assert findings.instances == 2 - is_lost
    assert any(message in problem.message for problem in findings.problems)
    if is_lost:
        with pytest.raises(UserError, match="read strictly"):
            load_dataset(str(path), strict=True)


@pytest.mark.parametrize("counts", [[0, 30, 170], [200]])
def test_run_lengths_that_fit(tmp_path: Path, coco: Json, counts: list[int]) -> None:
    coco["annotations"][1]["segmentation"] = rle(counts)
    (_, record) = load_dataset(str(write(tmp_path, coco))).records
    assert record["annotations"][0]["segmentation"]["size"] == [HEIGHT, WIDTH]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(images=5),
        lambda data: data.update(annotations=5),
        lambda data: data.pop("images"),
    ],
)
def test_unsound_files_are_named(
    tmp_path: Path, coco: Json, change: Callable[[dict[str, Any]], object]
) -> None:
    change(coco)
    with pytest.raises(UserError, match=r"(.|\n)*coco\.json"):
        load_dataset(str(write(tmp_path, coco)))


EMPTY: dict[str, Any] = {"segmentation": [], "keypoints": []}


@pytest.mark.parametrize(
    ("change", "instances"),
    [
        ({}, 2),
        ({"segmentation": [[25, 1, 30, 1, 30, 9]]}, 1),
        ({"segmentation": [[1, -9, 9, -9, 9, 0]]}, 1),
        ({"segmentation": [[1, -9, 9, -9, 9, 0.5]]}, 2),
        # One part of it is in the image.
        ({"segmentation": [[25, 1, 30, 1, 30, 9], [1, 1, 9, 1, 9, 9]]}, 2),
        # The outline counts, the box only where there is none.
        ({"bbox": [25, 1, 5, 5]}, 2),
        (EMPTY | {"bbox": [25, 1, 5, 5]}, 1),
        (EMPTY | {"bbox": [-5, 1, 5, 5]}, 1),
        (EMPTY | {"bbox": [-5, 1, 6, 5]}, 2),
        # What has keypoints alone has these.
        ({"segmentation": [], "bbox": [0, 0, 0, 0]}, 2),
        ({"segmentation": rle([30, 20, 150]), "bbox": [25, 1, 5, 5]}, 2),
        ({"segmentation": rle([200]), "bbox": [25, 1, 5, 5]}, 1),
    ],
)
def test_what_lies_outside_its_image_is_left_out_as_in_check(
    tmp_path: Path, coco: Json, caplog: pytest.LogCaptureFixture, change: Json, instances: int
) -> None:
    coco["categories"][0]["keypoints"] = ["hub"]
    coco["annotations"][1].update(change)
    path = write(tmp_path, coco)
    bones = write_skeleton(tmp_path, ["hub"])
    dataset = load_dataset(str(path), skeleton=str(bones))
    assert sum(len(record["annotations"]) for record in dataset.records) == instances
    assert len(dataset) == 2
    assert dataset.outside == 2 - instances
    left_out = "left out: the car (annotation 7) lies outside the image of 20 x 10 pixels"
    assert (left_out in caplog.text) == (instances < 2)
    findings = checked(path, bones)
    assert findings.instances == instances
    if instances < 2:
        assert any(problem.severity == "error" for problem in findings.problems)
        with pytest.raises(UserError, match="annotation 7"):
            load_dataset(str(path), skeleton=str(bones), strict=True)


def test_a_crowd_is_no_object_that_could_be_left_out(tmp_path: Path, coco: Json) -> None:
    coco["annotations"][1].update(iscrowd=1, segmentation=rle([200]), bbox=[0, 0, 0, 0])
    assert load_dataset(str(write(tmp_path, coco))).outside == 0


def test_the_records_are_those_of_detectron2(tmp_path: Path, coco: Json) -> None:
    """Boxes, polygons (closed ones, too), masks, areas and keypoints, to the last digit."""
    coco["categories"] = [
        {"id": 5, "name": "car", "keypoints": ["hub", "door"]},
        {"id": 2, "name": "cat"},
    ]
    first, second = coco["annotations"]
    first.update(category_id=5, bbox=[1.1, 1.3, 7.9, 7.7], keypoints=[3, 3, 2, 0, 0, 0])
    second.update(category_id=2, segmentation=rle([25, 30, 145]), bbox=[2, 1, 4, 8], area=30.5)
    del second["keypoints"]
    closed = [[1, 1, 9, 1, 9, 9, 1, 1], [11.5, 2, 15, 2, 15, 8]]
    coco["annotations"] += [
        first | {"id": 8, "segmentation": closed, "bbox": [1, 1, 14, 8], "keypoints": [0] * 6},
        second | {"id": 9, "iscrowd": 1, "segmentation": rle([0, 20, 180])},
    ]
    coco["images"].reverse()
    coco["images"][0]["id"] = 41
    for anno in coco["annotations"]:
        anno["image_id"] = {1: 1, 2: 41}[anno["image_id"]]
    path, name = write(tmp_path, coco), "test_coco_records"
    theirs = load_coco_json(str(path), str(tmp_path), name, extra_annotation_keys=["area"])
    MetadataCatalog.pop(name)
    bones = write_skeleton(tmp_path, ["hub", "door"])
    ours = load_dataset(str(path), skeleton=str(bones)).records
    assert load_dataset(str(path)).classes == ("cat", "car")
    for mine, other in zip(ours, theirs, strict=True):
        none = [0.0] * 6
        keypoints = [anno.pop("keypoints") for anno in mine["annotations"]]
        expected = [anno.pop("keypoints", none) for anno in other["annotations"]]
        # Detectron2 moves the unlabelled ones as well.
        assert keypoints == [zeros_without_label(points) for points in expected]
        assert mine == other


def zeros_without_label(flat: list[float]) -> list[float]:
    return [value if flat[at - at % 3 + 2] else 0 for at, value in enumerate(flat)]


def write_skeleton(folder: Path, names: list[str], **more: Any) -> Path:
    data = {"name": "one", "keypoints": names, "classes": ["car"], "links": [], "swaps": []}
    path = folder / "skeleton.json"
    path.write_text(json.dumps(data | {"sigmas": [0.1] * len(names)} | more))
    return path


def test_classes_are_renamed_merged_and_dropped(tmp_path: Path, coco: Json) -> None:
    coco["categories"] = [{"id": n, "name": name} for n, name in enumerate(["car", "van", "cat"])]
    rows = zip(coco["annotations"], (0, 1), strict=True)
    coco["annotations"] = [anno | {"category_id": number} for anno, number in rows]
    path = str(write(tmp_path, coco))
    assert load_dataset(path).classes == ("car", "van", "cat")
    merged = load_dataset(
        path, rules=LabelRules(class_map={"van": "vehicle", "car": "vehicle", "cat": None})
    )
    assert merged.classes == ("vehicle",)
    assert merged.coco_ids.categories == (0,)
    # What is found is a van in the file: that is the category of this name.
    assert load_dataset(
        path, rules=LabelRules(class_map={"car": "van", "cat": None})
    ).coco_ids.categories == (1,)
    dropped = load_dataset(path, rules=LabelRules(class_map={"van": None}), classes=["dog", "car"])
    assert [len(record["annotations"]) for record in dropped.records] == [1, 0]
    assert dropped.records[0]["annotations"][0]["category_id"] == 1
    with pytest.raises(UserError, match="van"):
        load_dataset(path, classes=["dog", "car"])


def test_several_files_of_both_kinds_are_one_data_set(
    tmp_path: Path, coco: Json, caplog: pytest.LogCaptureFixture
) -> None:
    one = write(tmp_path, coco)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "c.png")
    shape = {"name": "rect", "x": 1, "y": 1, "width": 5, "height": 5}
    region = {"shape_attributes": shape, "region_attributes": {"class": "dog"}}
    entry = {"filename": "c.png", "size": -1, "regions": [region], "file_attributes": {}}
    via = tmp_path / "via.json"
    via.write_text(json.dumps({"c.png-1": entry}))
    mixed = load_dataset([str(one), str(via)])
    assert mixed.classes == ("car", "dog")
    assert [record["image_id"] for record in mixed.records] == [1, 2, 3]
    assert dict(mixed.coco_ids.images) == {1: 1, 2: 2, 3: 3}

    other = json.loads(json.dumps(coco))
    for image in other["images"]:
        image["id"] += 10
    for anno in other["annotations"]:
        anno["image_id"] += 10
    other["images"][1]["file_name"] = "c.png"
    two = tmp_path / "two.json"
    two.write_text(json.dumps(other))
    both = load_dataset([str(one), str(two)])
    assert both.coco_ids.images == {1: 1, 2: 2, 3: 11, 4: 12}
    assert "is that of the entry 'a.png' of" in caplog.text
    with pytest.raises(UserError, match="given twice"):
        load_dataset([str(one), str(one)])


def test_ids_that_are_text(tmp_path: Path, coco: Json) -> None:
    for image in coco["images"]:
        image["id"] = f"img-{image['id']}"
    for anno in coco["annotations"]:
        anno["image_id"] = f"img-{anno['image_id']}"
    dataset = load_dataset(str(write(tmp_path, coco)))
    assert [record["image_id"] for record in dataset.records] == [1, 2]
    assert dict(dataset.coco_ids.images) == {1: "img-1", 2: "img-2"}


@pytest.mark.parametrize("name", ["there\\a.png", " a.png ", "elsewhere/a.png"])
def test_images_are_found_as_those_of_via_files(tmp_path: Path, coco: Json, name: str) -> None:
    coco["images"][0]["file_name"] = name
    (record, _) = load_dataset(str(write(tmp_path, coco))).records
    assert Path(record["file_name"]).name == "a.png"


class TestBoxes:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({}, None),
            ({"bbox": [1, 1, 9, 9]}, None),
            ({"bbox": [11, 1, 15, 9]}, "IoU of 0.00 with its outline"),
            ({"bbox": [1, 1, 30, 30]}, "IoU"),
            # Only the numbers of the second are those of corners.
            ({"segmentation": [[10, 2, 18, 2, 18, 9]], "bbox": [10, 2, 18, 9]}, "as if x0, y0"),
            ({"segmentation": [], "bbox": [10, 2, 18, 9]}, "as if x0, y0"),
            ({"segmentation": [], "bbox": [10, 2, 15, 4]}, "beyond the image of 20 x 10"),
        ],
    )
    def test_one_that_does_not_fit_is_named(
        self, tmp_path: Path, coco: Json, change: Json, reason: str | None
    ) -> None:
        coco["annotations"][1].update(change)
        findings = checked(write(tmp_path, coco))
        problems = [problem for problem in findings.problems if "bbox" in problem.message]
        assert [problem.image for problem in problems] == ([] if reason is None else ["b.png"])
        assert all(reason in problem.message for problem in problems if reason)
        assert findings.instances == 2

    def test_the_files_own_is_drawn_and_trained_on(self, tmp_path: Path, coco: Json) -> None:
        coco["annotations"][1].update(bbox=[2, 3, 4, 5])
        path = write(tmp_path, coco)
        (_, image) = build_instances(read_annotations(path)).images
        assert box_of(image.instances[0], WIDTH, HEIGHT) == [2, 3, 6, 8]
        (_, record) = load_dataset(str(path)).records
        assert record["annotations"][0]["bbox"] == [2, 3, 4, 5]
        assert record["annotations"][0]["bbox_mode"] == BoxMode.XYWH_ABS

    def test_none_is_made_of_the_keypoints(self, tmp_path: Path, coco: Json) -> None:
        coco["categories"][0]["keypoints"] = ["hub", "door"]
        for key in ("bbox", "segmentation"):
            del coco["annotations"][1][key]
        coco["annotations"][0]["keypoints"] = [0] * 6
        coco["annotations"][1]["keypoints"] = [3, 2, 2, 8, 7, 1]
        path, bones = write(tmp_path, coco), write_skeleton(tmp_path, ["hub", "door"])
        (_, record) = load_dataset(str(path), skeleton=str(bones)).records
        x0, y0, x1, y1 = record["annotations"][0]["bbox"]
        assert x0 < 3
        assert y0 < 2
        assert x1 > 9
        assert y1 > 8
        findings = checked(path, bones)
        assert (findings.instances, findings.keypoints) == (2, 2)


class TestKeypoints:
    def test_a_category_that_names_none_is_read_by_the_order(
        self, tmp_path: Path, coco: Json
    ) -> None:
        path = write(tmp_path, coco)
        bones = write_skeleton(tmp_path, ["hub"])
        for record in load_dataset(str(path), skeleton=str(bones)).records:
            assert record["annotations"][0]["keypoints"] == [3.5, 3.5, 2]
        findings = checked(path, bones)
        assert not any(problem.severity == "error" for problem in findings.problems)
        assert findings.keypoints == 2
        with pytest.raises(UserError, match="1 keypoints"):
            load_dataset(str(path), skeleton=str(write_skeleton(tmp_path, ["hub", "door"])))

    def test_names_tell_them_whatever_their_order(self, tmp_path: Path, coco: Json) -> None:
        coco["categories"][0]["keypoints"] = ["door", "hub"]
        for anno in coco["annotations"]:
            anno["keypoints"] = [1, 2, 1, 3, 4, 2]
        path = write(tmp_path, coco)
        bones = write_skeleton(tmp_path, ["hub", "door"])
        (record, _) = load_dataset(str(path), skeleton=str(bones)).records
        assert record["annotations"][0]["keypoints"] == [3.5, 4.5, 2, 1.5, 2.5, 1]
        with pytest.raises(UserError, match="do not fit the skeleton"):
            load_dataset(str(path), skeleton=str(write_skeleton(tmp_path, ["wheel"])))


def test_crowds_that_do_not_fit_are_named(tmp_path: Path, coco: Json) -> None:
    mask = {"size": [WIDTH, HEIGHT], "counts": [0, WIDTH * HEIGHT]}
    coco["annotations"].append(
        {"id": 8, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": mask}
    )
    path = write(tmp_path, coco)
    dataset = load_dataset(str(path))
    findings = checked(path)
    (problem,) = (finding for finding in findings.problems if finding.severity == "error")
    assert "left out: the mask of the car (annotation 8)" in problem.message
    assert problem.region is None
    assert findings.crowds == 0
    assert not any(anno["iscrowd"] for r in dataset.records for anno in r["annotations"])


def test_the_summary_counts_objects_of_each_class_and_crowds_apart(
    tmp_path: Path, coco: Json
) -> None:
    assert load_dataset(str(write(tmp_path, coco))).summary() == "2 images, 2 instances: car 2"
    coco["categories"].append({"id": 2, "name": "van"})
    first, second = coco["annotations"]
    crowds = [first | {"id": number, "iscrowd": 1} for number in (8, 9)]
    coco["annotations"] = [first, second, second | {"id": 3, "category_id": 2}, *crowds]
    dataset = load_dataset(str(write(tmp_path, coco)))
    assert dataset.summary() == "2 images, 3 instances: car 2, van 1; 2 crowds"
    less = replace(dataset, dropped=4, outside=5).summary()
    assert "; 2 crowds; 4 images without annotations left out" in less
    assert "; 5 instances outside their image left out" in less


def test_the_name_follows_the_skeleton(tmp_path: Path, coco: Json) -> None:
    """Detectron2 keeps data sets by their names, with their keypoints."""
    path = write(tmp_path, coco)
    names = [
        load_dataset(str(path), skeleton=str(write_skeleton(tmp_path, ["hub"], **more))).name
        for more in ({}, {"sigmas": [0.3]}, {"sigmas": [0.3]})
    ]
    assert names[0] != names[1] == names[2]


def test_masks_of_any_encoding_are_json_data(tmp_path: Path, coco: Json) -> None:
    lengths = [WIDTH, 20, HEIGHT * WIDTH - WIDTH - 20]
    coco["annotations"][0]["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": lengths}
    dataset = load_dataset(str(write(tmp_path, coco)))
    again = write(tmp_path, json.loads(json.dumps(dataset.coco_json())))
    assert load_dataset(str(again)).coco_json() == dataset.coco_json()
