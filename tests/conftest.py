"""What several tests share."""

import logging
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings

from roilab.synthetic import FiguresPaths, write_figures

if TYPE_CHECKING:
    from roilab.engine.run_folder import Run

# No time decides a test: on a shared machine any example may take long.
settings.register_profile("roilab", deadline=None)
settings.load_profile("roilab")

SCRIPTS = Path(__file__).parents[1] / "scripts"
CONFIG = Path(__file__).parents[1] / "configs" / "figures_mask_keypoint.py"
TINY = (
    "model.roi_heads.keypoint_head.conv_dims=[32]",
    "model.roi_heads.mask_head.conv_dims=[32,32]",
    "model.proposal_generator.post_nms_topk=[40,20]",
    # An untrained model is sure of nothing.
    "model.roi_heads.box_predictor.test_score_thresh=0.0",
    "dataloader.test.num_workers=0",
    "train.device=cpu",
)


class Done(NamedTuple):
    """What a script has left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the settings of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        yield


@pytest.fixture(autouse=True)
def own_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves another program in place of pytest's, as AppTest does.

    A process that the fork server begins imports the program again.
    """
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def own_terminal() -> Iterator[None]:
    """No test logs to the captured terminal of one that is over."""
    yield
    for name in ("detectron2", "fvcore", "roilab"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            if type(handler) is logging.StreamHandler:
                logger.removeHandler(handler)


@pytest.fixture
def script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs a script in this process, where torch is imported already; None: any exit status."""

    def call(name: str, *arguments: object, status: int | None = 0) -> Done:
        path = SCRIPTS / f"{name}.py"
        monkeypatch.syspath_prepend(SCRIPTS)
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        code = ended.value.code
        assert code is None or isinstance(code, int)
        done = Done(code or 0, *capsys.readouterr())
        assert status in (None, done.returncode), done
        assert "Traceback" not in done.stderr
        return done

    return call


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> FiguresPaths:
    """A small sample set: six training and four validation images of 96 pixels."""
    out: Path = tmp_path_factory.mktemp("sample") / "figures"
    return write_figures(out, train=6, val=4, size=96)


@pytest.fixture(scope="session")
def untrained(
    figures: FiguresPaths, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., "Run"]:
    """Makes a run folder as training leaves it, of an untrained model of masks and keypoints.

    It takes overrides of the config, and factors of weights by their names.
    """
    # Tests of the rooms without torch shall not wait for it.
    import torch

    from roilab.engine import config
    from roilab.engine.build_model import build_model
    from roilab.engine.checkpoint import save_atomically
    from roilab.engine.run_folder import Run
    from roilab.engine.setup import prepare

    splits = [
        override
        for split, file in (("train", figures.train), ("val", figures.val))
        for override in (f"data.{split}.files={file}", f"data.{split}.images={file.parent}")
    ]

    def make(overrides: Sequence[str], factors: Mapping[str, float]) -> Run:
        setup = prepare(config.load_config(CONFIG, [*splits, *overrides]))
        run = Run(tmp_path_factory.mktemp("run"))
        run.write_metadata(setup.cfg, setup.val)
        torch.manual_seed(0)
        weights = build_model(setup.cfg).state_dict()
        for name, factor in factors.items():
            weights[name] *= factor
        save_atomically({"model": weights}, run.weights)
        return run

    return make


@pytest.fixture(scope="session")
def tiny_run(untrained: Callable[..., "Run"]) -> "Run":
    """A model that is sure of nothing. Do not write into its folder."""
    return untrained(TINY, {})


@pytest.fixture
def own_run(tiny_run: "Run", tmp_path: Path) -> "Run":
    """A copy of the tiny run, which the test may write into."""
    return type(tiny_run)(shutil.copytree(tiny_run.folder, tmp_path / "run"))
