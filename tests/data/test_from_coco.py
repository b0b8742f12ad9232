"""COCO files for Detectron2: told from VIA's, with a BOM, and with annotations that are unsound."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from roilab.data.from_coco import is_coco

from roilab import skeleton as skeletons
from roilab.data.check import examine
from roilab.data.dataset import load
from roilab.data.read import read
from roilab.errors import UserError
from roilab.images import ImageFolder
from roilab.via import LabelRules

WIDTH, HEIGHT = 20, 10


@pytest.fixture
def coco(tmp_path: Path) -> dict[str, Any]:
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


class TestIsCoco:
    @pytest.mark.parametrize("text", ["{}", "", "[]", '{"a.jpg1": {}}', '{"_via_settings": {}}'])
    def test_no(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "a.json"
        path.write_text(text)
        assert not is_coco(path)

    def test_yes(self, tmp_path: Path, coco: dict[str, Any]) -> None:
        assert is_coco(write(tmp_path, coco))
        assert is_coco(write(tmp_path, coco, indent=2, sort_keys=True))

    def test_the_words_alone_say_nothing(self, tmp_path: Path, coco: dict[str, Any]) -> None:
        coco["categories"][0]["supercategory"] = "VIA project exported"
        assert is_coco(write(tmp_path, coco))

    # Also where the words lie across the blocks in which the file is read.
    @pytest.mark.parametrize("size", [0, 5000, *range((1 << 20) - 130, (1 << 20) - 60, 10)])
    def test_vias_own_wherever_it_says_so(
        self, tmp_path: Path, coco: dict[str, Any], size: int
    ) -> None:
        coco["annotations"] = [" " * size]
        coco["info"] = {"description": "VIA project exported to COCO format"}
        assert not is_coco(write(tmp_path, coco, sort_keys=True))


def test_vias_export_with_sorted_keys_is_mended(tmp_path: Path, coco: dict[str, Any]) -> None:
    coco["info"] = {"description": "VIA project exported to COCO format"}
    coco["categories"][0]["supercategory"] = "kind"
    row = {"segmentation": [1, 1, 9, 1, 9, 9], "category_id": 1}
    coco["annotations"] = [
        row | {"id": number, "image_id": str(1 + number % 2)} for number in range(100)
    ]
    path = write(tmp_path, coco, sort_keys=True)
    assert path.read_text().index("VIA project") > 4096
    assert sum(len(record["annotations"]) for record in load(str(path)).records) == 100


def test_a_byte_order_mark_is_read_over(tmp_path: Path, coco: dict[str, Any]) -> None:
    plain = load(str(write(tmp_path, coco)))
    path = write(tmp_path, coco)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(str(path)).records == plain.records


def test_two_images_of_one_file(
    tmp_path: Path, coco: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    coco["images"][1]["file_name"] = "./a.png"
    path = write(tmp_path, coco)
    assert len(load(str(path))) == 2
    assert "images 1 and 2 are" in caplog.text


def rle(counts: object, height: object = HEIGHT, width: object = WIDTH) -> dict[str, object]:
    return {"size": [height, width], "counts": counts}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("keypoints", "abc"),
        ("keypoints", 5),
        ("keypoints", {}),
        ("keypoints", {"nose": [1, 2, 2]}),
        ("keypoints", None),
        ("keypoints", [1, 2, "x"]),
        ("keypoints", [1, 2, None]),
        ("keypoints", ["1", 2, 2]),
        ("keypoints", [[1, 2, 2]]),
        ("keypoints", [1, 2, float("nan")]),
        ("keypoints", [10**400, 2, 2]),
        ("keypoints", [1, 2]),
        ("bbox", [1, 1, 8]),
        ("bbox", [1, 1, "8", 8]),
        ("bbox", None),
        ("segmentation", [["1", 1, 9, 1, 9, 9]]),
        ("segmentation", [1, 1, 9, 1, 9, 9]),
        ("segmentation.counts", rle([-1, 201])),
        ("segmentation.counts", rle([1 << 40])),
        ("segmentation.counts", rle([3, 4])),
        ("segmentation.counts", rle([0.5, 199.5])),
        ("segmentation.counts", rle("99")),
        ("segmentation.counts", rle(None)),
        ("segmentation.size", rle([200], -HEIGHT)),
        ("segmentation.size", rle([200], 1 << 40, 1)),
        ("segmentation.size", rle([200], 10**400, 1)),
        ("segmentation.size", rle([200], WIDTH, HEIGHT)),
        ("segmentation.size", {"size": 200, "counts": [200]}),
        ("segmentation.size", {"counts": [200]}),
    ],
)
@pytest.mark.parametrize("skeleton", [None, "coco_person"])
def test_unsound_annotations_are_named(
    tmp_path: Path, coco: dict[str, Any], key: str, value: object, skeleton: str | None
) -> None:
    if skeleton is not None:
        coco["annotations"][0]["keypoints"] = [3, 3, 2] * 17
    coco["annotations"][1][key.partition(".")[0]] = value
    path = write(tmp_path, coco)
    with pytest.raises(UserError) as error:
        load(str(path), skeleton=skeleton)
    assert str(path) in str(error.value)
    assert error.value.key == f"annotation 7, {key}"


@pytest.mark.parametrize("counts", [[0, 30, 170], [200]])
def test_run_lengths_that_fit(tmp_path: Path, coco: dict[str, Any], counts: list[int]) -> None:
    coco["annotations"][1]["segmentation"] = rle(counts)
    (_, record) = load(str(write(tmp_path, coco))).records
    assert record["annotations"][0]["segmentation"]["size"] == [HEIGHT, WIDTH]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("categories"),
        lambda data: data.update(images=5),
        lambda data: data.update(annotations=[5]),
        lambda data: data["annotations"][0].update(category_id=9),
        lambda data: data["annotations"][0].update(id=7),
    ],
)
def test_unsound_files_are_named(
    tmp_path: Path, coco: dict[str, Any], change: Callable[[dict[str, Any]], object]
) -> None:
    change(coco)
    with pytest.raises(UserError, match=r"(.|\n)*coco\.json"):
        load(str(write(tmp_path, coco)))


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
        (EMPTY | {"bbox": [3, 3, 0, 5]}, 1),
        # What has keypoints alone has these.
        ({"segmentation": [], "bbox": [0, 0, 0, 0]}, 2),
        ({"segmentation": rle([30, 20, 150]), "bbox": [25, 1, 5, 5]}, 2),
        ({"segmentation": rle([200]), "bbox": [25, 1, 5, 5]}, 1),
    ],
)
def test_what_lies_outside_its_image_is_left_out_as_in_check(
    tmp_path: Path,
    coco: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    instances: int,
) -> None:
    coco["categories"][0]["keypoints"] = ["hub"]
    coco["annotations"][1].update(change)
    path = write(tmp_path, coco)
    bones = tmp_path / "skeleton.json"
    declared = {"name": "one", "keypoints": ["hub"], "classes": ["car"], "sigmas": [0.1]}
    bones.write_text(json.dumps(declared | {"links": [], "swaps": []}))
    dataset = load(str(path), skeleton=str(bones))
    assert sum(len(record["annotations"]) for record in dataset.records) == instances
    assert len(dataset) == 2
    assert dataset.outside == 2 - instances
    assert ("annotation 7, a car, has no extent in the image of 20 x 10" in caplog.text) == (
        instances < 2
    )
    findings = examine(read(path), ImageFolder(tmp_path), LabelRules(), skeletons.load(str(bones)))
    assert findings.instances == instances
    if instances < 2:
        assert findings.errors
        with pytest.raises(UserError, match="annotation 7"):
            load(str(path), skeleton=str(bones), strict=True)


def test_a_crowd_is_no_object_that_could_be_left_out(tmp_path: Path, coco: dict[str, Any]) -> None:
    coco["annotations"][1].update(iscrowd=1, segmentation=rle([200]), bbox=[0, 0, 0, 0])
    assert load(str(write(tmp_path, coco))).outside == 0
