"""A resumed training notices that its data have changed, and not that they are somewhere else."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roilab.engine import config, provenance
from roilab.engine.build_data import build_dataset
from roilab.engine.resume import check_resumable, fingerprints
from roilab.engine.run_folder import Run
from roilab.engine.run_record import read_record, write_record
from roilab.engine.setup import Setup
from roilab.errors import UserError

from .running import overrides, shapes, trained


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> tuple[Path, Path]:
    """A data set, and a run that was trained with it."""
    data = shapes(tmp_path_factory.mktemp("shapes") / "data")
    run = tmp_path_factory.mktemp("begun") / "run"
    trained(data, run, "train.max_iter=1")
    return data, run


@pytest.fixture
def copied(begun: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Both somewhere else, the files with times of their own."""
    for source, name in zip(begun, ("data", "run"), strict=True):
        shutil.copytree(source, tmp_path / name, copy_function=shutil.copyfile)
    return tmp_path / "data", tmp_path / "run"


def places(data: Path) -> list[str]:
    """The overrides that name a data set."""
    return [text for text in overrides(data, data) if text.startswith(("data.train.", "data.val."))]


def set_up(data: Path, run: Path, *more: str) -> Setup:
    """As `prepare` leaves it: the run's own config, with the data that it is to be resumed with."""
    cfg = config.load_config(run / "config.yaml", [*places(data), "train.max_iter=2", *more])
    return Setup(cfg, build_dataset(cfg, "data.train"), build_dataset(cfg, "data.val"))


def checked(data: Path, run: Path, *more: str, allow: bool = False) -> list[str]:
    setup = set_up(data, run, *more)
    return check_resumable(Run(run), setup, fingerprints(setup), allow_changed_data=allow)


def edit(file: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def move_a_point(data: Path) -> None:
    def change(content: dict) -> None:
        content["3.png"]["regions"][0]["shape_attributes"]["all_points_x"][0] += 1

    edit(data / "train/via.json", change)


def remove_an_image(data: Path) -> None:
    edit(data / "train/via.json", lambda content: content.pop("3.png"))


def put_images_in_another_order(data: Path) -> None:
    edit(data / "train/via.json", lambda content: content.update({"0.png": content.pop("0.png")}))


def rename_an_image(data: Path) -> None:
    def change(content: dict) -> None:
        content["3.png"]["filename"] = "3b.png"

    edit(data / "train/via.json", change)
    (data / "train/3.png").rename(data / "train/3b.png")


def paint_an_image(data: Path) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(data / "train/3.png")


def change_the_validation_set(data: Path) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(data / "val/1.png")


CHANGES = [
    (move_a_point, "data.train: other annotations"),
    (remove_an_image, "data.train: 5 images in place of 6"),
    (put_images_in_another_order, "data.train: other annotations"),
    (rename_an_image, "data.train: other annotations, classes or names of images"),
    (paint_an_image, "data.train: image files of other sizes"),
    (change_the_validation_set, "data.val: image files of other sizes"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_changed_data_are_refused_unless_allowed(change, said: str, copied) -> None:
    data, run = copied
    change(data)
    with pytest.raises(UserError, match="the data have changed") as caught:
        checked(data, run)
    assert said in str(caught.value.found)
    assert "allow_changed_data=true" in str(caught.value.remedy)
    note = f"changed, as allowed: {said}"
    assert any(line.startswith(note) for line in checked(*copied, allow=True))


def test_the_image_that_was_written_since_is_named(copied) -> None:
    data, run = copied
    paint_an_image(data)
    for file in data.rglob("*.png"):
        os.utime(file, (1_000_000, 1_000_000))
    later = data / "train/3.png"
    moment = read_record(run)["data"]["train"]["latest"] + 1
    os.utime(later, ns=(moment, moment))
    with pytest.raises(UserError, match=f"written after .* UTC: {later}$".replace("$", "\n")):
        checked(data, run)


def test_the_same_data_need_no_word(begun: tuple[Path, Path]) -> None:
    notes = checked(*begun)
    assert len(notes) == 1
    assert "train.max_iter" in notes[0]


def test_a_copy_elsewhere_is_the_same_data(begun, copied) -> None:
    """Its files have other times; the config names other files and folders."""
    notes = checked(copied[0], begun[1])
    assert "data.train: image files have other times and the same sizes, as copies do" in notes
    assert not any("changed" in note for note in notes)


def test_annotations_that_mean_the_same_are_the_same_data(copied) -> None:
    data, run = copied
    file = data / "train/via.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=4))
    assert any("written anew, and mean the same" in note for note in checked(data, run))


def test_another_file_that_is_not_the_same_data(begun, copied) -> None:
    """Only where the data are the same may the config name others."""
    move_a_point(copied[0])
    with pytest.raises(UserError, match="the data have changed"):
        checked(copied[0], begun[1])
    with pytest.raises(UserError, match="another config"):
        checked(begun[0], begun[1], "data.train.drop_empty=False")


def test_a_run_from_before_the_record_is_one_line(copied) -> None:
    data, run = copied
    record = read_record(run)
    del record["data"]
    write_record(run, record)
    with pytest.raises(UserError, match="another config"):  # as to where they are, too
        checked(data, run)
    cfg = config.load_config(run / "config.yaml")
    setup = Setup(cfg, build_dataset(cfg, "data.train"), build_dataset(cfg, "data.val"))
    notes = check_resumable(Run(run), setup, fingerprints(setup), allow_changed_data=False)
    assert len(notes) == 1
    assert "not known" in notes[0]


def test_what_was_allowed_is_the_runs_own_from_then_on(copied) -> None:
    data, run = copied
    move_a_point(data)
    before = read_record(run)["data"]
    setup = set_up(data, run)
    write_record(run, {**read_record(run), "data": fingerprints(setup)})
    assert read_record(run)["data"]["train"]["records"] != before["train"]["records"]
    assert not any("allowed" in note for note in checked(data, run))


@pytest.mark.parametrize("data", [3, {"train": 3}, {"train": {"images": 6}}])
def test_a_damaged_record_is_said(data: object, tmp_path: Path) -> None:
    write_record(tmp_path, {"layout": 1, "starts": [], "data": data})
    with pytest.raises(UserError, match="the record of the run is damaged"):
        read_record(tmp_path)


def test_images_are_not_read(begun, monkeypatch) -> None:
    setup = set_up(*begun)
    read: list[object] = []
    monkeypatch.setattr(provenance, "read_bytes", lambda file: read.append(file) or b"")
    fingerprints(setup)
    assert [Path(str(file)).name for file in read] == ["via.json", "via.json"]
