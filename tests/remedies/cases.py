"""What a case is: a mistake whose error has a remedy, and the steps that follow the remedy.

A case is a generator. It yields what is wrong after the mistake, and again each time it has
followed the remedy (or another of several that the remedy offers):

    @case("give class_attribute")
    def two_attributes(tmp_path):
        file = via_file(tmp_path, [square(kind="dog", colour="red")])
        yield label(file)
        yield label(file, class_attribute="kind")

Its arguments are pytest's fixtures. The key is the remedy as the code writes it, `{}` where it
varies; where one text is the remedy of several errors, it has several cases. Where each step only
writes a file and reads it, the cases are a table: remedy -> attempts, see `add_cases`.
"""

import dataclasses
import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roilab.cli import console, data_common
from roilab.data.dataset import load_dataset
from roilab.data.from_catalog import from_catalog
from roilab.engine.overrides import write_for_shell
from roilab.errors import UserError, rename_arguments
from roilab.via import LabelRules, Problem

Wrong = list[UserError | Problem]
Attempts = Iterator[Wrong]
Steps = Callable[..., Attempts]
Script = Callable[..., Any]  # the fixture `script`
Command = Callable[..., Wrong]  # the fixture `data`


@dataclass(frozen=True)
class Case:
    """A remedy and the generator that makes its mistake and follows it.

    `leads_on`: the remedy shows another error, which has a remedy of its own.
    """

    remedy: str
    steps: Steps
    leads_on: bool = False

    def is_remedy_of(self, error: UserError | Problem) -> bool:
        """Whether an error has this remedy, perhaps as one of several (", or ").

        What it says of an argument may be said of the key in a config, or of an option.
        """
        shown = error.remedy or ""
        for keys, write in WRITERS:
            remedy = rename_arguments(self.remedy, keys, write)
            pattern = ".+".join(map(re.escape, remedy.split("{}")))
            if re.fullmatch(f"(.*, or )?{pattern}(, or .*)?", shown, re.DOTALL):
                return True
        return False


CASES: list[Case] = []
# Argument of a data set -> its key in a config, where both splits follow `data`.
_OWN = ("files", "images", "name", "register", "drop_empty", "min_keypoints")
_ARGUMENTS = inspect.signature(load_dataset).parameters | inspect.signature(from_catalog).parameters
_RULES = {field.name: f"data.rules.{field.name}" for field in dataclasses.fields(LabelRules)}
KEYS = [
    {name: f"data.{split}.{name}" if name in _OWN else f"data.{name}" for name in _ARGUMENTS}
    | _RULES
    | {"copy_paste": "data.augmentations.copy_paste.copy_paste"}
    for split in ("train", "val")
]
OPTIONS = console.OPTIONS | data_common.OPTIONS, console.option
# How remedies name an argument: as it is, by its key, by its option.
WRITERS: list[tuple[Mapping[str, str], Callable[[str, Any], str]]] = [
    ({}, write_for_shell),
    *((keys, write_for_shell) for keys in KEYS),
    OPTIONS,
]


def case(*remedies: str, leads_on: bool = False) -> Callable[[Steps], Steps]:
    """Add a generator as a case of a remedy; of several, where one mistake shows them together."""

    def add(steps: Steps) -> Steps:
        CASES.extend(Case(remedy, steps, leads_on) for remedy in remedies)
        return steps

    return add


def attempt(function: Callable[..., Wrong]) -> Callable[..., Callable[[Path], Wrong]]:
    """Turn a function of a folder and more into one of the rest, which returns an attempt."""

    def later(*arguments: Any, **options: Any) -> Callable[[Path], Wrong]:
        return lambda folder: function(folder, *arguments, **options)

    return later


def add_cases(module: str, *tables: Mapping[str, Sequence[Callable[[Path], Wrong]]]) -> None:
    """Add a case for each remedy: the first of its attempts has the mistake, the others none."""
    for remedy, attempts in (row for table in tables for row in table.items()):
        CASES.append(Case(remedy, _steps(remedy, attempts, module)))


