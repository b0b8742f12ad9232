"""What remedies say of arguments works as a user types it: as options, and as keys of a config.

The cases are those of the functions; what they give the functions is typed here.
"""

import copy
import inspect
import logging
import re
import shlex
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import LazyConfig
from omegaconf import DictConfig

from roilab.engine import config
from roilab.engine.build_data import build_dataset
from roilab.engine.overrides import write, write_for_shell
from roilab.errors import UserError, rename_arguments
from roilab.via import Problem

from . import catalog, coco_files, data_commands, datasets, labels, reading
from .cases import KEYS, OPTIONS, Case, Wrong, cases_of, follow_with_fixtures, printed, wrong

DATA = Path(__file__).parents[2] / "configs" / "common" / "data.py"
OVERRIDE = r"'data\.[^']*'|data\.[\w.]+=[^\s,;:()]*\w"
OPTION = r"--[a-z-]+ (?:'[^']*'|\w[^\s,;:()]*)"


class NoArgument(Exception):
    """The remedy of a case names none, so that nothing is typed."""


class Typed:
    """Calls a command as a user does, with what the remedy of a case says.

    Args:
        call: takes the name of a command, files, and what is typed beside them.
        keys, write: see `roilab.errors.rename_arguments`.
        piece: what the remedy says of an argument, as a regular expression.
    """

    def __init__(
        self,
        case: Case,
        call: Callable[[str, tuple[Any, ...], list[str]], Wrong],
        keys: Mapping[str, str],
        write: Callable[[str, Any], str],
        piece: str,
    ) -> None:
        self.case, self.call, self.keys, self.write, self.piece = case, call, keys, write, piece
        self.before: dict[str, str] | None = None
        self.shown: list[str] = []
        self.followed = 0

    def __call__(self, command: str, *files: Any, **options: Any) -> Wrong:
        typed = {name: self.write(self.keys[name], value) for name, value in options.items()}
        errors = self.call(command, files, shlex.split(" ".join(typed.values())))
        if self.before is None:
            self.before = typed
            remedies = [str(error.remedy) for error in errors if self.case.is_remedy_of(error)]
            self.shown = [text for remedy in remedies for text in re.findall(self.piece, remedy)]
            if remedies and not self.shown:
                raise NoArgument
            for text in self.shown:  # none is a usage error, or an unknown key
                self.call(command, files, shlex.split(text))
        changed = {name for name, _ in typed.items() ^ self.before.items()}
        texts = [text.strip("'").replace(" ", "=") for text in self.shown]
        self.followed += any(
            text.startswith(f"{self.keys[name]}=") for name in changed for text in texts
        )
        return errors


def follow_as_typed(
    case: Case, typed: Typed, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> list[str]:
    """Why the remedy of a case does not work as it is typed; empty where it does."""
    monkeypatch.setattr(reading, "as_typed", typed)
    try:
        wrong = follow_with_fixtures(case, request)
    except NoArgument:
        return []
    if typed.before is not None and not typed.followed:
        wrong.append(f"what it shows is not typed: {typed.shown}")
    names_argument = rename_arguments(case.remedy, typed.keys, typed.write) != case.remedy
    runs_command = {"script", "data"} & inspect.signature(case.steps).parameters.keys()
    if typed.before is None and names_argument and not runs_command:
        wrong.append("nothing is typed")
    return wrong


def cases_with_arguments(*modules: Any) -> Any:
    """Those whose remedy names an argument, or has a part that may.

    What is written in a config file, such as an interpolation, is not typed.
    """
    cases = [case for case in cases_of(modules) if re.search(r"\w=(?!\"\$)|\{\}", case.remedy)]
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.steps.__name__)


@cache
def data_config() -> DictConfig:
    return DictConfig({"data": LazyConfig.load(str(DATA)).data})


@cases_with_arguments(labels, datasets, coco_files, catalog)
def test_overrides_of_a_training(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    def call(command: str, files: tuple[Any, ...], overrides: list[str]) -> Wrong:
        if command in ("merge", "skeleton"):
            raise NoArgument  # no training does that
        if command == "from_catalog":
            own = {"_target_": "roilab.data.from_catalog.from_catalog", "name": files[0]}
        else:
            own = {"files": list(map(str, files)), "images": None}
        cfg = copy.deepcopy(data_config())
        config.override(cfg, [write(f"data.val.{name}", value) for name, value in own.items()])
        config.override(cfg, overrides)
        caplog.clear()
        errors = wrong(build_dataset, cfg, "data.val")
        logged = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
        return errors + [problem for problem in logged if isinstance(problem, Problem)]

    caplog.set_level(logging.INFO)
    typed = Typed(case, call, KEYS[1], write_for_shell, OVERRIDE)
    assert follow_as_typed(case, typed, monkeypatch, request) == []


@cases_with_arguments(labels, coco_files, data_commands)
def test_options_of_data_commands(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    script: Callable[..., Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    def call(command: str, files: tuple[Any, ...], options: list[str]) -> Wrong:
        before = {"skeleton": ["--from"]}.get(command, [])
        output = tmp_path / "merged.json"
        output.unlink(missing_ok=True)
        after = ["--output", output] if command == "merge" else []
        errors = printed(script("data", command, *before, *files, *after, *options))
        assert not (output.exists() and any(isinstance(error, UserError) for error in errors))
        return errors

    typed = Typed(case, call, *OPTIONS, OPTION)
    assert follow_as_typed(case, typed, monkeypatch, request) == []
