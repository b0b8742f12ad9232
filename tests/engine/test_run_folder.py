"""The run folder: which weights are its own, and what is refused."""

import json
import os
import re
from pathlib import Path

import pytest

from roilab import files
from roilab.engine import checkpoint
from roilab.engine.run_folder import Run, find_runs, open_run
from roilab.engine.run_record import LAYOUT
from roilab.errors import UserError

from .running import shapes, trained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all weights that a training may leave, none of which is opened."""
    for name in (
        "config.yaml",
        "model_0000099.pth",
        "model_0000199.pth",
        "model_final.pth",
        "model_final_ema.pth",
        "model_best.pth",
        "diverged_0000250.pth",
    ):
        (tmp_path / name).touch()
    (tmp_path / "classes.json").write_text('["car", "person"]')
    return tmp_path


@pytest.mark.parametrize(
    ("gone", "own"),
    [
        ([], "model_final.pth"),
        (["model_final.pth"], "model_0000199.pth"),
        # Its name still stands in last_checkpoint.
        (["model_final.pth", "model_0000199.pth"], "model_0000099.pth"),
    ],
)
def test_own_weights_are_the_final_or_the_newest(folder: Path, gone: list[str], own: str) -> None:
    (folder / "last_checkpoint").write_text("model_0000199.pth")
    for name in gone:
        (folder / name).unlink()
    assert open_run(folder).weights == folder / own


def test_no_others_are_taken_where_the_final_ones_are_no_file(folder: Path) -> None:
    final = folder / "model_final.pth"
    final.unlink()
    final.mkdir()
    with pytest.raises(UserError) as error:
        checkpoint.read_checkpoint(open_run(folder).weights)
    assert str(final) in str(error.value)


@pytest.mark.parametrize("name", ["model_best.pth", "model_final_ema.pth", "model_0000099.pth"])
def test_other_weights_are_chosen_by_name(folder: Path, name: str) -> None:
    run = open_run(folder, name)
    assert run.weights == folder / name
    assert run.classes() == ("car", "person")


@pytest.mark.parametrize("name", ["model_0000100.pth", "model_best", "classes.json", "ABOVE"])
def test_what_is_no_weights_of_the_folder(folder: Path, name: str) -> None:
    above = folder.parent / "above.pth"
    above.touch()
    with pytest.raises(UserError, match="no such weights") as error:
        open_run(folder, name.replace("ABOVE", str(above)))
    assert "model_best.pth" in str(error.value)
    assert "model_0000099.pth" in str(error.value)


@pytest.mark.parametrize("gone", ["config.yaml", "classes.json"])
def test_not_a_run(folder: Path, gone: str) -> None:
    (folder / gone).unlink()
    with pytest.raises(UserError, match=f"no {gone}"):
        open_run(folder)


def test_no_weights_yet(folder: Path) -> None:
    for file in folder.glob("*.pth"):
        file.unlink()
    with pytest.raises(UserError, match=r"no model_final\.pth"):
        open_run(folder)


def test_a_layout_of_the_future(folder: Path) -> None:
    record = folder / "run.json"
    record.write_text(json.dumps({"layout": LAYOUT, "starts": []}))
    assert open_run(folder).folder == folder
    record.write_text(json.dumps({"layout": LAYOUT + 1, "starts": {}}))
    with pytest.raises(UserError) as error:
        open_run(folder)
    found = error.value
    assert (found.file, found.key, found.found) == (record, "layout", LAYOUT + 1)
    assert str(LAYOUT) in str(found.expected)
    assert "newer RoILab" in str(found.remedy)


@pytest.mark.parametrize(
    "text", ['{"layout": 1', "[]", "{}", '{"layout": "1"}', '{"layout": true}', "", "\xff"]
)
def test_a_damaged_record(folder: Path, text: str) -> None:
    (folder / "run.json").write_bytes(text.encode("latin1"))
    with pytest.raises(UserError, match="the record of the run") as error:
        open_run(folder)
    assert error.value.file == folder / "run.json"


@pytest.mark.parametrize("text", ["", '["car"', '{"car": 0}', "[1]"])
def test_damaged_class_names(folder: Path, text: str) -> None:
    (folder / "classes.json").write_text(text)
    with pytest.raises(UserError, match="class names"):
        open_run(folder).classes()


def test_results_are_the_old_ones_or_the_new(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(folder)
    run.write_results({"bbox": {"AP": 1.0, "APs": None}})
    before = run.results_file.read_text()
    assert json.loads(before) == {"bbox": {"AP": 1.0, "APs": None}}

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(UserError, match=r"cannot write.*\n.*run\.json"):
        run.write_results({"bbox": {"AP": 2.0}})
    assert run.results_file.read_text() == before


def test_every_file_of_a_run_is_in_the_documents(tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(
        shapes(tmp_path / "data"),
        run,
        "train.max_iter=2",
        "train.checkpoint_period=1",
        "train.ema=0.9",
        "train.best=val_total_loss",
    )
    text = (Path(__file__).parents[2] / "docs/run-folder.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    patterns = [re.sub(r"\d+", r"\\d+", re.escape(name)).replace(r"\*", ".*") for name in rows]
    names = [path.name for path in run.iterdir()]
    assert len(names) > 9
    assert [n for n in names if not any(re.fullmatch(p, n) for p in patterns)] == []


def test_runs_of_a_folder_are_those_with_weights_the_newest_first(tmp_path: Path) -> None:
    def folder(name: str, files: tuple[str, ...], age: int = 0) -> Path:
        made = tmp_path / "outputs" / name
        made.mkdir(parents=True, exist_ok=True)
        for file in files:
            (made / file).touch()
            os.utime(made / file, (1e9 - age, 1e9 - age))
        return made

    meaning = ("config.yaml", "classes.json")
    old = folder("old", (*meaning, "model_final.pth"), age=9)
    halted = folder("sweep/arm/seed_0", (*meaning, "model_0000099.pth"))
    best = folder("best_only", (*meaning, "model_best.pth"))
    folder("weights_only", ("model_final.pth",))
    folder("empty", meaning)
    found = [run.folder for run in find_runs(tmp_path / "outputs")]
    assert found == [halted, old]
    assert best not in found  # nothing says that its training is over
    assert [run.folder for run in find_runs(old)] == [old]
    assert find_runs(tmp_path / "nowhere") == []


def test_category_ids_are_those_of_the_training_file(folder: Path) -> None:
    run = Run(folder)
    assert run.category_ids() == (1, 2), "a folder from before there were any"
    run.category_ids_file.write_text("[500, 3]")
    assert run.category_ids() == (500, 3)


@pytest.mark.parametrize("text", ["[500]", "{}", "[1, null]", '"ab"', "[1", "[1.0, 2]"])
def test_damaged_category_ids(folder: Path, text: str) -> None:
    run = Run(folder)
    run.category_ids_file.write_text(text)
    with pytest.raises(UserError, match="category ids"):
        run.category_ids()
    run.category_ids_file.unlink()  # the remedy
    assert run.category_ids() == (1, 2)
