"""What each part of `train.cpu_kernels` gains: a step and a call with all parts, and without one.

The step is that of the figures model on one batch, the call an exact prediction of Keypoint R-CNN
R50-FPN, both as they run by default. The note has the time without each part over that with all;
near 1, the part gains nothing here. The setting of malloc holds for a whole process: it is measured
by the page faults of `train_figures`.
"""

import copy
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from torch import nn

from benchmarks import Benchmark, seconds
from benchmarks._inference import random_weights, scene
from benchmarks._training import CONFIGS, our_batches
from roilab.cpu.optimize import PARTS, optimize, optimize_for_inference
from roilab.device import dtype_of
from roilab.engine import config
from roilab.engine.build import build_model
from roilab.engine.setup import fit_model, prepare
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import write_figures

BATCH, SIZE, SIDE, ROUNDS = 8, 256, 480, 7
PLAIN = ["train.cpu_kernels=False", "train.device=cpu", "train.init_checkpoint=''"]
Works = Mapping[str, Callable[[], object]]


def benchmark(folder: Path) -> Benchmark:
    """The step with all parts against the step with none."""
    steps, calls = training(folder), prediction(folder)
    return Benchmark(
        reference_name="the step without any",
        ours=steps["all"],
        reference=steps["none"],
        rounds=ROUNDS,
        note=lambda: f"step {without(steps)}; call {without(calls)}",
    )


def variants(model: nn.Module) -> dict[str, nn.Module]:
    """Copies of a model with all parts, without one, and with none."""
    chosen = {"all": PARTS, "none": ()}
    chosen |= {part.__name__: tuple(p for p in PARTS if p is not part) for part in PARTS}
    return {name: optimize(copy.deepcopy(model), parts) for name, parts in chosen.items()}


def training(folder: Path) -> Works:
    """Forward and backward of the figures model on a batch."""
    data = write_figures(folder / "step", train=BATCH, val=2, size=SIZE)
    cfg = config.load_config(CONFIGS / "figures_mask_keypoint.py", PLAIN)
    for split, file in {"train": data.train, "val": data.val}.items():
        cfg.data[split].update(files=str(file), images=str(file.parent))
    cfg.dataloader.train.update(total_batch_size=BATCH, num_workers=0)
    setup = prepare(cfg)
    torch.manual_seed(0)
    batch, models = next(our_batches(setup)), variants(build_model(setup.cfg, training=True))
    return {name: partial(step, model.train(), batch) for name, model in models.items()}


def step(model: nn.Module, batch: Any) -> None:
    """Forward and backward, in the precision of a training."""
    dtype = dtype_of("auto", torch.device("cpu"))
    torch.manual_seed(0)
    with EventStorage(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        losses = model(batch)
    model.zero_grad()
    sum(losses.values()).backward()


def prediction(folder: Path) -> Works:
    """An exact prediction of Keypoint R-CNN on an image; also without fused blocks."""
    image = scene(folder / "call", SIDE)
    stride = "model.backbone.bottom_up.stages.stride_in_1x1=False"
    cfg = config.load_config(CONFIGS / "keypoint_rcnn_R_50_FPN_1x.py", [*PLAIN, stride])
    fit_model(cfg, ("person",), COCO_PERSON)
    model = build_model(cfg)
    model.load_state_dict(random_weights("keypoint", image))
    models = {
        name: optimize_for_inference(variant, fast=False, cpu_kernels=name != "none")
        for name, variant in variants(model).items()
    }
    plain = optimize(copy.deepcopy(model))
    models["fused_block"] = optimize_for_inference(plain, fast=False, cpu_kernels=False)
    pixels = torch.as_tensor(image[:, :, ::-1].astype("float32").transpose(2, 0, 1))
    inputs = [{"image": pixels, "height": image.shape[0], "width": image.shape[1]}]
    return {name: partial(call, model, inputs) for name, model in models.items()}


@torch.inference_mode()
def call(model: nn.Module, inputs: Any) -> None:
    """The model on an image."""
    model(inputs)


def without(works: Works) -> str:
    """The time without each part over that with all, in turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for index in range(ROUNDS + 1):
        for name, work in works.items():
            spent = seconds(work)
            if index:  # the first round warms up
                times[name].append(spent)
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    whole = medians.pop("all")
    return ", ".join(f"without {name} {spent / whole:.2f}" for name, spent in medians.items())
