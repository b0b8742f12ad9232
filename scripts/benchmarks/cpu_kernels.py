"""Layers of `train.cpu_kernels` against torch's own, forward and backward, channels innermost.

On all cores and on features as the figures model and R50-FPN have them; the note has each layer.
"""

import copy
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks import Benchmark, seconds
from roilab.cpu.optimize import optimize

# Channels, images, cells a side.
CONVOLUTIONS = ((256, 2, 80), (256, 2, 40), (128, 4, 40), (160, 8, 16), (96, 8, 64), (64, 8, 64))
NORMS = ((64, 8, 128), (96, 8, 64), (64, 8, 64))
ROUNDS = 9


def benchmark(folder: Path) -> Benchmark:
    """All layers once, ours against torch's."""
    layers = {
        f"3x3 {c} at {side}": (nn.Conv2d(c, c, 3, padding=1), (n, c, side, side))
        for c, n, side in CONVOLUTIONS
    } | {
        f"GroupNorm {c} at {side}": (nn.GroupNorm(32, c), (n, c, side, side))
        for c, n, side in NORMS
    }
    ours = {k: step(optimize(copy.deepcopy(v)), shape) for k, (v, shape) in layers.items()}
    theirs = {name: step(layer, shape) for name, (layer, shape) in layers.items()}
    return Benchmark(
        reference_name="torch's layers",
        ours=lambda: [run() for run in ours.values()],
        reference=lambda: [run() for run in theirs.values()],
        rounds=ROUNDS,
        bar=(0, 1 / 1.25),
        note=lambda: "times as fast: " + each(ours, theirs),
    )


def step(layer: nn.Module, shape: tuple[int, ...]) -> Callable[[], object]:
    """Forward, and backward to the input and the parameters."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    layer = layer.to(memory_format=torch.channels_last)
    leaves = [x.requires_grad_(), *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), leaves, gradient)


def each(ours: dict[str, Callable[[], object]], theirs: dict[str, Callable[[], object]]) -> str:
    """The ratio of each layer, timed in turns."""
    words = []
    for name in ours:
        pairs = [(seconds(ours[name]), seconds(theirs[name])) for _ in range(ROUNDS)]
        a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
        words.append(f"{name} {b / a:.2f}")
    return ", ".join(words)
