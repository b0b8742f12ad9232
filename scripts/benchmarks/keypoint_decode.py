"""Keypoints and scores from heat maps, against Detectron2's `heatmaps_to_keypoints`.

100 detections of 17 keypoints. Areas of boxes are log-uniform from 32^2 to 640^2 pixels, the mean
being that of a detector's persons on COCO at 800 pixels. Maps are enlarged twice, as by the head's
last layer: a peak of 12 above noise of standard deviation 1. Ours finds the score in [0, 1], too.
Small boxes, and maps as flat as those of an untrained head, gain less.
"""

from pathlib import Path

import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import heatmaps_to_keypoints
from torch import Tensor
from torch.nn import functional as F

from benchmarks import Benchmark, on_one_thread
from roilab.cpu.optimize import optimize
from roilab.errors import UserError
from roilab.modeling import KeypointHead

DETECTIONS, KEYPOINTS, SIDE = 100, 17, 28


def benchmark(folder: Path) -> Benchmark:
    """The stock decoder, reproduced."""
    boxes, maps = detections()
    shape = ShapeSpec(channels=8, width=14, height=14)
    head = KeypointHead(shape, num_keypoints=KEYPOINTS, conv_dims=[8])
    optimize(head)
    off = (head.decode(maps, boxes)[0][..., :2] - heatmaps_to_keypoints(maps, boxes)[..., :2]).abs()
    if off.max() > 0.1:
        raise UserError("the two decoders differ", found=f"{off.max():.3f} pixels", expected="0.1")
    return Benchmark(
        reference_name="heatmaps_to_keypoints",
        ours=on_one_thread(lambda: head.decode(maps, boxes)),
        reference=on_one_thread(lambda: heatmaps_to_keypoints(maps, boxes)),
        rounds=9,
        bar=(0, 0.1),
        note=lambda: f"the same keypoints to {off.max():.4f} pixels",
    )


def detections() -> tuple[Tensor, Tensor]:
    """Boxes, and logits of 56 x 56 cells for each keypoint."""
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(4, DETECTIONS, generator=generator)
    side, aspect = 32 * 20 ** random[0], 2 ** (2 * random[1] - 1)
    corner = 400 * random[2:].T
    boxes = torch.cat([corner, corner + torch.stack([side * aspect, side / aspect], dim=1)], dim=1)
    place = torch.rand(DETECTIONS, KEYPOINTS, 2, generator=generator) * SIDE
    cells = torch.arange(SIDE) + 0.5
    falls = torch.exp(-((cells - place[..., None]) ** 2) / 8)
    maps = 12 * falls[..., 1, :, None] * falls[..., 0, None, :]
    maps = maps + torch.randn(maps.shape, generator=generator)
    return boxes, F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
