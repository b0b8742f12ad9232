"""A user's own data with the configs for two CPU cores: no name of a sample set gets into it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roilab.engine import config
from roilab.engine.overrides import write
from roilab.engine.setup import Setup, prepare
from roilab.errors import UserError
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import write_figures
from roilab.via import LabelRules

from .running import data_places, rectangle, write_via

SMALL = [f"configs/small_{kind}.py" for kind in ("mask", "keypoint", "mask_keypoint")]
FIGURES = [name.replace("small", "figures") for name in SMALL]
BALLOON = "configs/balloon_mask.py"
TINY = ("train.device=cpu", "dataloader.train.num_workers=0", "dataloader.test.num_workers=0")


def outline(left: int, **attributes: str) -> dict[str, Any]:
    return rectangle(left, 10, 20, 30, **attributes)


def annotate(folder: Path, images: dict[str, list[dict[str, Any]]], absent: str = "") -> Path:
    """A VIA file as a browser names it the second time, and its images, but for one."""
    folder.mkdir(parents=True)
    for name in images.keys() - {absent}:
        Image.fromarray(np.zeros((64, 80, 3), np.uint8)).save(folder / name)
    return write_via(folder / "via_region_data (10).json", images)


def prepared(name: str, *overrides: str) -> Setup:
    return prepare(config.load_config(name, [*overrides, *TINY]))


@pytest.fixture
def spots(tmp_path: Path) -> list[str]:
    """Regions of class "spot" and one that has no class, in folders with signs of all kinds."""
    regions = [outline(5, leaf="spot"), outline(40)]
    train = annotate(tmp_path / "my photos [1], x=2" / "train", {"a.png": regions})
    val = annotate(tmp_path / "my photos [1], x=2" / "val", {"b.png": regions[:1]})
    return data_places(train, val)


@pytest.mark.parametrize("name", [SMALL[0], FIGURES[0], BALLOON])
def test_classes_are_those_of_the_data(name: str, spots: list[str]) -> None:
    setup = prepared(name, *spots)
    assert setup.train is not None
    assert setup.train.classes == setup.val.classes == ("spot",)
    assert sum(len(record["annotations"]) for record in setup.train.records) == 1


@pytest.mark.parametrize("name", [*SMALL, *FIGURES, BALLOON])
def test_no_config_says_how_attributes_are_read(name: str) -> None:
    data = config.load_config(name).data
    assert config.build(data.rules, "data.rules") == LabelRules()
    assert data.classes is None


def test_the_balloon_set_has_its_class_from_the_command(tmp_path: Path) -> None:
    train = annotate(tmp_path / "train", {"a.png": [outline(5)]})
    val = annotate(tmp_path / "val", {"b.png": [outline(9)]})
    docstring = Path(BALLOON).read_text(encoding="utf-8").split('"""')[1]
    (override,) = re.findall(r"data\.rules\.default_class=\S+", docstring)
    assert prepared(BALLOON, *data_places(train, val), override).val.classes == ("balloon",)
    with pytest.raises(UserError, match="default_class"):
        prepared(BALLOON, *data_places(train, val))


@pytest.mark.parametrize("name", SMALL)
def test_a_small_config_asks_for_the_data(name: str) -> None:
    with pytest.raises(UserError, match=r"(?s)data\.train\.files.*remedy:.*data\.train\.files="):
        prepared(name)


@pytest.mark.parametrize("name", [*SMALL, *FIGURES])
def test_the_sample_set_says_what_its_attributes_mean(name: str, tmp_path: Path) -> None:
    paths = write_figures(tmp_path / "set", train=2, val=6, size=64)
    setup = prepared(name, *data_places(paths.train, paths.val), "data.skeleton=coco_person")
    assert setup.val.classes == ("car", "person")
    assert setup.val.skeleton == COCO_PERSON
    one = [anno for record in setup.val.records for anno in record["annotations"]]
    drawn = json.loads(paths.val.read_text(encoding="utf-8"))["_via_img_metadata"].values()
    ids = {
        (entry["filename"], region["region_attributes"]["instance"])
        for entry in drawn
        for region in entry["regions"]
    }
    assert len(one) == len(ids)
    seen = [v for anno in one for v in anno.get("keypoints", ())[2::3]]
    assert {1, 2} <= set(seen)


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_remedy_of_a_missing_image_works_for_its_split(split: str, tmp_path: Path) -> None:
    two = {"b.png": [outline(5, leaf="spot")], "gone.png": [outline(9, leaf="spot")]}
    files = {
        part: annotate(tmp_path / part, two, "gone.png" if part == split else "")
        for part in ("train", "val")
    }
    own = data_places(files["train"], files["val"])
    with pytest.raises(UserError, match=r"gone\.png") as error:
        prepared(SMALL[0], *own)
    (skip,) = re.findall(r"\S+missing_images=skip", str(error.value.remedy))
    setup = prepared(SMALL[0], *own, skip)
    assert setup.train is not None
    assert [len(setup.train), len(setup.val)] == ([1, 2] if split == "train" else [2, 1])
    # The other remedy: the folder that holds them.
    (folder,) = re.findall(r"\S+images=(?=DIR)", str(error.value.remedy))
    (tmp_path / "all").mkdir()
    for name in two:
        Image.fromarray(np.zeros((64, 80, 3), np.uint8)).save(tmp_path / "all" / name)
    assert len(prepared(SMALL[0], *own, f"{folder}{tmp_path / 'all'}").val) == 2


@pytest.mark.parametrize(
    ("override", "classes"),
    [
        ([], ("1", "2", "fenêtre (ouverte)")),
        (["data.classes=[2,1,'fenêtre (ouverte)']"], ("2", "1", "fenêtre (ouverte)")),
        (["data.rules.class_map={1: one, '2': two}"], ("fenêtre (ouverte)", "one", "two")),
        (["data.rules.class_map={fenêtre (ouverte): null, 1: 2}"], ("2",)),
        (["data.rules.class_map.1=3"], ("2", "3", "fenêtre (ouverte)")),
    ],
)
def test_names_of_digits_and_signs(override: list[str], classes: tuple[str, ...], tmp_path) -> None:
    names = ("1", "2", "fenêtre (ouverte)")
    regions = [outline(5 + 24 * index, **{"7": name}) for index, name in enumerate(names)]
    file = annotate(tmp_path / "all", {"a.png": regions})
    setup = prepared(SMALL[0], *data_places(file, file), "data.rules.class_attribute=7", *override)
    assert setup.val.classes == classes


@pytest.mark.parametrize("name", ["${data.seed}", 'a "b", {c}', "null", "3"])
def test_a_class_of_any_name_gets_into_the_run_folder(name: str, tmp_path: Path) -> None:
    file = annotate(tmp_path / "all", {"a.png": [outline(5, kind=name)]})
    setup = prepared(SMALL[0], *data_places(file, file))
    assert setup.val.classes == (name,)
    assert list(setup.cfg.data.classes) == [name]
    config.save_config(setup.cfg, tmp_path / "run" / "config.yaml")
    override = write("data.val.rules.default_class", name)
    again = config.load_config(tmp_path / "run" / "config.yaml", [override])
    assert list(again.data.val.classes) == [name]
    assert again.data.val.rules.default_class == name
