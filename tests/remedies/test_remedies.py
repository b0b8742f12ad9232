"""Every remedy has a case; how remedies are found, and how a case is judged."""

from pathlib import Path
from typing import Any

import pytest

from roilab.errors import UserError

from . import test_configs, test_files, test_training  # noqa: F401 - their modules add cases
from .cases import CASES, Case, follow
from .collector import Unreadable, remedies
from .files import write
from .without_a_case import WITHOUT_A_CASE


def test_every_remedy_has_a_case_or_a_reason_why_there_is_none() -> None:
    """Where a remedy has other words now, the key of its case follows, and the steps if need be."""
    written = remedies()
    tested = {case.remedy for case in CASES}
    known = tested | WITHOUT_A_CASE.keys()
    untested = {text: written[text] for text in written.keys() - known}
    assert not untested
    not_in_the_code = known - written.keys()
    assert not not_in_the_code
    assert not tested & WITHOUT_A_CASE.keys()


def test_remedies_are_read_wherever_they_are_written(tmp_path: Path) -> None:
    source = """
REMEDY = "a constant"

class Problem:
    def __init__(self, message, remedy, file=None): ...

class Error(Problem): ...

class Place:
    def error(self, message, remedy="a default"):
        return Problem(message, remedy)

def advice(x):
    return f"give {x}" if x else None

def work(place, name, log, *more):
    Problem("a", "an argument", "file")
    Problem("a", remedy="a keyword" + (f"; or {name}" if name else "; or not"))
    Problem("a", REMEDY)
    Problem("a", advice(name))
    Error("a", "of a class that inherits")
    message, remedy = "a", "a variable"
    Problem(message, remedy, *more)
    place.error("a", "of a method")
    log.error("a", "of a logger")
    remedies = ["one of several"]
    remedies.append("appended")
    Problem("a", ", or ".join(remedies))
"""
    write(tmp_path / "project" / "a.py", source)
    assert set(remedies(tmp_path)) == {
        "a constant",
        "a default",
        "give {}",
        "an argument",
        "a keyword; or {}",
        "a keyword; or not",
        "of a class that inherits",
        "a variable",
        "of a method",
        "one of several",
        "appended",
    }


@pytest.mark.parametrize("value", ["[].pop()", "text"])
def test_a_remedy_that_cannot_be_read_is_an_error(tmp_path: Path, value: str) -> None:
    write(tmp_path / "scripts" / "a.py", f"def f(remedy): ...\nf(remedy={value})")
    with pytest.raises(Unreadable, match=r"a\.py:2"):
        remedies(tmp_path)


def one(remedy: str) -> list[UserError]:
    return [UserError("too small", remedy=remedy)]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([one("give another")], "the mistake shows"),
        ([one("make it large")], "does not follow"),
        ([one("make it large"), one("make it large")], "left after step 1"),
        ([one("make it large"), [UserError("too large")]], "left after step 1"),
    ],
)
def test_a_remedy_that_does_not_work_is_refused(steps: list[Any], reason: str) -> None:
    (first, *_) = follow(Case("make it {}", lambda: iter(steps)))
    assert reason in first
    assert follow(Case("make it {}", lambda: iter([one("make it large"), []]))) == []
