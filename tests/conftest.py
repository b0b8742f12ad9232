"""What several tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

from roilab.data.figures import FiguresPaths, write_figures

# No time decides a test: on a shared machine any example may take long.
settings.register_profile("roilab", deadline=None)
settings.load_profile("roilab")


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> FiguresPaths:
    """A small sample set: six training and four validation images of 96 pixels."""
    out: Path = tmp_path_factory.mktemp("sample") / "figures"
    return write_figures(out, train=6, val=4, size=96)
