"""RoIAlign with maxima, forward and backward, against averages of the same samples.

The average is Detectron2's ROIPooler, which calls torchvision's kernel. The pyramid is that of two
images of 800 x 1088 pixels, 256 channels; 512 boxes, their areas log-uniform from 16^2 to 500^2.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor, nn

from benchmarks import Benchmark, on_one_thread
from roilab.modeling import RoIPooler

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
SIZE, SAMPLES, CHANNELS, BOXES = 7, 2, 256, 512
HEIGHT, WIDTH = 800, 1088


def benchmark(folder: Path) -> Benchmark:
    """Two samples a side of a bin, 7 x 7 bins, as for the box head."""
    return compared("roi_align")


def compared(op: str) -> Benchmark:
    """The maximum of an op's samples against the average of as many of RoIAlign."""
    features, boxes = pyramid()
    return Benchmark(
        reference_name="torchvision's average RoIAlign",
        ours=on_one_thread(step(pooler_of(op), features, boxes)),
        reference=on_one_thread(step(pooler_of("average"), features, boxes)),
        rounds=7,
        bar=(0, 2),
        note=lambda: (
            f"peak memory of a step: {peak(op) / 2**20:.0f} MB, "
            f"of the average {peak('average') / 2**20:.0f} MB"
        ),
    )


def pooler_of(op: str) -> nn.Module:
    """The pooler that is measured, or with `average` the one it is measured against."""
    if op == "average":
        return ROIPooler(SIZE, SCALES, SAMPLES, "ROIAlignV2")
    return RoIPooler(op, SIZE, SCALES, aggregation="max", sampling_ratio=SAMPLES)


def pyramid() -> tuple[list[Tensor], list[Boxes]]:
    """Feature maps that learn, and boxes for each of the two images."""
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(2, CHANNELS, int(HEIGHT * s), int(WIDTH * s), generator=generator)
        for s in SCALES
    ]
    boxes = [random_boxes(BOXES // 2, HEIGHT, WIDTH, generator) for _ in range(2)]
    return [level.requires_grad_() for level in features], boxes


def random_boxes(count: int, height: int, width: int, generator: torch.Generator) -> Boxes:
    """Boxes of 16 to 500 pixels anywhere in an image, cut off at its border."""
    side, aspect = torch.rand(2, count, generator=generator)
    side, aspect = 16 * (500 / 16) ** side, 2 ** (2 * aspect - 1)
    extent = torch.stack([side * aspect.sqrt(), side / aspect.sqrt()], dim=1)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    boxes = Boxes(torch.cat([centre - extent / 2, centre + extent / 2], dim=1))
    boxes.clip((height, width))
    return boxes


def step(pooler: nn.Module, features: list[Tensor], boxes: list[Boxes]) -> Callable[[], None]:
    """Forward, and backward with a gradient for every value."""

    def run() -> None:
        pooled = pooler(features, boxes)
        gradients = torch.autograd.grad(pooled, features, torch.ones_like(pooled))
        del gradients

    return run


_CODE = """
from pathlib import Path
from benchmarks import roi_align_max as own

def peak():  # getrusage would tell that of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

features, boxes = own.pyramid()
run = own.step(own.pooler_of({op!r}), features, boxes)
before = peak()
run()
print(1024 * (peak() - before))
"""


def peak(op: str) -> float:
    """Bytes that a step needs at its peak beyond its input, in a process of its own; on Linux."""
    command = [sys.executable, "-W", "ignore", "-c", _CODE.format(op=op)]
    scripts = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=scripts)
    return float(done.stdout)
