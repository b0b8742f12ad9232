"""No command runs anything that a stranger's run folder names.

Each hostile folder is opened by one command here, and by every command where ROILAB_HOSTILE is
"all", as `make fuzz` has it.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import instantiate
from omegaconf import OmegaConf
from streamlit.testing.v1 import AppTest
from tests.damage import LINES, command_line

import roilab.cli.app
from roilab.engine import config
from roilab.engine.load_run import load_run
from roilab.engine.run_folder import Run, find_runs, open_run
from roilab.engine.training_log import start_logging
from roilab.errors import UserError
from roilab.inference import Predictor
from roilab.inference.formats import attribute_names

from .hostile import PAYLOADS, Payload, Trap, calls, hostile_folder, hostile_sweep, write_traps
from .running import data_places

NOTHING = Trap(Path("folder"), Path("mark"))
Script = Callable[..., Any]
FUNCTIONS = {
    "config.load": lambda trap: config.load_config(trap.folder / "config.yaml"),
    "load_run": lambda trap: load_run(open_run(trap.folder)),
    "Predictor.from_run": lambda trap: Predictor.from_run(open_run(trap.folder)),
    "attribute_names": lambda trap: attribute_names(Run(trap.folder)),
}
SCRIPT_LINES = [name for name in LINES if name not in ("doctor", "replay", "sweep")]
COMMANDS = (*FUNCTIONS, *SCRIPT_LINES)
# What reads no config, no weights, or trains where there is nothing to refuse.
OPENS_NO_WEIGHTS = ("config.load", "attribute_names", "config show", "config diff", "train")
ALL = os.environ.get("ROILAB_HOSTILE") == "all"


def pairs() -> list[tuple[Payload, str]]:
    every = [(payload, name) for payload in PAYLOADS for name in COMMANDS]
    if not ALL:
        every = list(zip(PAYLOADS, cycle(COMMANDS), strict=False))
    return [
        (payload, name)
        for payload, name in every
        if payload.in_config or name not in (*OPENS_NO_WEIGHTS, "sweep report", "resume")
    ]


def test_there_are_enough_of_them() -> None:
    assert len({payload.name for payload in PAYLOADS}) == len(PAYLOADS) >= 60
    assert {name for _, name in pairs()} == set(COMMANDS)


@pytest.mark.parametrize("name", calls(NOTHING))
def test_a_call_leaves_its_mark_where_nothing_refuses_it(name: str, tmp_path, monkeypatch) -> None:
    """Else it would prove nothing that there is none."""
    trap = Trap(tmp_path / "run", tmp_path / "mark")
    trap.folder.mkdir()
    write_traps(trap)
    monkeypatch.syspath_prepend(trap.folder)
    monkeypatch.delitem(sys.modules, "evil_module", raising=False)
    with contextlib.suppress(Exception):  # what comes after the mark does not matter
        instantiate(OmegaConf.create(calls(trap)[name]))
    assert os.path.lexists(trap.mark)


@pytest.mark.parametrize(
    ("payload", "command"),
    pairs(),
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_nothing_is_run(payload, command, tiny_run, figures, script, tmp_path, monkeypatch) -> None:
    trap = hostile_folder(payload, tiny_run, tmp_path)
    monkeypatch.syspath_prepend(trap.folder)  # as it is for whoever starts Python in it
    if command in FUNCTIONS:
        with pytest.raises(UserError) as error:
            FUNCTIONS[command](trap)
        said = str(error.value)
    else:
        folder = trap.folder
        if command == "sweep report":
            folder = hostile_sweep(trap, tmp_path / "sweep")
        overrides = data_places(figures.train, figures.val)
        line = command_line(
            command,
            overrides,
            config="configs/figures_mask_keypoint.py",
            image=figures.val.parent,
            out=tmp_path / "other",
            run=folder,
            sound=tiny_run.folder,
        )
        said = script(*line, status=2).stderr
    assert not os.path.lexists(trap.mark)
    assert "Traceback" not in said
    assert trap.folder.name in said
    assert "not as it was written" not in said  # a digest is no protection


@pytest.mark.parametrize("name", ["log.txt", "log.txt.rank1", "metrics.json"])
def test_a_training_adds_lines_to_no_file_elsewhere(name: str, tmp_path: Path) -> None:
    """Such as one that a shell runs when it starts."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.write_text("mine")
    folder.mkdir()
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link"):
        start_logging(Run(folder))
    assert elsewhere.read_text() == "mine"


def test_runs_are_found_without_opening_them(tiny_run: Run, tmp_path: Path) -> None:
    for number, payload in enumerate(PAYLOADS[:3]):
        hostile_folder(payload, tiny_run, tmp_path / f"{number}")
    assert len(find_runs(tmp_path)) == 3
    assert not list(tmp_path.rglob("mark"))


def test_the_doctor_runs_nothing(tiny_run: Run, script: Script, tmp_path: Path) -> None:
    """Nor where the record knows no file, so that it reads them."""
    for number, payload in enumerate(PAYLOADS if ALL else PAYLOADS[-12:]):
        trap = hostile_folder(payload, tiny_run, tmp_path / f"{number}")
        assert script("doctor", "--run", trap.folder, status=None).returncode in (0, 1)
        (trap.folder / "run.json").unlink()
        assert script("doctor", "--run", trap.folder, status=None).returncode in (0, 1)
        assert not os.path.lexists(trap.mark)


def test_the_app_says_what_it_refuses(tiny_run: Run, tmp_path: Path, monkeypatch) -> None:
    for number, payload in enumerate(PAYLOADS if ALL else PAYLOADS[5:6]):
        trap = hostile_folder(payload, tiny_run, tmp_path / f"{number}")
        monkeypatch.setattr("sys.argv", ["app.py", "--runs", str(trap.folder)])
        app = AppTest.from_file(roilab.cli.app.__file__, default_timeout=120).run()
        assert not app.exception
        assert app.error
        if payload.in_config and not ALL:
            assert r"\-\-trust" in app.error[0].value
        assert not os.path.lexists(trap.mark)
