"""Every remedy has a case; how remedies are found, and how a case is judged."""

from pathlib import Path
from typing import Any

import pytest

from roilab.errors import UserError

from . import parts  # noqa: F401 - its modules add cases
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


def test_remedies_are_found_wherever_they_are_written(tmp_path: Path) -> None:
    """A text as an argument, in a variable, a table, a default, a list, or from a function."""
    write(
        tmp_path / "project" / "errors.py",
        """
class Problem:
    def __init__(self, message, remedy, file=None): ...

class Error(Problem):
    pass
""",
    )
    write(
        tmp_path / "scripts" / "a.py",
        """
from errors import Error, Problem
TABLE = {1: ("a", "of a table"), 2: ("b", "of a table, too")}
CONSTANT = "a constant"

def why_not(x):
    if x:
        return None
    return "no", f"give {x}" if x else "returned"

def pair(x):
    return ("a", "of a pair") if x else None

def doubts(x):
    yield "a", "yielded"

class Place:
    def error(self, message, remedy="a default"):
        return Problem(message, remedy)

def work(place, name, log):
    Problem("a", "an argument", "file")
    Problem("a", remedy="a keyword" + (f"; or {name}" if name else "; or not"))
    text = "a variable" if name else CONSTANT
    Problem("a", text)
    Error("a", "of a class that inherits")
    message, remedy = why_not(name)
    Problem(message, remedy)
    place.error("a")
    place.error("a", "of a method")
    log.error("a", "of a logger")
    found = [(key, *texts) for key, texts in TABLE.items()]
    found.append((3, "c", "appended"))
    Problem(*pair(name), "file")
    Problem("a", pair(name)[1])
    either = ["one of several"]
    Problem("a", ", or ".join(either))
    for several in (doubts(name),):
        for why, more in several:
            Problem(why, more)
    return [Problem(why, more) for key, why, more in found]
""",
    )
    assert set(remedies(tmp_path)) == {
        "of a table",
        "of a table, too",
        "a constant",
        "give {}",
        "returned",
        "a default",
        "an argument",
        "a keyword; or {}",
        "a keyword; or not",
        "a variable",
        "of a method",
        "of a pair",
        "yielded",
        "one of several",
        "of a class that inherits",
        "appended",
    }


def test_a_remedy_that_cannot_be_followed_to_its_words_is_told(tmp_path: Path) -> None:
    write(tmp_path / "project" / "a.py", "def f(remedy): ...\nf(remedy=[].pop())")
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
