"""The tree of Cityscapes: objects, groups and void as its labels have them, and its faults."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.structures import BoxMode
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as mask_utils
from tests.evaluation.cityscapes_tree import CASES, CITIES, CLASSES, label_files, write_tree

from roilab.data.cityscapes import image_folder, is_cityscapes, read_cityscapes
from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.data.mask_to_polygons import box_of_rle, read_annotations
from roilab.errors import UserError
from roilab.via import Container, LabelRules

# The labels that cityscapesScripts ignores in evaluation.
VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
VALUES = st.sampled_from([0, 7, 18, 24, 26, 29, 24000, 24001, 26003, 29000, 33999])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cityscapes")
    write_tree(root, CASES["all classes"], ("train", "val"))
    return root


@pytest.fixture
def own_tree(tree: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    shutil.copytree(tree, tmp_path / "tree")
    return tmp_path / "tree"


def load(root: Path, split: str = "val", **options: Any) -> DetectionDataset:
    return load_dataset(str(root / "gtFine" / split), **options)


def test_objects_groups_and_void_are_those_of_the_labels(tree: Path) -> None:
    dataset = load(tree)
    assert dataset.classes == tuple(CLASSES)
    assert dataset.is_cityscapes
    assert dataset.coco_ids.categories == tuple(CLASSES.values())
    files = label_files(tree)
    assert len(dataset) == len(files) == 4
    crowds = 0
    for record, file in zip(dataset.records, files, strict=True):
        ids = np.array(Image.open(file)).astype(int)
        assert Path(record["file_name"]).name == file.name.replace(
            "gtFine_instanceIds", "leftImg8bit"
        )
        assert (record["height"], record["width"]) == ids.shape
        assert np.array_equal(mask_utils.decode(record["void"]), np.isin(ids, VOID))
        labels = {number: number if number < 1000 else number // 1000 for number in np.unique(ids)}
        expected = [number for number, label in labels.items() if label in CLASSES.values()]
        assert len(record["annotations"]) == len(expected)
        # Groups come last.
        for number, anno in zip(
            sorted(expected, key=lambda n: (n < 1000, n)), record["annotations"], strict=True
        ):
            mask = ids == number
            assert np.array_equal(mask_utils.decode(anno["segmentation"]), mask)
            assert CLASSES[dataset.classes[anno["category_id"]]] == labels[number]
            assert anno["iscrowd"] == (number < 1000)
            crowds += anno["iscrowd"]
            assert anno["area"] == mask.sum()
            ys, xs = np.nonzero(mask)
            box = BoxMode.convert(anno["bbox"], anno["bbox_mode"], BoxMode.XYXY_ABS)
            assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert crowds
    assert dataset.summary().startswith("4 images")


def test_polygons_stand_in_for_missing_instance_ids(tree: Path, own_tree: Path) -> None:
    for path in label_files(own_tree):
        path.unlink()
    ours, expected = load(own_tree), load(tree)

    def content(dataset: DetectionDataset) -> Any:
        return [{**record, "file_name": ""} for record in dataset.records]

    assert content(ours) == content(expected)


@given(arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 7)), elements=VALUES))
def test_any_labels_are_encoded_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, ids: np.ndarray
) -> None:
    root = tmp_path_factory.mktemp("drawn")
    labels = root / "gtFine" / "val" / "ulm"
    labels.mkdir(parents=True)
    Image.fromarray(ids.astype(np.uint16)).save(labels / "a_gtFine_instanceIds.png")
    annotations = read_cityscapes(labels.parent, box_of_rle)
    [image] = annotations.images
    assert image.coco is not None
    assert image.coco.void is not None
    assert np.array_equal(mask_utils.decode(image.coco.void), np.isin(ids, VOID))
    regions = [region.coco for region in (*image.regions, *image.crowds)]
    masks = {int(coco.id.split()[1]): mask_utils.decode(coco.mask) for coco in regions if coco}
    own = [n for n in np.unique(ids) if (n if n < 1000 else n // 1000) in CLASSES.values()]
    assert sorted(masks) == own
    assert all(np.array_equal(mask, ids == number) for number, mask in masks.items())


def test_classes_are_renamed_merged_and_dropped(tree: Path) -> None:
    class_map = {"rider": "person", "motorcycle": "mcycle", "train": None}
    dataset = load(tree, rules=LabelRules(class_map=class_map))
    assert dataset.classes == ("person", "car", "truck", "bus", "mcycle", "bicycle")


def test_images_may_be_in_another_folder(own_tree: Path, tmp_path: Path) -> None:
    (own_tree / "leftImg8bit").rename(tmp_path / "photos")
    with pytest.raises(UserError, match="leftImg8bit/val"):
        load(own_tree)
    dataset = load(own_tree, images=str(tmp_path / "photos" / "val"))
    assert len(dataset) == 4


def test_missing_images_can_be_left_out(own_tree: Path) -> None:
    next((own_tree / "leftImg8bit" / "val").rglob("*.png")).unlink()
    with pytest.raises(UserError, match="1 of 4 annotated images cannot be used"):
        load(own_tree)
    assert len(load(own_tree, missing_images="skip")) == 3


def test_the_layout_is_recognised(tree: Path, tmp_path: Path, monkeypatch: Any) -> None:
    assert read_annotations(tree / "gtFine" / "val").container is Container.CITYSCAPES
    for path in ("", "gtFine", "gtFine/tain", "leftImg8bit/val", "gtFine/val/ulm"):
        assert is_cityscapes(tree / path)
        with pytest.raises(
            UserError, match=r"give the labels of a split: files=.*gtFine/(train|val)\""
        ):
            load_dataset(str(tree / path))
    (tmp_path / "gtFine").mkdir()
    file = tmp_path / "gtFine" / "coco"
    file.touch()
    for path in (file, tmp_path / "gtFine" / "coco.json", tmp_path / "mine"):
        assert not is_cityscapes(path)
        assert image_folder(path) == path.parent
    monkeypatch.chdir(tree / "gtFine")
    assert len(load_dataset("val")) == 4
    monkeypatch.chdir(tree)
    assert len(load_dataset("gtFine/val")) == 4


def test_data_commands(tree: Path, tmp_path: Path, script: Callable[..., Any]) -> None:
    labels = tree / "gtFine" / "val"
    done = script("data", "check", labels)
    assert "(Cityscapes)" in done.stdout
    assert "0 errors, 0 warnings" in done.stdout
    done = script("data", "stats", labels, "--json", tmp_path / "stats.json")
    counts = json.loads((tmp_path / "stats.json").read_text())
    assert counts["images"] == 4
    assert counts["crowds"] > 0
    assert set(counts["classes"]) == set(CLASSES)
    done = script("data", "stats", labels / "ulm", status=2)
    assert f"remedy:   give the labels of a split: {labels}\n" in done.stderr
    script("data", "draw", labels, "--output", tmp_path / "sheets", "--limit", 2)
    assert list((tmp_path / "sheets").glob("*.jpg"))
    coco = tmp_path / "coco.json"
    script("data", "convert", labels, coco, "--to", "coco")
    images = tree / "leftImg8bit" / "val"
    ours, theirs = load(tree), load_dataset(str(coco), str(images))
    assert [len(r["annotations"]) for r in ours.records] == [
        len(r["annotations"]) for r in theirs.records
    ]
    assert not theirs.is_cityscapes


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def rename(root: Path, ending: str) -> None:
    """Rename the labels of an image, and remove its polygons."""
    path = label_files(root)[0]
    path.rename(path.with_name(path.name.replace("instanceIds", ending)))
    path.with_name(path.name.replace("instanceIds.png", "polygons.json")).unlink()


def with_pixels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path = label_files(root)[0]
        save(path, change(np.array(Image.open(path))))

    return damage


def write_polygons(text: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path = label_files(root)[0]
        path.unlink()
        path.with_name(path.name.replace("instanceIds.png", "polygons.json")).write_text(text)

    return damage


def cut(root: Path) -> None:
    path = label_files(root)[0]
    path.write_bytes(path.read_bytes()[:100])


FIRST = "aachen_000000_000019"
NO_IDS = "no instance ids of Cityscapes"
FAULTS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "missing city": (
        lambda root: shutil.rmtree(root / "gtFine" / "val" / "ulm"),
        ("cities have images and no labels", "gtFine/val/ulm", "unpack"),
    ),
    "no labels at all": (
        lambda root: [shutil.rmtree(root / "gtFine" / "val" / city) for city in CITIES],
        ("the folder has no labels of Cityscapes", "CITY/NAME_gtFine_instanceIds.png", "unpack"),
    ),
    "image without labels": (
        lambda root: [path.unlink() for path in (root / "gtFine" / "val").rglob(f"{FIRST}*")],
        ("images have no labels", f"1 of 4 images: aachen/{FIRST}", "unpack", "move the images"),
    ),
    "train ids in place of instance ids": (
        lambda root: rename(root, "labelTrainIds"),
        ("images have no labels", f"aachen/{FIRST}, which have only labelTrainIds.png", "unpack"),
    ),
    "train ids named instance ids": (
        with_pixels(lambda ids: np.where(ids < 1000, 255, ids - 13000).astype(np.uint16)),
        (NO_IDS, f"{FIRST}_gtFine_instanceIds.png", "the numbers 255", "not the train ids"),
    ),
    "label ids named instance ids": (
        with_pixels(lambda ids: np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)),
        (NO_IDS, f"{FIRST}_gtFine_instanceIds.png", "an image of 8 bits (mode L)"),
    ),
    "labels of another size": (
        with_pixels(lambda ids: ids[:, :100]),
        ("cannot be used", f"{FIRST}_leftImg8bit.png", "256 x 128", "100 x 128"),
    ),
    "unreadable labels": (
        cut,
        ("labels cannot be read", f"{FIRST}_gtFine_instanceIds.png", "unpack"),
    ),
    "unreadable image": (
        lambda root: (root / f"leftImg8bit/val/aachen/{FIRST}_leftImg8bit.png").write_bytes(b"PNG"),
        ("cannot be used", f"{FIRST}_leftImg8bit.png", "not an image"),
    ),
    "polygons that are no JSON": (
        write_polygons("{"),
        ("labels cannot be read: not JSON", f"{FIRST}_gtFine_polygons.json", "unpack"),
    ),
    "polygons of an unknown label": (
        write_polygons('{"imgWidth": 9, "imgHeight": 9, "objects": [{"label": "x"}]}'),
        ("no polygons of Cityscapes", f"{FIRST}_gtFine_polygons.json", "KeyError: 'x'"),
    ),
    "polygons without a size": (
        write_polygons('{"objects": []}'),
        ("no polygons of Cityscapes", f"{FIRST}_gtFine_polygons.json", "imgWidth"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_tree_is_located(name: str, own_tree: Path) -> None:
    damage, words = FAULTS[name]
    damage(own_tree)
    with pytest.raises(UserError) as caught:
        load(own_tree)
    for text in words:
        assert text in str(caught.value)
    assert caught.value.remedy
    assert len(load(own_tree, "train")) == 4


@pytest.mark.parametrize("path", ["", "gtFine", "gtFine/tain", "leftImg8bit/val"])
def test_another_folder_of_a_tree_is_refused(
    path: str, tree: Path, script: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=r"the splits train, val") as caught:
        load_dataset(str(tree / path))
    remedy = 'files="' + str(tree / "gtFine" / ("val" if path else "train"))
    assert caught.value.key == "files"
    assert (remedy if path == "leftImg8bit/val" else 'files="') in str(caught.value.remedy)
    done = script("data", "check", tree / path, status=1)
    assert "give the labels of a split" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_check_names_a_fault(own_tree: Path, script: Callable[..., Any]) -> None:
    cut(own_tree)
    done = script("data", "check", own_tree / "gtFine" / "val", status=1)
    assert "labels cannot be read" in done.stdout
    assert "unpack gtFine_trainvaltest.zip" in done.stdout
