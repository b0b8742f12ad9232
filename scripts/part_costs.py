"""Measure the costs of the parts in docs/heads.md, as the columns of its tables.

    python scripts/part_costs.py

Sizes are those of R50-FPN on COCO: 256 channels, 80 classes or 17 keypoints, 14 x 14 features.
All parts of a table are timed in turns on one core, and their medians divided by that of the first,
which is Detectron2's own: a ratio holds on a noisy machine where seconds do not.
"""

import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import (
    BitMasks,
    Boxes,
    Instances,
    Keypoints,
    PolygonMasks,
    heatmaps_to_keypoints,
)
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from bench import seconds
from benchmarks import on_one_thread, roi_align_max
from benchmarks.keypoint_decode import detections
from roilab.cli.console import exit_with
from roilab.modeling import (
    DECODERS,
    GaussianKeypointHead,
    IntegralKeypointHead,
    KeypointHead,
    MaskHead,
    MaskScoringHead,
    MLPMaskHead,
    MultinomialMaskHead,
    RoIPooler,
    SigmoidKeypointHead,
    SimCCKeypointHead,
    point_rend,
)

CHANNELS, CLASSES, KEYPOINTS, REGIONS, ROUNDS = 256, 80, 17, 16, 9
SHAPE = ShapeSpec(channels=CHANNELS, width=14, height=14)
IMAGE = (800, 1088)


def main() -> int:
    """Print the tables of poolers, mask heads, keypoint heads and decoders."""
    torch.manual_seed(0)
    poolers = {
        f"{op}, {how}": RoIPooler(op, 7, roi_align_max.SCALES, aggregation=how, sampling_ratio=2)
        for op, how in (
            ("roi_align", "average"),
            ("roi_align", "max"),
            ("roi_warp", "average"),
            ("roi_warp", "max"),
            ("roi_pool", "max"),
        )
    }
    features, boxes = roi_align_max.pyramid()
    steps = {name: roi_align_max.step(each, features, boxes) for name, each in poolers.items()}
    print("\nPoolers, forward and backward, 512 boxes, 2 x 2 samples a bin\n")
    print_ratios(steps)

    masks: dict[str, nn.Module] = {
        "MaskHead": MaskHead(SHAPE, num_classes=CLASSES),
        "MaskHead, class-agnostic": MaskHead(SHAPE, num_classes=1),
        "MultinomialMaskHead": MultinomialMaskHead(SHAPE, num_classes=CLASSES),
        "MLPMaskHead, 2 layers": MLPMaskHead(SHAPE, num_classes=CLASSES),
        "MLPMaskHead, 3 layers": MLPMaskHead(
            SHAPE, num_classes=CLASSES, fc_dims=(1024, 1024, 1024)
        ),
        "MaskScoringHead": MaskScoringHead(SHAPE, num_classes=CLASSES),
        "point_rend": point_rend({"p2": ShapeSpec(channels=CHANNELS, stride=4)}, CLASSES),
    }
    print("\nMask heads\n")
    print_heads(masks, [level.detach() for level in features])

    kinds = (
        KeypointHead,
        SigmoidKeypointHead,
        GaussianKeypointHead,
        IntegralKeypointHead,
        SimCCKeypointHead,
    )
    print("\nKeypoint heads\n")
    # The cheapest decoder, so that what is counted is the head.
    arguments: dict[str, Any] = {"num_keypoints": KEYPOINTS, "decoder": "quarter_shift"}
    print_heads({kind.__name__: kind(SHAPE, **arguments) for kind in kinds}, None)

    rois, maps = detections()
    decoders: dict[str, Callable[[], object]] = {
        "heatmaps_to_keypoints": partial(heatmaps_to_keypoints, maps, rois)
    }
    decoders |= {name: partial(decode, maps, rois) for name, decode in DECODERS.items()}
    print("\nDecoders, 100 detections of 17 keypoints\n")
    print_ratios(decoders)
    return 0


def print_ratios(works: Mapping[str, Callable[[], object]]) -> None:
    """A table of times over that of the first."""
    rows = [[name, f"{ratio:.2g}"] for name, ratio in ratios(works).items()]
    print(tabulate(rows, ["part", "time"], "github", disable_numparse=True))


def print_heads(heads: Mapping[str, nn.Module], features: list[torch.Tensor] | None) -> None:
    """A table of parameters, multiplications of a RoI, and times of a training step."""
    pooled = torch.randn(REGIONS, CHANNELS, 14, 14)
    works, rows = {}, {}
    for name, head in heads.items():
        x: Any = {"p2": features[0]} if features and name == "point_rend" else pooled
        works[name] = partial(train, head, x, regions(trained=True, bitmaps=name == "point_rend"))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            head.eval()(x, regions(trained=False))
        parameters = sum(each.numel() for each in head.parameters()) / 1e6
        rows[name] = [f"{parameters:.1f}", f"{counter.get_total_flops() / 2e9 / REGIONS:.2f}"]
    titles = ["part", "parameters, M", "GMAC a RoI", "time of a training step"]
    lines = [[name, *rows[name], f"{ratio:.2f}"] for name, ratio in ratios(works).items()]
    print(tabulate(lines, titles, "github", disable_numparse=True))


def train(head: nn.Module, x: Any, images: list[Instances]) -> None:
    """Forward and backward of a head."""
    with EventStorage():
        losses = head.train()(x, images)
    head.zero_grad()
    sum(losses.values()).backward()


def regions(trained: bool, bitmaps: bool = False) -> list[Instances]:
    """Two images with half of the RoIs each, with what a head learns from, or detected."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for _ in range(2):
        count = REGIONS // 2
        low = torch.rand(count, 2, generator=generator) * 400
        boxes = Boxes(torch.cat([low, low + 300], dim=1))
        classes = torch.randint(0, CLASSES, (count,), generator=generator)
        each = Instances(IMAGE)
        if not trained:
            each.pred_boxes, each.pred_classes = boxes, classes
            each.scores = torch.ones(count)
        else:
            each.proposal_boxes, each.gt_classes = boxes, classes
            place = low[:, None] + 300 * torch.rand(count, KEYPOINTS, 2, generator=generator)
            visible = torch.full((count, KEYPOINTS, 1), 2.0)
            each.gt_keypoints = Keypoints(torch.cat([place, visible], dim=2))
            corners = boxes.tensor[:, [0, 1, 2, 1, 2, 3]]  # a half of each box
            polygons = PolygonMasks([[ring.double().numpy()] for ring in corners])
            each.gt_masks = BitMasks.from_polygon_masks(polygons, *IMAGE) if bitmaps else polygons
        images.append(each)
    return images


def ratios(works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The median time of each over that of the first, taken in turns."""
    single = {name: on_one_thread(work) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in single}
    for index in tqdm(range(ROUNDS + 1), disable=not sys.stderr.isatty(), leave=False):
        for name, work in single.items():
            spent = seconds(work)
            if index:  # the first round warms up
                times[name].append(spent)
    medians = {name: statistics.median(each) for name, each in times.items()}
    first = next(iter(medians.values()))
    return {name: median / first for name, median in medians.items()}


if __name__ == "__main__":
    exit_with(main)
