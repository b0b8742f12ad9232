"""The data set that the tests of trainings share; who changes it makes one of their own."""

from pathlib import Path

import pytest

from .running import shapes


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images to train on, and three to evaluate: two processes cannot share them evenly."""
    return shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder that a training of a test is to write."""
    return tmp_path / "run"
