"""The dataset node: VIA and COCO files, their mistakes, and Detectron2's catalogs."""

import json
import shutil
import struct
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco import convert_to_coco_dict

from roilab.data.dataset import load_dataset
from roilab.data.loaders import eval_loader, train_loader
from roilab.errors import UserError
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import FiguresPaths
from roilab.via import LabelRules

BY_CLASS = LabelRules(class_attribute="class")
REAL = Path(__file__).parents[3] / "shared" / "data"


def load_figures(figures: FiguresPaths, **options):
    return load_dataset(
        str(figures.train), str(figures.train.parent), skeleton="coco_person", **options
    )


def write_coco(figures: FiguresPaths, folder: Path) -> Path:
    path = folder / "coco.json"
    path.write_text(json.dumps(load_figures(figures).coco_json()))
    return path


def test_via_project(figures: FiguresPaths) -> None:
    dataset = load_figures(figures)
    assert dataset.classes == ("car", "person")
    assert dataset.skeleton == COCO_PERSON
    assert len(dataset) == 6
    for record in dataset.records:
        assert Path(record["file_name"]).is_file()
        assert (record["width"], record["height"]) == (96, 96)
        for anno in record["annotations"]:
            x0, y0, x1, y1 = anno["bbox"]
            assert 0 <= x0 < x1 <= 96
            assert 0 <= y0 < y1 <= 96
            assert len(anno["keypoints"]) == 17 * 3
    assert dataset.area_source == "mask"


def test_registering_twice_is_harmless_and_the_catalog_hands_out_copies(
    figures: FiguresPaths,
) -> None:
    """Detectron2's own COCO export shifts keypoints in place: a shared list would drift."""
    dataset = load_figures(figures)
    assert load_figures(figures).name == dataset.name
    metadata = MetadataCatalog.get(dataset.name)
    assert metadata.thing_classes == ["car", "person"]
    assert metadata.keypoint_names == list(COCO_PERSON.keypoints)
    first = convert_to_coco_dict(dataset.name)["annotations"]
    second = convert_to_coco_dict(dataset.name)["annotations"]
    assert first == second
    DatasetCatalog.get(dataset.name)[0]["annotations"].clear()
    assert len(DatasetCatalog.get(dataset.name)[0]["annotations"]) == len(
        dataset.records[0]["annotations"]
    )


def test_our_coco_json_agrees_with_detectron2s(figures: FiguresPaths) -> None:
    dataset = load_figures(figures)
    ours = dataset.coco_json()["annotations"]
    theirs = convert_to_coco_dict(dataset.name)["annotations"]
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["bbox"] == pytest.approx(other["bbox"], abs=1e-3)
        assert mine["area"] == pytest.approx(other["area"], abs=1e-3)
        if "keypoints" in mine:
            assert mine["keypoints"] == pytest.approx(other["keypoints"])
            assert mine["num_keypoints"] == other["num_keypoints"]


def test_a_coco_file_of_the_same_records_loads_to_the_same(
    figures: FiguresPaths, tmp_path: Path
) -> None:
    dataset, path = load_figures(figures), write_coco(figures, tmp_path)
    again = load_dataset(str(path), str(figures.train.parent), skeleton="coco_person")
    assert again.classes == dataset.classes
    for mine, other in zip(dataset.records, again.records, strict=True):
        assert Path(mine["file_name"]).name == Path(other["file_name"]).name
        for a, b in zip(mine["annotations"], other["annotations"], strict=True):
            assert a["category_id"] == b["category_id"]
            assert a["segmentation"] == b["segmentation"]
            assert a["keypoints"] == pytest.approx(b["keypoints"])


def test_a_coco_file_takes_the_order_of_the_models_classes(
    figures: FiguresPaths, tmp_path: Path
) -> None:
    dataset, path = load_figures(figures), write_coco(figures, tmp_path)
    classes = ("person", "dog", "car")
    again = load_dataset(str(path), str(figures.train.parent), classes=classes)
    assert again.classes == classes
    for mine, other in zip(dataset.records, again.records, strict=True):
        assert [dataset.classes[a["category_id"]] for a in mine["annotations"]] == [
            classes[a["category_id"]] for a in other["annotations"]
        ]


