"""Remedies of training and run folders work when they are followed."""

import pytest

from .cases import Case, cases_of, follow_with_fixtures
from .parts import TRAINING


@pytest.mark.parametrize("case", cases_of(TRAINING), ids=lambda case: case.steps.__name__)
def test_the_remedy_works(case: Case, request: pytest.FixtureRequest) -> None:
    assert follow_with_fixtures(case, request) == []
