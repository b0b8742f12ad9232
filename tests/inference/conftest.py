"""`roilab predict`, as several tests call it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roilab.engine.run_folder import Run


@pytest.fixture
def predict(script: Callable[..., Any], tiny_run: Run) -> Callable[..., Any]:
    """A function that predicts a source, or a tuple of them, with the tiny run or another one."""

    def call(
        source: object, output: Path | str, *more: object, run: Path | None = None, status: int = 0
    ) -> Any:
        sources = source if isinstance(source, tuple) else (source,)
        arguments = ("--run", run or tiny_run.folder, "--input", *sources, "--output", output)
        return script("demo", *arguments, *more, status=status)

    return call


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for files of predictions, which is not there yet."""
    return tmp_path / "out"
