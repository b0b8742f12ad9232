"""A training small enough to be run many times: four squares and triangles, a narrow model."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image

from roilab.engine import config
from roilab.engine.setup import prepare
from roilab.engine.train import train

CONFIG = "configs/figures_mask.py"
SIDE = 64
NARROW = (
    "model.backbone.out_channels=32",
    "model.proposal_generator.head.in_channels=32",
    "model.roi_heads.box_head.input_shape.channels=32",
    "model.roi_heads.mask_head.input_shape.channels=32",
    "model.roi_heads.mask_head.conv_dims=[32]",
    "model.roi_heads.box_head.fc_dims=[64]",
    "model.roi_heads.box_predictor.input_shape.channels=64",
    "model.roi_heads.batch_size_per_image=8",
    "model.proposal_generator.post_nms_topk=[40,10]",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "train.lr_batch_size=null",
    "train.log_period=1",
    "train.precision=float32",
    "train.device=cpu",
    "data.rules.class_attribute=name",
    "data.rules.keypoint_attribute=null",
    "data.rules.instance_attribute=null",
    "data.rules.visibility_attribute=null",
)


def rectangle(x: int, y: int, width: int, height: int, **attributes: str) -> dict[str, Any]:
    """A region of a VIA project, with its attributes."""
    corners = {
        "name": "polygon",
        "all_points_x": [x, x + width, x + width, x],
        "all_points_y": [y, y, y + height, y + height],
    }
    return {"shape_attributes": corners, "region_attributes": attributes}


def write_via(file: Path, images: dict[str, list[dict[str, Any]]]) -> Path:
    """Write a VIA file with the regions of images."""
    entries = {
        name: {"filename": name, "size": -1, "regions": regions, "file_attributes": {}}
        for name, regions in images.items()
    }
    file.write_text(json.dumps(entries), encoding="utf-8")
    return file


def shapes(folder: Path, train: int = 6, val: int = 3) -> Path:
    """A VIA data set whose images have two shapes each, so that all batches weigh the same."""
    rng = np.random.default_rng(5)
    for split, count in (("train", train), ("val", val)):
        place, images = folder / split, {}
        place.mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
            regions = images[f"{number}.png"] = []
            for name, left in (("square", 2), ("bar", 34)):
                x, y = left + int(rng.integers(0, 6)), int(rng.integers(2, 34))
                width, height = (22, 22) if name == "square" else (12, 24)
                pixels[y : y + height, x : x + width] = rng.integers(150, 255, 3)
                regions.append(rectangle(x, y, width, height, name=name))
            Image.fromarray(pixels).save(place / f"{number}.png")
        write_via(place / "via.json", images)
    return folder


def data_places(train: Path, val: Path) -> list[str]:
    """The overrides that name annotation files, and their folders as those of the images."""
    files = {"train": train, "val": val}.items()
    places = [f"data.{split}.files={file}" for split, file in files]
    return places + [f"data.{split}.images={file.parent}" for split, file in files]


def overrides(data: Path, run: Path, *more: str) -> list[str]:
    """A whole command line of overrides; later ones win."""
    places = data_places(data / "train" / "via.json", data / "val" / "via.json")
    return [*places, *NARROW, f"train.output_dir={run}", *more]


def configured(data: Path, run: Path, *more: str) -> DictConfig:
    return config.load_config(CONFIG, overrides(data, run, *more))


def trained(data: Path, run: Path, *more: str, resume: bool = False) -> dict[str, Any]:
    """Train in this process, and return the final checkpoint."""
    train(prepare(configured(data, run, *more)), resume=resume)
    return checkpoint(run)


def checkpoint(run: Path, name: str = "model_final.pth") -> dict[str, Any]:
    return torch.load(run / name, weights_only=True)


def command(data: Path, run: Path, *more: str) -> list[str]:
    """The training command for a process of its own; options come first."""
    options = [word for word in more if word.startswith("--") or "=" not in word]
    rest = [word for word in more if word not in options]
    start = [sys.executable, "scripts/train.py", "--config-file", CONFIG]
    return [*start, *options, *overrides(data, run, *rest)]


def process(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        arguments, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes, **options
    )


def output(begun: subprocess.Popen[str], status: int = 0) -> tuple[str, str]:
    """What a process has printed when it has ended with this exit status: output, and errors."""
    printed = begun.communicate()
    assert begun.returncode == status, printed
    assert "Traceback" not in printed[1]
    return printed


def lines(run: Path) -> list[dict[str, float]]:
    """metrics.json; a last line that is being written is left out."""
    try:
        text = (run / "metrics.json").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def descendants(pid: int) -> list[int]:
    """A process and all that it has begun."""
    pids = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += descendants(int(child))
    return pids


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def same(first: Any, second: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(v, second[k]) for k, v in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second