def test_mistakes_of_a_coco_file_are_named(figures: FiguresPaths, tmp_path: Path) -> None:
    path, images = write_coco(figures, tmp_path), str(figures.train.parent)
    eyes = ["left_eye", "right_eye"]
    pair = {"keypoints": eyes, "swaps": [eyes], "links": [], "sigmas": [0.1, 0.1]}
    (tmp_path / "pair.json").write_text(json.dumps(COCO_PERSON.to_dict() | pair))
    (tmp_path / "dog.json").write_text(json.dumps(COCO_PERSON.to_dict() | {"classes": ["dog"]}))
    for options, mistake, expected in [
        ({"skeleton": str(tmp_path / "pair.json"), "strict": True}, "15 of the 17", "no error"),
        ({"skeleton": str(tmp_path / "dog.json")}, "['car', 'person']", "['dog']"),
        ({"classes": ["person", "dog"]}, "['car', 'person']", "['person', 'dog']"),
        ({"files": [str(path), str(path)]}, "coco.json", "given twice"),
    ]:
        with pytest.raises(UserError) as error:
            load_dataset(**({"files": str(path), "images": images} | options))
        assert mistake in str(error.value)
        assert expected in str(error.value)

    truth = json.loads(path.read_text())
    truth["images"][3]["file_name"] = "lost.jpg"
    path.write_text(json.dumps(truth))
    with pytest.raises(UserError, match=r"1 of 6.*\n.*\n.*\n.*lost\.jpg"):
        load_dataset(str(path), images)


def test_a_wrong_size_in_a_coco_file_is_named(figures: FiguresPaths, tmp_path: Path) -> None:
    data = load_figures(figures).coco_json()
    data["images"][3]["width"] = 97
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="size") as error:
        load_dataset(str(path), str(figures.train.parent))
    assert Path(data["images"][3]["file_name"]).name in str(error.value)


def test_unlabelled_keypoints_of_a_coco_file_stay_zero(
    figures: FiguresPaths, tmp_path: Path
) -> None:
    data = load_figures(figures).coco_json()
    person = next(anno for anno in data["annotations"] if "keypoints" in anno)
    person["keypoints"][:3] = [0.0, 0.0, 0.0]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    dataset = load_dataset(str(path), str(figures.train.parent), skeleton="coco_person")
    poses = [a["keypoints"] for record in dataset.records for a in record["annotations"]]
    for x, y, v in (triple for points in poses for triple in zip(*[iter(points)] * 3, strict=True)):
        assert v or (x, y) == (0, 0)


def test_drop_empty_and_min_keypoints(figures: FiguresPaths) -> None:
    everything = load_figures(figures)
    kept = load_figures(figures, drop_empty=True)
    empty = sum(not record["annotations"] for record in everything.records)
    assert (len(kept), kept.dropped) == (len(everything) - empty, empty)
    with pytest.raises(UserError, match="no image is left"):
        load_figures(figures, min_keypoints=1000)


def test_a_missing_image_is_named(figures: FiguresPaths, tmp_path: Path) -> None:
    shutil.copytree(figures.train.parent, tmp_path / "copy")
    lost = sorted((tmp_path / "copy").glob("*.jpg"))[2]
    lost.unlink()
    with pytest.raises(UserError, match="1 of 6 annotated images") as error:
        load_dataset(str(tmp_path / "copy" / figures.train.name), rules=BY_CLASS)
    assert lost.name in str(error.value)


