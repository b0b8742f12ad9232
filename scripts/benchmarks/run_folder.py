"""A run folder opened and its checkpoint written, against the same without checks or digests."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf
from torch import nn

from benchmarks import Benchmark, medians, on_one_thread
from roilab.engine.build_model import build_model
from roilab.engine.checkpoint import save_atomically
from roilab.engine.config import load_config, to_plain_data, to_yaml
from roilab.engine.load_run import load_run
from roilab.engine.run_folder import Run
from roilab.engine.run_folder import open_run as open_run_folder
from roilab.files import config_folder, whole

CONFIG = "mask_rcnn_R_50_FPN_1x.py"


def open_run(folder: Path, config: str = CONFIG) -> Benchmark:
    """Config, model and weights of a Mask R-CNN with R50-FPN; the files are in the page cache."""
    run, _ = write_run(folder, config)

    def read() -> nn.Module:
        cfg = OmegaConf.create(yaml.safe_load(run.config_file.read_text(encoding="utf-8")))
        model = build_model(cfg)
        state = torch.load(run.weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        return model.eval()

    ours = on_one_thread(lambda: load_run(open_run_folder(run.folder)))
    name = "yaml.safe_load, torch.load and no checks"
    return Benchmark(name, ours, on_one_thread(read), bar=(0, 1.5))


def save_checkpoint(folder: Path, config: str = CONFIG) -> Benchmark:
    """Weights and momentum of a Mask R-CNN with R50-FPN; the note compares it with a training."""
    run, model = write_run(folder, config)
    weights = model.state_dict()
    momentum = {name: torch.randn_like(value.float()) for name, value in weights.items()}
    state: dict[str, Any] = {"model": weights, "optimizer": momentum}

    def with_digest() -> None:
        state["iteration"] = torch.rand(())  # else the record has the digest already
        save_atomically(state, run.folder / "model_0004999.pth")

    def without_digest() -> None:
        with whole(folder / "model_0004999.pth") as part:
            torch.save(state, part)

    def note() -> str:
        times = medians({"ours": with_digest, "reference": without_digest}, 5)
        more = times["ours"] - times["reference"]
        return (
            f"{1000 * more:.0f} ms more a checkpoint: under 1% of a training where "
            f"train.checkpoint_period takes longer than {max(0.0, 100 * more):.0f} s"
        )

    name = "torch.save into a file that is renamed"
    return Benchmark(name, with_digest, without_digest, note=note)


def write_run(folder: Path, config: str) -> tuple[Run, nn.Module]:
    """The run folder of a config that comes with RoILab, with random weights, and its model."""
    sizes = ["data.num_classes=2", "data.num_keypoints=2", "train.device=cpu"]
    cfg, run = load_config(config_folder() / config, sizes), Run(folder / "run")
    text = to_yaml(to_plain_data(cfg))
    run.write({run.config_file.name: text, "classes.json": json.dumps(["a", "b"])})
    model = build_model(cfg)
    save_atomically({"model": model.state_dict()}, run.weights)
    return run, model
