"""Remedies of training and run folders work when they are followed."""

from . import engine
from .cases import follow_cases_of

test_the_remedy_works = follow_cases_of(engine)
