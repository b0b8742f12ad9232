"""Sweeps with a training that is played by a few lines of Python."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from roilab.engine import config
from roilab.errors import UserError
from roilab.sweep import (
    Arm,
    Cell,
    State,
    parse_arm,
    parse_seeds,
    plan,
    report,
    run_cell,
    state_of,
)
from roilab.sweep.run import definition

# Plays scripts/train.py: writes what a finished run leaves, or fails for seed 1.
FAKE = """
import json, pathlib, sys
options = dict(a.split("=", 1) for a in sys.argv if "=" in a)
folder = pathlib.Path(options["train.output_dir"].strip("'"))
(folder / "arguments").write_text(" ".join(sys.argv))
if options["train.seed"] == "1":
    print("much\\nerror: the disk is full\\n  key: x")
    sys.exit(2)
with (folder / "metrics.json").open("a") as log:
    print(json.dumps({"iteration": 9, "total_loss": 1.0}), file=log)
    print(json.dumps({"iteration": 10, "bbox/AP": 1.0}), file=log)
(folder / "config.yaml").write_text("")
(folder / "model_final.pth").write_text("")
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


def literals() -> st.SearchStrategy[str]:
    """Values as Hydra's grammar has them: commas only within brackets or quotes."""
    words = st.text("ab1. ", min_size=1, max_size=4)
    return st.recursive(
        words | st.text("ab,:[({", max_size=5).map(lambda text: f"'{text}'"),
        lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    )


@given(st.lists(st.tuples(st.sampled_from(["k", "a.b"]), literals()), max_size=4))
def test_only_commas_between_overrides_split(pairs: list[tuple[str, str]]) -> None:
    overrides = [f"{key}={value}" for key, value in pairs]
    expected = tuple(text.strip() for text in overrides)
    assert parse_arm(f"arm:{','.join(overrides)}") == Arm("arm", expected)


def test_plan_has_every_pair_and_a_folder_each(tmp_path: Path) -> None:
    planned = cells(tmp_path, Arm("a", ("k=1",)), Arm("b", ()), seeds=(0, 1))
    assert [(c.arm.name, c.seed) for c in planned] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert len({cell.folder for cell in planned}) == 4
    assert planned[0].overrides == (
        "shared=1",
        "k=1",
        "train.seed=0",
        f"train.output_dir='{tmp_path / 'a' / 'seed_0'}'",
    )
    with pytest.raises(UserError, match="same name"):
        cells(tmp_path, Arm("a", ()), Arm("a", ("k=1",)))


@pytest.mark.parametrize("name", ["plain", "with space", "a,b", "it's", "[x](1)=2"])
def test_any_output_folder_reaches_the_training(tmp_path: Path, name: str) -> None:
    (cell,) = plan("b.py", [Arm("a", ())], [0], [], tmp_path / name)
    cfg = OmegaConf.create({"train": {"seed": 5, "output_dir": ""}})
    config.override(cfg, cell.overrides)
    assert (cfg.train.seed, cfg.train.output_dir) == (0, str(cell.folder))


def test_a_cell_runs_once(tmp_path: Path, train: list[str]) -> None:
    (cell,) = cells(tmp_path, Arm("a", ("ap=12.5",)))
    assert state_of(cell).kind == "open"
    state = run_cell(cell, train)
    assert (state.kind, state.results, state.iterations) == ("done", {"bbox": {"AP": 12.5}}, 10)
    assert state.seconds > 0
    assert "--resume" not in (cell.folder / "arguments").read_text()
    assert state_of(cell) == state


def cut(cell: Cell, tag: str) -> None:
    """Leave what a cell leaves that was cut after the checkpoint `tag`."""
    cell.folder.mkdir(parents=True)
    (cell.folder / "cell.json").write_text(json.dumps({**definition(cell), "seconds": 100.0}))
    (cell.folder / "metrics.json").write_text('{"iteration": 199, "total_loss": 1.0}\n')
    (cell.folder / "results.json").write_text("{}")  # a periodic evaluation's
    os.utime(cell.folder / "results.json", (1, 1))
    (cell.folder / tag).write_text("")
    (cell.folder / "last_checkpoint").write_text(tag)


@pytest.mark.parametrize("tag", ["model_0000199.pth", "model_final.pth"])
def test_a_cut_cell_is_resumed(tmp_path: Path, train: list[str], tag: str) -> None:
    # The last evaluation can be cut too: then the final weights are there, but not their results.
    (cell,) = cells(tmp_path, Arm("a", ("ap=1",)))
    cut(cell, tag)
    assert state_of(cell) == State("cut", iterations=200, seconds=100.0)
    state = run_cell(cell, train)
    assert state.kind == "done"
    assert state.seconds > 100
    assert "--resume" in (cell.folder / "arguments").read_text()


