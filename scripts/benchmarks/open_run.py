"""Opening a run: its names checked and its files compared with their digests, or just read."""

from pathlib import Path

import torch
import yaml
from omegaconf import OmegaConf
from torch import nn

from benchmarks import Benchmark, on_one_thread
from benchmarks._runs import write_run
from roilab.engine.build import build_model
from roilab.engine.load_run import load_run
from roilab.engine.run_folder import open_run

CONFIG = "mask_rcnn_R_50_FPN_1x.py"


def benchmark(folder: Path) -> Benchmark:
    """Config, model and weights of a Mask R-CNN with R50-FPN; the files are in the page cache."""
    run, _ = write_run(folder, CONFIG)

    def just_read() -> nn.Module:
        cfg = OmegaConf.create(yaml.safe_load(run.config_file.read_text(encoding="utf-8")))
        model = build_model(cfg)
        state = torch.load(run.weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        return model.eval()

    return Benchmark(
        reference_name="yaml.safe_load, torch.load and no checks",
        ours=on_one_thread(lambda: load_run(open_run(run.folder))),
        reference=on_one_thread(just_read),
        bar=(0, 1.5),
    )
