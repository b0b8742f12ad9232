"""A run folder as training leaves it, without the training."""

from pathlib import Path

import pytest
import torch

from roilab.data.figures import FiguresPaths
from roilab.engine import config
from roilab.engine.build import build_model
from roilab.engine.checkpoint import save_atomically
from roilab.engine.prepare import prepare
from roilab.engine.run import Run

CONFIG = Path(__file__).parents[2] / "configs" / "figures_mask_keypoint.py"
TINY = (
    "model.roi_heads.keypoint_head.conv_dims=[32]",
    "model.roi_heads.mask_head.conv_dims=[32,32]",
    "model.proposal_generator.post_nms_topk=[40,20]",
    # An untrained model is sure of nothing.
    "model.roi_heads.box_predictor.test_score_thresh=0.0",
    "dataloader.test.num_workers=0",
    "train.device=cpu",
)


@pytest.fixture(scope="session")
def tiny_run(figures: FiguresPaths, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An untrained model of masks and keypoints. Do not write into the folder."""
    splits = [
        override
        for split, file in (("train", figures.train), ("val", figures.val))
        for override in (f"data.{split}.files={file}", f"data.{split}.images={file.parent}")
    ]
    setup = prepare(config.load(CONFIG, [*splits, *TINY]))
    run = Run(tmp_path_factory.mktemp("runs") / "tiny")
    run.folder.mkdir()
    run.write_meaning(setup.cfg, setup.val.classes, setup.val.skeleton)
    torch.manual_seed(0)
    save_atomically({"model": build_model(setup.cfg).state_dict()}, run.weights)
    return run
