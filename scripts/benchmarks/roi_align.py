"""RoI poolers, forward and backward, against Detectron2's ROIPooler, which calls torchvision."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor, nn

from benchmarks import Benchmark, in_new_process, on_one_thread, peak_memory, reset_peak_memory
from roilab.cpu.optimize import optimize
from roilab.modeling import RoIPooler

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
IMAGES = 2
Pooling = Sequence[tuple[nn.Module, list[Boxes]]]


def maximum_and_average(op: str, folder: Path, **sizes: Any) -> Benchmark:
    """The maximum of an op's samples against the average of as many of RoIAlign, as for a box head.

    `sizes` are those of `pyramid`.
    """
    features, boxes = pyramid(**sizes)
    ours, reference = (step([(pooler_of(kind), boxes)], features) for kind in (op, "average"))
    return Benchmark(
        reference_name="torchvision's average RoIAlign",
        ours=on_one_thread(ours),
        reference=on_one_thread(reference),
        rounds=7,
        bar=(0, 2),
        note=lambda: (
            f"peak memory of a step: {in_new_process(_memory, op, sizes) / 2**20:.0f} MB, "
            f"of the average {in_new_process(_memory, 'average', sizes) / 2**20:.0f} MB"
        ),
    )


roi_align_max = partial(maximum_and_average, "roi_align")
roi_warp = partial(maximum_and_average, "roi_warp")


def roi_align_train(
    folder: Path,
    channels: int = 256,
    regions: Sequence[tuple[int, int]] = ((1024, 7), (64, 14)),
    side: int = 320,
) -> Benchmark:
    """Box and keypoint poolers of a Keypoint R-CNN with the adaptive number of samples.

    One thread is the harder comparison: torchvision's backward has no other.

    Args:
        regions: for each pooler the number of boxes in both images, and the bins a side.
        side: of the square images.
    """

    def work(build: Callable[[int], nn.Module]) -> Callable[[], None]:
        features, _ = pyramid(channels, 0, (side, side))
        boxes = [pyramid(1, count, (side, side))[1] for count, _ in regions]
        poolers = [build(bins) for _, bins in regions]
        return on_one_thread(step(list(zip(poolers, boxes, strict=True)), features))

    return Benchmark(
        reference_name="Detectron2's ROIAlignV2",
        ours=work(lambda bins: optimize(RoIPooler("roi_align", bins, SCALES))),
        reference=work(lambda bins: ROIPooler(bins, SCALES, 0, "ROIAlignV2")),
        rounds=7,
        bar=(0, 0.25),
    )


def pooler_of(op: str) -> nn.Module:
    """The pooler of an op with maxima, or Detectron2's with averages for "average"; 7 x 7 bins."""
    if op == "average":
        return ROIPooler(7, SCALES, 2, "ROIAlignV2")
    return RoIPooler(op, 7, SCALES, aggregation="max", sampling_ratio=2)


def pyramid(
    channels: int = 256, boxes: int = 512, size: tuple[int, int] = (800, 1088)
) -> tuple[list[Tensor], list[Boxes]]:
    """p2 to p5 of two images of `size` (height, width) as leaves, and half of the boxes in each.

    The boxes' areas are log-uniform from 16^2 to 500^2 pixels, cut off at the image's border.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = size
    features = [
        torch.randn(IMAGES, channels, int(height * s), int(width * s), generator=generator)
        for s in SCALES
    ]
    regions = []
    for _ in range(IMAGES):
        side, aspect = torch.rand(2, boxes // IMAGES, generator=generator)
        side, aspect = 16 * (500 / 16) ** side, 2 ** (2 * aspect - 1)
        extent = torch.stack([side * aspect.sqrt(), side / aspect.sqrt()], dim=1)
        centre = torch.rand(len(side), 2, generator=generator) * torch.tensor([width, height])
        regions.append(Boxes(torch.cat([centre - extent / 2, centre + extent / 2], dim=1)))
        regions[-1].clip(size)
    return [level.requires_grad_() for level in features], regions


def step(poolers: Pooling, features: list[Tensor]) -> Callable[[], None]:
    """Forward through all poolers, and backward with a gradient for every value."""

    def run() -> None:
        pooled = [pooler(features, boxes) for pooler, boxes in poolers]
        torch.autograd.grad(pooled, features, [torch.ones_like(values) for values in pooled])

    return run


def _memory(op: str, sizes: dict[str, Any]) -> int:
    """Bytes that a step needs at its peak beyond its input."""
    features, boxes = pyramid(**sizes)
    run = step([(pooler_of(op), boxes)], features)
    before = reset_peak_memory()
    run()
    return peak_memory() - before
