"""Sweeps that earlier versions of RoILab wrote are still read."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roilab.synthetic import write_figures

# By the commit that wrote it; without weights, which are large.
OLD = Path(__file__).with_name("sweep_fe98d7c")


def test_the_report_has_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Callable[..., Any]
) -> None:
    """Two arms of two seeds each, on three images of the sample set."""
    monkeypatch.chdir(tmp_path)
    write_figures(Path("datasets/figures"), train=6, val=3, size=96)
    folder = shutil.copytree(OLD, tmp_path / "sweep")
    before = (folder / "report.csv").read_text(encoding="utf-8")
    (folder / "report.csv").unlink()
    done = script("sweep", "report", folder)
    assert "4 of 4 runs are done" in done.stdout
    assert (folder / "report.csv").read_text(encoding="utf-8") == before
    assert (folder / "report.html").is_file()