def test_all_images_that_cannot_be_used_are_listed(
    figures: FiguresPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(figures.train.parent, folder)
    lost, cut, dds, *sound = sorted(folder.glob("*.jpg"))
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:50])
    dds.write_bytes(b"DDS " + struct.pack("<7I", 124, 0x1007, 8, 8, 0, 0, 0) + bytes(96))
    file = folder / figures.train.name
    coco = write_coco(figures, tmp_path)
    data = json.loads(coco.read_text())
    for image in data["images"]:
        image["file_name"] = Path(image["file_name"]).name
    coco.write_text(json.dumps(data))
    for arguments in (
        {"files": str(file), "rules": BY_CLASS},
        {"files": str(coco), "images": str(folder)},
    ):
        with pytest.raises(UserError, match="3 of 6") as error:
            load_dataset(**arguments)
        assert all(path.name in str(error.value) for path in (lost, cut, dds))
        caplog.clear()
        dataset = load_dataset(**arguments, missing_images="skip")
        assert [Path(record["file_name"]) for record in dataset.records] == sound
        assert dataset.missing == 3
        assert "3 missing or broken images left out" in dataset.summary()
        assert "3 images left out" in caplog.text
    for image in sound:
        image.unlink()
    with pytest.raises(UserError, match=r"no image is left(.|\n)*6 left out"):
        load_dataset(str(file), rules=BY_CLASS, missing_images="skip")


def via_json(path: Path, entries: list[tuple[str, int]], label: str = "car") -> str:
    """A VIA 2 JSON with a rectangle in each image."""
    shape = {"name": "rect", "x": 5, "y": 5, "width": 9, "height": 9}
    regions = [{"shape_attributes": shape, "region_attributes": {"class": label}}]
    common = {"regions": regions, "file_attributes": {}}
    data = {f"{name}{size}": common | {"filename": name, "size": size} for name, size in entries}
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "entries",
    [[("y/a.jpg", -1), ("./y/a.jpg", -1)], [("y/a.jpg", -1), ("y/a.jpg", 0)]],
    ids=["spelling", "size"],
)
def test_two_entries_of_one_image_are_told(
    figures: FiguresPaths,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    entries: list[tuple[str, int]],
) -> None:
    (tmp_path / "y").mkdir()
    image = shutil.copy(figures.train.parent / "000000.jpg", tmp_path / "y" / "a.jpg")
    size = image.stat().st_size
    entries = [(name, stated or size) for name, stated in entries]
    assert len(load_dataset(via_json(tmp_path / "via.json", entries))) == 2
    assert f"{entries[1][0]}: its file {image} is that of the entry 'y/a.jpg'" in caplog.text


def test_an_image_of_another_entry_does_not_replace_one_that_is_not_there(
    figures: FiguresPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "y").mkdir()
    image = shutil.copy(figures.train.parent / "000000.jpg", tmp_path / "y" / "a.jpg")
    alone = via_json(tmp_path / "alone.json", [("x/a.jpg", -1)])
    assert len(load_dataset(alone)) == 1
    assert f"x/a.jpg: not in the folder that its name states: {image}" in caplog.text
    both = via_json(tmp_path / "both.json", [("x/a.jpg", -1), ("y/a.jpg", -1)])
    with pytest.raises(UserError, match=r"1 of 2(.|\n)*x/a\.jpg(.|\n)*entry 'y/a\.jpg'"):
        load_dataset(both)
    assert len(load_dataset(both, missing_images="skip")) == 1


