"""Layers of `train.cpu_kernels` against torch's own, alone, in a training step and in a call."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from torch import nn

from benchmarks import Benchmark, Work, Works, medians
from benchmarks.inference import STRIDE, model_config, model_inputs, sample_image
from benchmarks.training import our_batches, write_data
from roilab.cpu.optimize import PARTS, optimize, optimize_for_inference
from roilab.device import dtype_of
from roilab.engine.build_model import build_model
from roilab.engine.config import load_config
from roilab.engine.setup import prepare
from roilab.files import config_folder

ROUNDS = 9
PLAIN = ["train.cpu_kernels=False", "train.device=cpu", "train.init_checkpoint=''"]
# Channels, images, cells a side, as the figures model and R50-FPN have them.
Shapes = tuple[tuple[int, int, int], ...]
CONVOLUTIONS = ((256, 2, 80), (256, 2, 40), (128, 4, 40), (160, 8, 16), (96, 8, 64), (64, 8, 64))
NORMS = ((64, 8, 128), (96, 8, 64), (64, 8, 64))


def cpu_kernels(
    folder: Path, convolutions: Shapes = CONVOLUTIONS, norms: Shapes = NORMS
) -> Benchmark:
    """All layers once, forward and backward on all cores, channels innermost; note: each layer."""
    layers: list[tuple[str, nn.Module, tuple[int, int, int]]] = [
        *(("3x3", nn.Conv2d(shape[0], shape[0], 3, padding=1), shape) for shape in convolutions),
        *(("GroupNorm", nn.GroupNorm(32, shape[0]), shape) for shape in norms),
    ]
    pairs = {
        f"{kind} {shape[0]} at {shape[2]}": {
            "ours": layer_step(optimize(copy.deepcopy(layer)), *shape),
            "theirs": layer_step(layer, *shape),
        }
        for kind, layer, shape in layers
    }

    def note() -> str:
        times = {name: medians(pair, ROUNDS) for name, pair in pairs.items()}
        ratios = [f"{name} {took['theirs'] / took['ours']:.2f}" for name, took in times.items()]
        return f"times as fast: {', '.join(ratios)}"

    def steps(side: str) -> list[object]:
        return [pair[side]() for pair in pairs.values()]

    ours = partial(steps, "ours")
    theirs = partial(steps, "theirs")
    return Benchmark("torch's layers", ours, theirs, ROUNDS, bar=(0, 1 / 1.25), note=note)


def layer_step(layer: nn.Module, channels: int, images: int, side: int) -> Work:
    """Forward, and backward to the input and the parameters."""
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(2, images, channels, side, side, generator=generator)
    x, gradient = (values.contiguous(memory_format=torch.channels_last) for values in both)
    layer = layer.to(memory_format=torch.channels_last)
    leaves = [x.requires_grad_(), *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), leaves, gradient)


def cpu_parts(folder: Path, batch: int = 8, size: int = 256, side: int = 480) -> Benchmark:
    """A training step with all parts, against one with none; the note has every part's gain.

    The step is that of the figures model on one batch of images of this size, the call an exact
    prediction of Keypoint R-CNN R50-FPN on an image with this shorter side, both as they run by
    default. The note has the time without each part over that with all; near 1, the part gains
    nothing here. The setting of malloc holds for a whole process: it is measured by the page
    faults of `train_figures`.
    """
    steps, calls = training_steps(folder, batch, size), prediction_calls(folder, side)

    def note() -> str:
        return f"step {gains(steps)}; call {gains(calls)}"

    return Benchmark("the step without any", steps["all"], steps["none"], 7, note=note)


def variants(model: nn.Module) -> dict[str, nn.Module]:
    """Copies of a model with all parts, without one, and with none."""
    parts = {"all": PARTS, "none": ()}
    parts |= {part.__name__: tuple(p for p in PARTS if p is not part) for part in PARTS}
    return {name: optimize(copy.deepcopy(model), chosen) for name, chosen in parts.items()}


def training_steps(folder: Path, batch: int, size: int) -> Works:
    """Forward and backward of the figures model's variants on a batch."""
    loader = [f"dataloader.train.total_batch_size={batch}", "dataloader.train.num_workers=0"]
    cfg = load_config(config_folder() / "figures_mask_keypoint.py", [*PLAIN, *loader])
    write_data(cfg, folder / "step", images=batch, size=size)
    setup = prepare(cfg)
    torch.manual_seed(0)
    inputs, models = next(our_batches(setup)), variants(build_model(setup.cfg, training=True))
    return {name: partial(training_step, model.train(), inputs) for name, model in models.items()}


def training_step(model: nn.Module, batch: Any) -> None:
    """Forward and backward, in the precision of a training."""
    dtype = dtype_of("auto", torch.device("cpu"))
    torch.manual_seed(0)
    with EventStorage(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        losses = model(batch)
    model.zero_grad()
    sum(losses.values()).backward()


def prediction_calls(folder: Path, side: int) -> Works:
    """Exact predictions of Keypoint R-CNN's variants on an image; also without fused blocks."""
    image = sample_image(folder, side, "keypoint")
    model = build_model(model_config("keypoint", [*PLAIN, STRIDE]))
    model.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
    models = variants(model) | {"fused_block": optimize(copy.deepcopy(model), PARTS)}
    call, inputs = torch.inference_mode()(nn.Module.__call__), model_inputs(image)
    for name, variant in models.items():
        kernels = name not in ("none", "fused_block")
        models[name] = optimize_for_inference(variant, fast=False, cpu_kernels=kernels)
    return {name: partial(call, variant, inputs) for name, variant in models.items()}


def gains(works: Works) -> str:
    """The time without each part over that with all, in turns."""
    times = medians(works, 7)
    whole = times.pop("all")
    return ", ".join(f"without {name} {spent / whole:.2f}" for name, spent in times.items())