def _steps(remedy: str, attempts: Sequence[Callable[[Path], Wrong]], module: str) -> Steps:
    def steps(tmp_path: Path) -> Attempts:
        for attempt in attempts:
            yield attempt(tmp_path)

    steps.__name__, steps.__module__ = remedy, module
    return steps


def cases_of(modules: Iterable[ModuleType]) -> list[Case]:
    """The cases that these modules add."""
    names = {module.__name__ for module in modules}
    return [case for case in CASES if case.steps.__module__ in names]


def with_remedy(attempt: Callable[..., Wrong], *overrides: str) -> Attempts:
    """An attempt with overrides, and again with the override that its remedy shows."""
    first = attempt(*overrides)
    yield first
    yield attempt(*overrides, str(first[0].remedy))


def wrong(function: Callable[..., Any], *arguments: Any, **options: Any) -> Wrong:
    """What is wrong when a function is called: the error that it raises, or the problems found.

    The problems are those of its result: a list of them, or an object that has `problems`.
    """
    try:
        result = function(*arguments, **options)
    except UserError as error:
        return [error]
    problems = getattr(result, "problems", result)
    if not isinstance(problems, Iterable):
        return []
    return [problem for problem in problems if isinstance(problem, Problem)]


def follow(case: Case, **fixtures: Any) -> list[str]:
    """Make the mistake of a case and follow its remedy.

    Returns:
        Why the remedy does not work; empty where it does. The mistake does not show the remedy; or,
        after it was followed, an error that showed it has the same message still, or another
        leaves something out.
    """
    steps = case.steps(**fixtures)
    first = next(steps)
    shown = {error.message for error in first if case.is_remedy_of(error)}
    if not shown:
        return [f"the mistake shows {[(error.message, error.remedy) for error in first]}"]
    followed = 0
    for after in steps:
        followed += 1
        left = [error for error in after if error.message in shown]
        if not case.leads_on:
            left += [error for error in after if getattr(error, "severity", "error") == "error"]
        if left:
            return [f"left after step {followed}: {error}" for error in left]
    return [] if followed else ["the case does not follow the remedy"]


def follow_with_fixtures(case: Case, request: pytest.FixtureRequest) -> list[str]:
    """The same with pytest's fixtures, by the names of the arguments of the case."""
    names = inspect.signature(case.steps).parameters
    return follow(case, **{name: request.getfixturevalue(name) for name in names})


def follow_cases_of(*modules: ModuleType) -> Callable[..., None]:
    """A test that the remedies of these modules work when they are followed."""

    @pytest.mark.parametrize("case", cases_of(modules), ids=lambda case: case.steps.__name__)
    def test(case: Case, request: pytest.FixtureRequest) -> None:
        assert follow_with_fixtures(case, request) == []

    return test


def follow_command(script: Callable[..., Any], remedy: str | None) -> Any:
    """Run the first command in a remedy."""
    match = re.search(r"roilab (\w+) ([^;]*)", console.with_options(remedy or ""))
    assert match is not None
    return script(match[1], *shlex.split(match[2]))


def run_remedy(
    script: Script, attempt: Callable[[], Wrong], delete: Path | None = None
) -> Attempts:
    """An attempt, and another after a deletion and the command in the remedy of the first."""
    first = attempt()
    yield first
    if delete is not None:
        delete.unlink()
    assert follow_command(script, first[0].remedy).returncode == 0
    yield attempt()


def printed(done: Any) -> Wrong:
    """What a script that has run prints: its error, or the problems of an annotation file.

    Args:
        done: what the fixture `script` returns.
    """
    text = done.stdout + done.stderr
    assert "usage: " not in text, text  # of argparse: the case itself is wrong
    problems = re.findall(r"^(\w+): .*\n  (.*)\n  remedy: (\S.*)$", text, re.MULTILINE)
    complaints: Wrong = [Problem(*parts, file="") for parts in problems]
    errors = re.findall(r"^error: (.*)\n((?:  .*\n)*)", done.stderr, re.MULTILINE)
    for message, lines in errors:
        remedy = re.search(r"^  remedy: +(.*)$", lines, re.MULTILINE)
        complaints.append(UserError(message, remedy=remedy and remedy.group(1)))
    return complaints
