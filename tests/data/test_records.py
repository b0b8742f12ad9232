"""What is logged of the problems of annotation files."""

import logging

import pytest

from roilab import via
from roilab.data.annotated_images import SHOWN
from roilab.data.records import log_problems


def problem(severity: via.Severity, number: int) -> via.Problem:
    return via.Problem(severity, f"{severity} {number}", "mend it", "via.json")


def test_a_long_list_is_cut_and_the_most_severe_stand_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "roilab")
    log_problems([problem("note", 1), *(problem("warning", n) for n in range(2, SHOWN + 1))])
    assert len(caplog.records) == SHOWN
    assert [each.levelname for each in caplog.records] == ["WARNING"] * (SHOWN - 1) + ["INFO"]
    caplog.clear()
    log_problems([*(problem("note", n) for n in range(SHOWN + 1)), problem("error", 9)])
    assert "error 9" in caplog.messages[0]
    assert caplog.messages[SHOWN:] == ["2 more problems: see roilab data check"]
