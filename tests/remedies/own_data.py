"""Remedies of a user's own files in the place of the sample set, with its configs."""

import copy
import re
from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig

from roilab.engine import config
from roilab.engine.setup import prepare
from roilab.suggest.draft import Hardware
from roilab.suggest.suggest import suggest_config
from roilab.synthetic import FiguresPaths

from .cases import Attempts, Wrong, case, wrong
from .conftest import CONFIG
from .files import SIZE, image, polygon, via_json


@cache
def sample_config() -> DictConfig:
    """The config as it is, which takes long to load."""
    return config.load_config(Path(CONFIG).resolve(), ["train.device=cpu"])


def begin(*overrides: str) -> Wrong:
    """What is wrong when a training begins; it is never what only the sample set has."""
    cfg = config.override(copy.deepcopy(sample_config()), overrides)
    errors = wrong(prepare, cfg)
    assert not re.search("instance|visibility", " ".join(map(str, errors)))
    return errors


def own(split: str, folder: Path) -> list[str]:
    """Overrides of a split by a VIA file of two images in this folder."""
    file = via_json(folder, [polygon(kind="dog")], [polygon(kind="dog")])
    return [f"data.{split}.files={file}", f"data.{split}.images={folder}"]


@case("give the folder of the images, images=DIR; images=null is the folder of the annotation file")
def a_file_without_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    sample_config()
    monkeypatch.chdir(tmp_path)  # where there is no sample set
    file, images = own("train", tmp_path / "own")
    val = own("val", tmp_path / "val")
    first = begin(file, *val)
    yield first
    for value in ("DIR", "null"):
        (override,) = re.findall(rf"(\S+={value})\b", str(first[0].remedy))
        yield begin(file, *val, override.replace("DIR", images.partition("=")[2]))


@case("give files=FILE images=DIR")
def a_split_that_is_left_to_the_sample_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Attempts:
    sample_config()
    monkeypatch.chdir(tmp_path)
    train, val = own("train", tmp_path / "own"), own("val", tmp_path / "val")
    first = begin(*train)
    yield first
    keys = re.findall(r"(\S+)=(?:FILE|DIR)", str(first[0].remedy))
    assert keys == [override.partition("=")[0] for override in val]
    yield begin(*train, *val)


@case('rename, merge or drop classes with class_map={"OLD": "NEW", "UNWANTED": null}')
def a_split_of_the_sample_set(figures: FiguresPaths, tmp_path: Path) -> Attempts:
    folder = figures.val.parent
    sample = [f"data.val.files={figures.val}", f"data.val.images={folder}"]
    yield begin(*own("train", tmp_path), *sample)
    yield begin(*own("train", tmp_path), *sample, "data.rules.class_map={car: dog, person: null}")


@case("give the folder that holds them, images=DIR, or leave them out with missing_images=skip")
def a_split_with_a_missing_image(tmp_path: Path) -> Attempts:
    for split in ("train", "val"):
        data = [*own("train", tmp_path / "train"), *own("val", tmp_path / "val")]
        (tmp_path / split / "1.png").unlink()
        first = begin(*data)
        if split == "train":
            yield first
        folder, skip = re.findall(r"(\S+=(?:DIR|skip))", str(first[0].remedy))
        assert (folder, skip) == (f"data.{split}.images=DIR", "data.missing_images=skip")
        yield begin(*data, skip)
        for number in range(2):
            image(tmp_path / "all" / f"{number}.png", size=SIZE)
        yield begin(*data, folder.replace("DIR", str(tmp_path / "all")))


@case("leave out the base: one whose heads fit is chosen")
def a_base_with_a_head_that_the_data_cannot_train(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    for base in ("small_keypoint", None):
        yield wrong(suggest_config, {"data.train.files": str(file)}, [], Hardware(2, None), base)


@case("several files are a list: {}")
def two_files_as_one_name(tmp_path: Path) -> Attempts:
    files = [via_json(tmp_path, [polygon(kind="dog")], name=f"{name}.json") for name in "ab"]
    names = list(map(str, files))
    images = [f"data.{split}.images={tmp_path}" for split in ("train", "val")]
    val = f"data.val.files={files[0]}"
    yield begin(f"data.train.files={','.join(names)}", val, *images)
    yield begin(f"data.train.files=[{', '.join(names)}]", val, *images)
