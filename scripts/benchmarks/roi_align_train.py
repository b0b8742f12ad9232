"""RoIAlign of a training step on the CPU, forward and backward, against Detectron2's ROIPooler.

The pyramid is p2 to p5 of two images of 320 x 320 pixels, 256 channels. As in a Keypoint R-CNN,
1024 boxes are pooled to 7 x 7 bins and 64 to 14 x 14, with the adaptive number of samples. One
thread is the harder comparison: torchvision's backward has no other.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling.poolers import ROIPooler
from torch import nn

from benchmarks import Benchmark, on_one_thread
from benchmarks.roi_align_max import SCALES, random_boxes
from roilab.cpu.optimize import optimize
from roilab.modeling import RoIPooler

IMAGES, SIDE, CHANNELS = 2, 320, 256
REGIONS = ((1024, 7), (64, 14))  # boxes of all images, bins a side


def benchmark(folder: Path) -> Benchmark:
    """Box and keypoint poolers of a stock R50-FPN while it learns."""
    return Benchmark(
        reference_name="Detectron2's ROIAlignV2",
        ours=on_one_thread(step(lambda size: optimize(RoIPooler("roi_align", size, SCALES)))),
        reference=on_one_thread(step(lambda size: ROIPooler(size, SCALES, 0, "ROIAlignV2"))),
        rounds=7,
        bar=(0, 0.25),
    )


def step(pooler_of: Callable[[int], nn.Module]) -> Callable[[], None]:
    """Forward through all poolers, and backward with a gradient for every value."""
    generator = torch.Generator().manual_seed(0)
    sides = [int(SIDE * scale) for scale in SCALES]
    features = [
        torch.randn(IMAGES, CHANNELS, side, side, generator=generator).requires_grad_()
        for side in sides
    ]
    work: list[tuple[nn.Module, Any]] = [
        (
            pooler_of(size),
            [random_boxes(count // IMAGES, SIDE, SIDE, generator) for _ in range(IMAGES)],
        )
        for count, size in REGIONS
    ]

    def run() -> None:
        pooled = [pooler(features, boxes) for pooler, boxes in work]
        torch.autograd.grad(pooled, features, [torch.ones_like(each) for each in pooled])

    return run
