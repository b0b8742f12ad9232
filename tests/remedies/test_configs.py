"""Remedies of configs, overrides, prediction and sweeps work when they are followed."""

from . import catalog, inference, overrides, own_data, sweeps
from .cases import follow_cases_of

test_the_remedy_works = follow_cases_of(catalog, inference, overrides, own_data, sweeps)
