"""Sweeps with a training that is played by a few lines of Python."""

import statistics
import sys
from pathlib import Path

import pytest

from roilab.errors import UserError
from roilab.sweep import (
    Arm,
    Cell,
    State,
    parse_arm,
    parse_seeds,
    plan,
    prepare_cell,
    report,
    run_cell,
    state_of,
)

# Plays scripts/train.py: writes what a finished run leaves, or fails for seed 1.
FAKE = """
import json, pathlib, sys
options = dict(a.split("=", 1) for a in sys.argv if "=" in a)
folder = pathlib.Path(options["train.output_dir"])
(folder / "arguments").write_text(" ".join(sys.argv))
if options["train.seed"] == "1":
    print("much\\nerror: the disk is full\\n  key: x")
    sys.exit(2)
(folder / "last_checkpoint").write_text("model_final.pth")
(folder / "results.json").write_text(json.dumps({"bbox": {"AP": float(options["ap"])}}))
"""


def cells(tmp_path: Path, *arms: Arm, seeds: tuple[int, ...] = (0,)) -> list[Cell]:
    return plan("base.py", arms, seeds, ["shared=1"], tmp_path)


@pytest.fixture
def train(tmp_path: Path) -> list[str]:
    path = tmp_path / "fake_train.py"
    path.write_text(FAKE)
    return [sys.executable, str(path)]


@pytest.mark.parametrize(
    ("text", "arm"),
    [
        ("a:k=1", Arm("a", ("k=1",))),
        ("RoI-Pool_2.0:k=1,l=2", Arm("RoI-Pool_2.0", ("k=1", "l=2"))),
        ("a:k=[1,2],l={x: 1, y: [2,3]}", Arm("a", ("k=[1,2]", "l={x: 1, y: [2,3]}"))),
        ("a:k='x,y',l=2", Arm("a", ("k='x,y'", "l=2"))),
        ("stock:", Arm("stock", ())),  # an arm may change nothing
        ("a:k=b:c", Arm("a", ("k=b:c",))),  # only the first colon separates
    ],
)
def test_arms(text: str, arm: Arm) -> None:
    assert parse_arm(text) == arm


@pytest.mark.parametrize("text", ["", "a", ":k=1", "a:k", "a:k=1,l", "../a:k=1", "..:k=1"])
def test_broken_arms(text: str) -> None:
    with pytest.raises(UserError, match="arm"):
        parse_arm(text)


def test_seeds() -> None:
    assert parse_seeds("0, 3,1") == (0, 3, 1)
    for text in ("", "a", "1,1", "-1", "1,,2"):
        with pytest.raises(UserError, match="seeds"):
            parse_seeds(text)


def test_plan_has_every_pair_and_a_folder_each(tmp_path: Path) -> None:
    planned = cells(tmp_path, Arm("a", ("k=1",)), Arm("b", ()), seeds=(0, 1))
    assert [(c.arm.name, c.seed) for c in planned] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert len({cell.folder for cell in planned}) == 4
    assert planned[0].overrides == (
        "shared=1",
        "k=1",
        "train.seed=0",
        f"train.output_dir={tmp_path / 'a' / 'seed_0'}",
    )
    with pytest.raises(UserError, match="same name"):
        cells(tmp_path, Arm("a", ()), Arm("a", ("k=1",)))


def test_a_cell_runs_once(tmp_path: Path, train: list[str]) -> None:
    (cell,) = cells(tmp_path, Arm("a", ("ap=12.5",)))
    assert state_of(cell).kind == "open"
    prepare_cell(cell)
    assert run_cell(cell, train) == State("done", {"bbox": {"AP": 12.5}})
    assert "--resume" not in (cell.folder / "arguments").read_text()
    assert state_of(cell).kind == "done"


def test_a_cut_cell_is_resumed(tmp_path: Path, train: list[str]) -> None:
    (cell,) = cells(tmp_path, Arm("a", ("ap=1",)))
    prepare_cell(cell)
    (cell.folder / "last_checkpoint").write_text("model_0000199.pth")
    (cell.folder / "results.json").write_text("{}")  # a periodic evaluation's
    assert state_of(cell).kind == "cut"
    assert run_cell(cell, train).kind == "done"
    assert "--resume" in (cell.folder / "arguments").read_text()


def test_a_failed_cell_says_why_and_is_tried_again(tmp_path: Path, train: list[str]) -> None:
    (cell,) = cells(tmp_path, Arm("a", ("ap=1",)), seeds=(1,))
    prepare_cell(cell)
    state = run_cell(cell, train)
    assert (state.kind, state.error) == ("failed", "error: the disk is full")
    assert state_of(cell).kind == "open"


def test_a_cell_of_other_settings_is_not_taken_for_this_one(tmp_path: Path) -> None:
    (first,) = cells(tmp_path, Arm("a", ("k=1",)))
    prepare_cell(first)
    (second,) = cells(tmp_path, Arm("a", ("k=2",)))
    with pytest.raises(UserError, match="other settings"):
        state_of(second)


def test_report(tmp_path: Path) -> None:
    planned = cells(tmp_path, Arm("pool", ("k=1",)), Arm("align", ()), seeds=(0, 1))
    aps = {("pool", 0): 10.0, ("pool", 1): 13.0, ("align", 0): 20.0}
    states = {
        cell: State("done", {"bbox": {"AP": aps[key]}})
        if (key := (cell.arm.name, cell.seed)) in aps
        else State("failed", error="out | of memory")
        for cell in planned
    }
    text = report("the command", "the machine", states)
    assert f"11.5 ± {statistics.stdev([10, 13]):.1f}" in text
    assert "+8.5" in text  # 20 - 11.5
    assert "3 of 4 runs are done" in text
    assert "out \\| of memory" in text
    assert "mask AP" not in text  # no run has it
    assert "the command" in text
    assert "the machine" in text


def test_report_before_anything_is_done(tmp_path: Path) -> None:
    planned = cells(tmp_path, Arm("a", ()), Arm("b", ("k=1",)))
    assert "0 of 2 runs are done" in report("c", "h", {cell: State("open") for cell in planned})
