"""The run folder: which weights are its own, and what is refused."""

import json
import os
import re
from functools import partial
from pathlib import Path

import pytest

from roilab import files
from roilab.engine import checkpoint
from roilab.engine.provenance import ConfigSource, write_provenance
from roilab.engine.run_folder import Run, find_runs, open_run
from roilab.engine.run_record import LAYOUT, read_record
from roilab.errors import UserError

from .running import shapes, trained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all weights that a training may leave, none of which is opened."""
    weights = ("0000099", "0000199", "final", "final_ema", "best")
    for name in ("config.yaml", "diverged_0000250.pth", *(f"model_{name}.pth" for name in weights)):
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


def test_other_weights_are_chosen_by_name(folder: Path) -> None:
    for name in ("model_best.pth", "model_final_ema.pth", "model_0000099.pth"):
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


@pytest.mark.parametrize("pattern", ["config.yaml", "classes.json", "*.pth"])
def test_a_folder_that_is_no_run_names_what_it_lacks(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()
    with pytest.raises(UserError, match=f"no {pattern.replace('*', 'model_final')}"):
        open_run(folder)


def test_a_layout_of_the_future(folder: Path) -> None:
    record = folder / "run.json"
    record.write_text(json.dumps({"layout": LAYOUT, "starts": []}))
    assert open_run(folder).folder == folder
    record.write_text(json.dumps({"layout": LAYOUT + 1, "starts": {}}))
    with pytest.raises(UserError) as error:
        open_run(folder)
    problem = error.value
    assert (problem.file, problem.key, problem.found) == (record, "layout", LAYOUT + 1)
    assert str(LAYOUT) in str(problem.expected)
    assert "newer RoILab" in str(problem.remedy)


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        (
            "run.json",
            ['{"layout": 1', "[]", "{}", '{"layout": "1"}', '{"layout": true}', "", "\xff"],
            "the record of the run",
        ),
        ("classes.json", ["", '["car"', '{"car": 0}', "[1]"], "the class names of the run"),
        (
            "category_ids.json",
            ["[500]", "{}", "[1, null]", '"ab"', "[1", "[1.0, 2]"],
            "category ids",
        ),
    ],
)
def test_a_damaged_file_is_named(folder: Path, name: str, texts: list[str], message: str) -> None:
    run, path = Run(folder), folder / name
    readers = {"run.json": partial(read_record, folder), "classes.json": run.classes}
    read = readers.get(name, run.category_ids)
    for text in texts:
        path.write_bytes(text.encode("latin1"))
        with pytest.raises(UserError, match=message) as error:
            read()
        assert error.value.file == path
        assert error.value.remedy or name == "classes.json"


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
    more = ("train.checkpoint_period=1", "train.ema=0.9", "train.best=val_total_loss")
    trained(shapes(tmp_path / "data"), run, "train.max_iter=2", *more)
    text = (Path(__file__).parents[2] / "docs/run-folder.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    patterns = [re.sub(r"\d+", r"\\d+", re.escape(name)).replace(r"\*", ".*") for name in rows]
    names = [path.name for path in run.iterdir()]
    assert len(names) > 9
    assert [n for n in names if not any(re.fullmatch(p, n) for p in patterns)] == []


def test_runs_of_a_folder_are_those_with_weights_the_newest_first(tmp_path: Path) -> None:
    def folder(name: str, files: tuple[str, ...], age: int = 0) -> Path:
        path = tmp_path / "outputs" / name
        path.mkdir(parents=True, exist_ok=True)
        for file in files:
            (path / file).touch()
            os.utime(path / file, (1e9 - age, 1e9 - age))
        return path

    meaning = ("config.yaml", "classes.json")
    old = folder("old", (*meaning, "model_final.pth"), age=9)
    halted = folder("sweep/arm/seed_0", (*meaning, "model_0000099.pth"))
    best = folder("best_only", (*meaning, "model_best.pth"))
    folder("weights_only", ("model_final.pth",))
    folder("empty", meaning)
    folders = [run.folder for run in find_runs(tmp_path / "outputs")]
    assert folders == [halted, old]
    assert best not in folders  # nothing says that its training is over
    assert [run.folder for run in find_runs(old)] == [old]
    assert find_runs(tmp_path / "nowhere") == []


def test_category_ids_are_those_of_the_training_file(folder: Path) -> None:
    run = Run(folder)
    assert run.category_ids() == (1, 2), "a folder from before there were any"
    run.category_ids_file.write_text("[500, 3]")
    assert run.category_ids() == (500, 3)
    run.category_ids_file.unlink()
    assert run.category_ids() == (1, 2)


def test_a_config_may_import_what_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "c.py"
    file.write_text("try:\n    from .local import x\nexcept ImportError:\n    x = 1\n")
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    write_provenance(run, ConfigSource(file), seed=0)
    assert [path.name for path in (run.folder / "source").iterdir()] == ["c.py"]
