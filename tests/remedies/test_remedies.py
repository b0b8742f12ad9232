"""Every remedy is tested by following it: the error that shows it goes, or changes."""

import inspect

import pytest

from . import data, engine, inference, sweeps, via_files  # noqa: F401 - they add cases
from .by_person import BY_PERSON
from .cases import CASES, Case, follow
from .collector import remedies


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.steps.__name__)
def test_the_remedy_works(case: Case, request: pytest.FixtureRequest) -> None:
    names = inspect.signature(case.steps).parameters
    follow(case, **{name: request.getfixturevalue(name) for name in names})


def test_every_remedy_has_a_case_or_a_reason_why_only_a_person_can_follow_it() -> None:
    written = remedies()
    tested = {case.remedy for case in CASES}
    known = tested | BY_PERSON.keys()
    assert not {text: written[text] for text in written.keys() - known}, "remedies without a case"
    assert not known - written.keys(), "remedies that the code does not have any more"
    assert not tested & BY_PERSON.keys()