def test_a_cell_without_checkpoint_starts_again(tmp_path: Path, train: list[str]) -> None:
    (cell,) = cells(tmp_path, Arm("a", ("ap=1",)))
    cut(cell, "model_0000199.pth")
    (cell.folder / "last_checkpoint").unlink()
    assert state_of(cell) == State("open")
    state = run_cell(cell, train)
    assert state.iterations == 10
    assert 0 < state.seconds < 100
    assert len((cell.folder / "metrics.json").read_text().splitlines()) == 2


def test_an_interrupt_ends_the_training(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    (cell,) = cells(tmp_path, Arm("a", ()))

    def interrupt(iterations: int) -> None:
        if (cell.folder / "stdout.txt").read_text():
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, [sys.executable, str(script)], interrupt)
    assert time.monotonic() - started < 30  # ended, not waited for
    with pytest.raises(ProcessLookupError):
        os.kill(int((cell.folder / "stdout.txt").read_text()), 0)
    assert state_of(cell).kind == "open"


def test_a_failed_cell_says_why_and_is_tried_again(tmp_path: Path, train: list[str]) -> None:
    (cell,) = cells(tmp_path, Arm("a", ("ap=1",)), seeds=(1,))
    for _ in range(2):
        state = run_cell(cell, train)
        assert (state.kind, state.error) == ("failed", "error: the disk is full")
        assert state_of(cell).kind == "open"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("raise RuntimeError('out of\\nmemory')", "memory"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9 without a word"),
        ("print('all is well')", "all is well"),  # a success without results is none
    ],
)
def test_a_crash_is_reported(tmp_path: Path, script: str, error: str) -> None:
    (cell,) = cells(tmp_path, Arm("a", ()))
    (tmp_path / "crash.py").write_text(script)
    state = run_cell(cell, [sys.executable, str(tmp_path / "crash.py")])
    assert (state.kind, state.error) == ("failed", error)


def test_a_cell_of_other_settings_is_not_taken_for_this_one(
    tmp_path: Path, train: list[str]
) -> None:
    (first,) = cells(tmp_path, Arm("a", ("ap=1",)))
    run_cell(first, train)
    (second,) = cells(tmp_path, Arm("a", ("ap=2",)))
    with pytest.raises(UserError, match=r"(?s)other settings.*delete"):
        state_of(second)


def test_a_run_that_is_no_cell_is_left_alone(tmp_path: Path, train: list[str]) -> None:
    (cell,) = cells(tmp_path, Arm("a", ("ap=1",)))
    run_cell(cell, train)
    (cell.folder / "cell.json").unlink()
    with pytest.raises(UserError, match="another run"):
        state_of(cell)


def test_report(tmp_path: Path) -> None:
    planned = cells(tmp_path, Arm("pool", ("k=1",)), Arm("align", ()), seeds=(0, 1))
    aps = {("pool", 0): 10.0, ("pool", 1): 13.0, ("align", 0): 20.0}
    states = {
        cell: State("done", {"bbox": {"AP": aps[key]}}, iterations=90, seconds=61.4)
        if (key := (cell.arm.name, cell.seed)) in aps
        else State("failed", error="out | of memory")
        for cell in planned
    }
    text = report("the command", "The machine.", states)
    table = {cells_of(line)[:2]: cells_of(line)[2:] for line in text.splitlines() if "|" in line}
    # By hand: (10 + 13) / 2; sqrt((1.5^2 + 1.5^2) / (2 - 1)) = 2.1; 20 - 11.5.
    assert table["pool", "2 of 2"] == ("11.5 ± 2.1",)
    assert table["align", "1 of 2"] == ("20.0 ± -",)
    assert table["align", "+8.5"] == ()
    assert table["pool", "1"] == ("90", "61", "13.0", "done")
    assert table["align", "1"] == ("-", "-", "-", "failed: out / of memory")
    assert "3 of 4 runs are done" in text
    assert "over 2 seeds (0, 1)" in text
    assert "mask AP" not in text  # no run has it
    for told in ("the command", "The machine.", "`base.py` with `shared=1`", "- pool: `k=1`"):
        assert told in text


def cells_of(line: str) -> tuple[str, ...]:
    """The cells of a line of a Markdown table; a slash stands for an escaped bar."""
    return tuple(cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|"))


def test_report_of_one_seed_warns(tmp_path: Path) -> None:
    planned = cells(tmp_path, Arm("a", ()), seeds=(3,))
    text = report("c", "h", {cell: State("done", {"segm": {"AP": 1.0}}) for cell in planned})
    assert "one seed (3)" in text
    assert "no difference here is to be believed" in text


def test_report_before_anything_is_done(tmp_path: Path) -> None:
    planned = cells(tmp_path, Arm("a", ()), Arm("b", ("k=1",)))
    assert "0 of 2 runs are done" in report("c", "h", {cell: State("open") for cell in planned})
