"""Trials of a sweep: fake trainings, and run folders as trainings leave them."""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.evaluation.test_ap import perfect

from roilab.cli.sweep import train_command
from roilab.data.dataset import DetectionDataset
from roilab.engine import config
from roilab.engine.build_model import build_model
from roilab.engine.checkpoint import save_atomically
from roilab.engine.provenance import ConfigSource, write_provenance
from roilab.engine.run_folder import Run
from roilab.engine.setup import prepare
from roilab.evaluation import Evaluation, GroundTruth, average_precision
from roilab.sweep import Trial
from roilab.sweep.plan import Arm
from roilab.sweep.runner import TrainCommand
from roilab.sweep.state import trial_identity

CONFIG = "configs/figures_mask.py"
IMAGES, SIDE = 6, 64
NARROW = (
    "model.backbone.out_channels=32",
    "model.proposal_generator.head.in_channels=32",
    "model.roi_heads.box_head.input_shape.channels=32",
    "model.roi_heads.mask_head.input_shape.channels=32",
    "model.roi_heads.mask_head.conv_dims=[32]",
    "model.roi_heads.box_head.fc_dims=[64]",
    "model.roi_heads.box_predictor.input_shape.channels=64",
    "dataloader.test.num_workers=0",
    "train.device=cpu",
    "data.rules.class_attribute=name",
    "data.rules.keypoint_attribute=null",
    "data.rules.instance_attribute=null",
    "data.rules.visibility_attribute=null",
)


def trial_in(folder: Path, name: str = "a", *overrides: str, seed: int = 0, **of_arm: str) -> Trial:
    """A trial of a sweep in this folder."""
    arm = Arm(name, "base.py", overrides, {}, **of_arm)
    return Trial(arm, seed, folder / name / f"seed_{seed}")


def training(folder: Path, code: str) -> TrainCommand:
    """The command of a training that this code stands for."""
    script = folder / "train.py"
    script.write_text(code)
    # Without the modules of the environment it starts sooner.
    return partial(train_command, [sys.executable, "-I", "-S", str(script)])


def output_of(trial: Trial) -> str:
    """The output of a training so far."""
    path = trial.folder / "stdout.txt"
    return path.read_text() if path.is_file() else ""


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def squares(folder: Path) -> tuple[str, ...]:
    """A data set with a square and a bar in each image; returns the overrides that name it."""
    folder.mkdir()
    entries = {}
    for number in range(IMAGES):
        regions = []
        for name, left in (("square", 4), ("bar", 40)):
            right, top, bottom = left + 20, 4 + 5 * number, 24 + 5 * number
            xs, ys = [left, right, right, left], [top, top, bottom, bottom]
            shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
            regions.append({"shape_attributes": shape, "region_attributes": {"name": name}})
        file = f"{number}.png"
        Image.fromarray(np.full((SIDE, SIDE, 3), 90, np.uint8)).save(folder / file)
        entries[file] = {"filename": file, "size": -1, "regions": regions, "file_attributes": {}}
    (folder / "via.json").write_text(json.dumps(entries))
    return tuple(
        text
        for split in ("train", "val")
        for text in (f"data.{split}.files={folder / 'via.json'}", f"data.{split}.images={folder}")
    )


class Folders:
    """Writes run folders of one small model on one data set."""

    def __init__(self, overrides: tuple[str, ...]) -> None:
        cfg = config.load_config(CONFIG, [*overrides, *NARROW])
        setup = prepare(cfg, training=False)
        self.cfg, self.dataset = setup.cfg, setup.val
        torch.manual_seed(0)
        self.model = build_model(cfg)

    def write(self, trial: Trial, detections: list[dict[str, Any]], seconds: float = 61.4) -> None:
        """Write what a finished trial leaves."""
        run = Run(trial.folder)
        run.folder.mkdir(parents=True, exist_ok=True)
        run.write_metadata(self.cfg, self.dataset)
        write_provenance(run, ConfigSource(CONFIG, command=["c"]), trial.seed)
        save_atomically({"model": self.model.state_dict()}, run.folder / "model_final.pth")
        (run.folder / "last_checkpoint").write_text("model_final.pth")
        log = [
            {"iteration": 19, "time": 0.25, "memory": 1.5},
            {"iteration": 39, "time": 0.75, "memory": 1.25},
            {"iteration": 49, "time": 0.5, "memory": 1.25, "inference_time": 0.125},
        ]
        run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in log))
        truth = GroundTruth(self.dataset.coco_json())
        run.write_evaluation(
            Evaluation(average_precision(truth, detections, ["bbox", "segm"]), detections, 0.125),
            self.dataset.coco_ids,
        )
        written = json.dumps({**trial_identity(trial), "seconds": seconds})
        (trial.folder / "cell.json").write_text(written)


def perfect_rows(dataset: DetectionDataset, images: int) -> list[dict[str, Any]]:
    """The annotations of the first images as detections, whose scores fall from image to image."""
    rows = [row for row in perfect(dataset) if row["image_id"] <= images]
    return [{**row, "score": 1 - row["image_id"] / 100} for row in rows]
