"""A run folder without a training."""

import json
from pathlib import Path

from torch import nn

from roilab.engine import config
from roilab.engine.build import build_model
from roilab.engine.checkpoint import save_atomically
from roilab.engine.run_folder import Run

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def write_run(folder: Path, name: str) -> tuple[Run, nn.Module]:
    """The run folder of a shipped config, with random weights, and its model.

    Args:
        name: the config's file.
    """
    sizes = ["data.num_classes=2", "data.num_keypoints=2", "train.device=cpu"]
    cfg, run = config.load_config(CONFIGS / name, sizes), Run(folder / "run")
    run.write(run.config_file.name, config.to_yaml(config.to_plain_data(cfg)))
    run.write("classes.json", json.dumps(["a", "b"]))
    model = build_model(cfg)
    save_atomically({"model": model.state_dict()}, run.weights)
    return run, model
