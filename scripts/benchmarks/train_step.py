"""A training step of the figures model as its config has it, against Detectron2's defaults."""

import itertools
from collections.abc import Callable
from pathlib import Path

import torch
from detectron2.utils.events import EventStorage

from benchmarks import Benchmark, on_one_thread
from roilab.data.figures import write_figures
from roilab.engine import config
from roilab.engine.train import build_model, build_optimizer, prepare
from roilab.engine.trainer import Trainer, device_of, dtype_of

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "figures_mask_keypoint.py"
BATCH, SIZE = 8, 256


def benchmark(folder: Path) -> Benchmark:
    """Both step on the same batch of eight 256-pixel images, from the same random weights."""
    data = write_figures(folder / "figures", train=12, val=6)

    def step(*overrides: str) -> Callable[[], None]:
        cfg = config.load(CONFIG, overrides)
        for name, file in (("train", data.train), ("val", data.val)):
            cfg.data[name].files, cfg.data[name].images = str(file), str(file.parent)
        cfg.dataloader.train.update(num_workers=0, total_batch_size=BATCH)
        setup = prepare(cfg)
        torch.manual_seed(0)
        model = build_model(cfg)
        batches = config.build(cfg.dataloader.train, "dataloader.train", dataset=setup.train)
        device = device_of(cfg.train.device)
        trainer = Trainer(
            model,
            itertools.repeat(next(iter(batches))),
            build_optimizer(cfg, model),
            dtype=dtype_of(cfg.train.precision, device),
            clip_norm=cfg.train.clip_norm,
            log_period=1_000_000,
        )

        def run() -> None:
            with EventStorage():
                trainer.run_step()

        return on_one_thread(run)

    return Benchmark(
        reference_name="float32, adaptive RoIAlign sampling (Detectron2's defaults)",
        ours=step(),
        reference=step("train.precision=float32", "pooler.sampling_ratio=0"),
        rounds=5,
    )