def test_images_with_other_bytes_than_the_annotated_ones_are_told(
    figures: FiguresPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other pictures of the same names would otherwise be evaluated silently."""
    sizes = {}
    for name in ("a.jpg", "b.jpg"):
        image = shutil.copy(figures.train.parent / "000000.jpg", tmp_path / name)
        sizes[name] = image.stat().st_size
    size = sizes["a.jpg"]
    file = via_json(tmp_path / "via.json", list(sizes.items()))
    assert len(load_dataset(file)) == 2
    assert not caplog.records

    load_dataset(via_json(tmp_path / "one.json", [("a.jpg", size), ("b.jpg", 7)]))
    assert f"b.jpg: the image has {size} bytes, the annotated one had 7" in caplog.text
    assert "a.jpg" not in caplog.text
    caplog.clear()

    load_dataset(via_json(tmp_path / "both.json", [("a.jpg", 6), ("b.jpg", 7)]))
    assert "2 of 2 images are not as annotated: a.jpg (the image has" in caplog.text
    assert len(caplog.records) == 1


def test_one_image_in_two_files_and_one_file_twice(
    figures: FiguresPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(figures.train.parent / "000000.jpg", tmp_path / "a.jpg")
    one, two = (via_json(tmp_path / name, [("a.jpg", -1)]) for name in ("1.json", "2.json"))
    assert len(load_dataset([one, two])) == 2
    assert f"is that of the entry 'a.jpg' of {one} as well" in caplog.text
    with pytest.raises(UserError, match="given twice"):
        load_dataset([one, str(tmp_path / "." / "1.json")])


def test_classes_of_two_files_that_look_alike(
    figures: FiguresPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["000000.jpg", "000001.jpg"]
    files = [
        via_json(tmp_path / f"{label}.json", [(name, -1)], label)
        for name, label in zip(names, ("Car", "car"), strict=True)
    ]
    dataset = load_dataset(files, str(figures.train.parent))
    assert dataset.classes == ("Car", "car")
    assert "differ only by case or white space" in caplog.text
    assert all(file in caplog.text for file in files)
    caplog.clear()
    load_dataset(files, str(figures.train.parent), rules=LabelRules(class_map={"Car": "car"}))
    assert "differ only" not in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_a_broken_image_is_named(figures: FiguresPaths, tmp_path: Path, share: float) -> None:
    shutil.copytree(figures.train.parent, tmp_path / "copy")
    broken = sorted((tmp_path / "copy").glob("*.jpg"))[1]
    content = broken.read_bytes()
    broken.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError) as error:
        load_dataset(str(tmp_path / "copy" / figures.train.name), rules=BY_CLASS)
    assert broken.name in str(error.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rules": {"class_attribute": "colour"}}, "colour"),
        ({"classes": ["person"]}, "car"),
        ({"rules": {"class_map": {"person": None}}}, "coco_person"),
        ({"images": "nowhere"}, "nowhere"),
        ({"images": []}, "image folders"),
        ({"files": []}, "files"),
        ({"missing_images": "ignore"}, "missing_images"),
        ({"rules": {"unlabelled": "drop"}}, "unlabelled"),
        ({"rules": {"keypoint_vertices": "line"}}, "keypoint_vertices"),
    ],
)
def test_mistakes_are_named(figures: FiguresPaths, options: dict, named: str) -> None:
    arguments = {
        "files": str(figures.train),
        "images": str(figures.train.parent),
        "skeleton": "coco_person",
    }
    rules = options.pop("rules", {})
    with pytest.raises(UserError) as error:
        load_dataset(**(arguments | options), rules=LabelRules(**rules))
    assert named in str(error.value)


def test_class_map_renames_and_drops(figures: FiguresPaths) -> None:
    files, images = str(figures.train), str(figures.train.parent)
    class_map = {"car": None, "person": "human"}
    rules = LabelRules(class_attribute="class", class_map=class_map)
    dataset = load_dataset(files, images, rules=rules)
    assert dataset.classes == ("human",)


def test_classes_keep_their_order_where_a_file_lacks_one(figures: FiguresPaths) -> None:
    files, images = str(figures.train), str(figures.train.parent)
    dataset = load_dataset(files, images, rules=BY_CLASS, classes=["tree", "person", "car"])
    ids = {a["category_id"] for record in dataset.records for a in record["annotations"]}
    assert ids <= {1, 2}


def test_two_files_with_a_folder_each(figures: FiguresPaths) -> None:
    files = [figures.train, figures.val]
    dataset = load_dataset([str(f) for f in files], [str(f.parent) for f in files], rules=BY_CLASS)
    assert len(dataset) == 10
    assert len({record["image_id"] for record in dataset.records}) == 10


def test_images_under_several_folders(figures: FiguresPaths, tmp_path: Path) -> None:
    names = sorted(figures.train.parent.glob("*.jpg"))
    for number, path in enumerate(names):
        folder = tmp_path / str(number % 2)
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder)
    folders = [str(tmp_path / name) for name in "01"]
    dataset = load_dataset(str(figures.train), folders, rules=BY_CLASS)
    assert len(dataset) == len(names)
    files, val = [str(figures.train), str(figures.val)], str(figures.val.parent)
    assert len(load_dataset(files, [folders, val], rules=BY_CLASS)) == len(names) + 4


def test_missing_images_are_left_out_where_asked(
    figures: FiguresPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(figures.train.parent / "000001.jpg", tmp_path)
    with pytest.raises(UserError, match="5 of 6"):
        load_dataset(str(figures.train), str(tmp_path), rules=BY_CLASS)
    dataset = load_dataset(str(figures.train), str(tmp_path), rules=BY_CLASS, missing_images="skip")
    assert len(dataset) == 1
    assert "5 images left out" in caplog.text


def spoilt(figures: FiguresPaths, tmp_path: Path, **shape: object) -> str:
    """The training file with one region more in its second image."""
    data = json.loads(figures.train.read_text(encoding="utf-8"))
    entry = list(data["_via_img_metadata"].values())[1]
    entry["regions"].append({"shape_attributes": shape, "region_attributes": {"class": "car"}})
    path = tmp_path / "via.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "shape",
    [
        {"name": "rect", "x": 5, "y": 5, "width": 0, "height": 5},
        {"name": "rect", "x": 500, "y": 5, "width": 9, "height": 5},
    ],
    ids=["no extent", "outside"],
)
def test_strict_raises_what_else_is_left_out(
    figures: FiguresPaths,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    shape: dict[str, object],
) -> None:
    file, images = spoilt(figures, tmp_path, **shape), str(figures.train.parent)
    dataset = load_dataset(file, images, skeleton="coco_person")
    assert [len(record["annotations"]) for record in dataset.records] == [
        len(record["annotations"]) for record in load_figures(figures).records
    ]
    assert "000001.jpg, region" in caplog.text
    outside = shape["x"] == 500
    assert dataset.outside == outside
    assert ("1 instance outside its image left out" in dataset.summary()) == outside
    with pytest.raises(UserError, match=r"1 error in(.|\n)*000001\.jpg, region"):
        load_dataset(file, images, skeleton="coco_person", strict=True)


def test_what_via_exports_as_coco_is_mended(figures: FiguresPaths, tmp_path: Path) -> None:
    row = {"id": 0, "image_id": "0", "category_id": 1, "segmentation": [1, 1, 9, 1, 9, 9]}
    data = {
        "info": {"description": "VIA project exported to COCO format"},
        "images": [{"id": 0, "file_name": "000000.jpg"}],
        "categories": [{"id": 1, "name": "car", "supercategory": "kind"}],
        "annotations": [row, row],
    }
    (tmp_path / "coco.json").write_text(json.dumps(data), encoding="utf-8")
    dataset = load_dataset(str(tmp_path / "coco.json"), str(figures.train.parent))
    assert [len(record["annotations"]) for record in dataset.records] == [1]


def test_loaders_give_what_the_model_takes(figures: FiguresPaths) -> None:
    dataset = load_figures(figures, drop_empty=True)
    options = {"total_batch_size": 2, "masks": True, "keypoints": True, "num_workers": 0}
    batch = next(iter(train_loader(dataset, augmentations=[], **options)))
    assert len(batch) == 2
    for sample in batch:
        assert sample["instances"].gt_keypoints.tensor.shape[1:] == (17, 3)
        assert len(sample["instances"].gt_masks) == len(sample["instances"])
    images = list(eval_loader(dataset, augmentations=[], num_workers=0))
    assert [sample["image_id"] for (sample,) in images] == [r["image_id"] for r in dataset.records]


def test_a_mask_model_needs_outlines(figures: FiguresPaths) -> None:
    dataset = load_figures(figures, drop_empty=True)
    del dataset.records[0]["annotations"][0]["segmentation"]
    with pytest.raises(UserError, match="no outline"):
        train_loader(dataset, augmentations=[], total_batch_size=1, masks=True, keypoints=False)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data is not here")
@pytest.mark.parametrize(("split", "images", "polygons"), [("train", 61, 255), ("val", 13, 50)])
def test_balloon(split: str, images: int, polygons: int) -> None:
    folder = REAL / "balloon" / split
    dataset = load_dataset(
        str(folder / "via_region_data.json"), rules=LabelRules(default_class="balloon")
    )
    assert len(dataset) == images
    assert sum(len(record["annotations"]) for record in dataset.records) == polygons
