"""What several tests share."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

from roilab.data.figures import FiguresPaths, write_figures

# No time decides a test: on a shared machine any example may take long.
settings.register_profile("roilab", deadline=None)
settings.load_profile("roilab")


SCRIPTS = Path(__file__).parents[1] / "scripts"


class Done(NamedTuple):
    """What a script has left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run a script in this process, where torch is imported already."""

    def call(name: str, *arguments: object) -> Done:
        path = SCRIPTS / f"{name}.py"
        monkeypatch.syspath_prepend(SCRIPTS)
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Done(code or 0, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> FiguresPaths:
    """A small sample set: six training and four validation images of 96 pixels."""
    out: Path = tmp_path_factory.mktemp("sample") / "figures"
    return write_figures(out, train=6, val=4, size=96)
