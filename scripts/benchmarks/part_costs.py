"""The costs of the parts in docs/heads.md: the note has the columns of its tables.

Sizes are those of R50-FPN on COCO: 256 channels, 80 classes or 17 keypoints, 14 x 14 features.
All parts of a table are timed in turns on one core, and their medians divided by that of the first.
"""

import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead
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

from benchmarks import Benchmark, keypoint_decode, on_one_thread, roi_align_max, seconds
from roilab import modeling
from roilab.cpu.heatmap_argmax import bicubic_by_windows
from roilab.cpu.optimize import optimize
from roilab.modeling import DECODERS, RoIPooler, point_rend

CHANNELS, CLASSES, KEYPOINTS, REGIONS, ROUNDS = 256, 80, 17, 16, 9
IMAGE = (800, 1088)
KEYPOINT_HEADS = tuple(f"{kind}KeypointHead" for kind in ("", "Sigmoid", "Gaussian", "Integral"))
POOLERS = (
    *((op, how) for op in ("roi_align", "roi_warp") for how in ("average", "max")),
    ("roi_pool", "max"),
)
Works = Mapping[str, Callable[[], object]]


def benchmark(folder: Path) -> Benchmark:
    """A training step of our keypoint head against one of Detectron2's; all others in the note."""
    torch.manual_seed(0)
    shape = ShapeSpec(channels=CHANNELS, width=14, height=14)
    theirs = KRCNNConvDeconvUpsampleHead(
        shape, num_keypoints=KEYPOINTS, conv_dims=[512] * 8, loss_normalizer="visible"
    )
    ours = modeling.KeypointHead(shape, num_keypoints=KEYPOINTS)
    x = torch.randn(REGIONS, CHANNELS, 14, 14)
    return Benchmark(
        reference_name="Detectron2's keypoint head",
        ours=on_one_thread(partial(train, ours, x, regions(trained=True))),
        reference=on_one_thread(partial(train, theirs, x, regions(trained=True))),
        rounds=ROUNDS,
        note=lambda: tables(shape),
    )


def tables(shape: ShapeSpec) -> str:
    """The tables of poolers, mask heads, keypoint heads and decoders."""
    features, boxes = roi_align_max.pyramid()
    poolers: Works = {
        f"{op}, {how}": roi_align_max.step(
            optimize(RoIPooler(op, 7, roi_align_max.SCALES, aggregation=how, sampling_ratio=2)),
            features,
            boxes,
        )
        for op, how in POOLERS
    }
    sizes: dict[str, Any] = {"num_classes": CLASSES}
    masks: dict[str, nn.Module] = {
        "MaskHead": modeling.MaskHead(shape, **sizes),
        "MaskHead, class-agnostic": modeling.MaskHead(shape, num_classes=1),
        "MultinomialMaskHead": modeling.MultinomialMaskHead(shape, **sizes),
        "MLPMaskHead, 2 layers": modeling.MLPMaskHead(shape, **sizes),
        "MLPMaskHead, 3 layers": modeling.MLPMaskHead(shape, fc_dims=(1024,) * 3, **sizes),
        "MaskScoringHead": modeling.MaskScoringHead(shape, **sizes),
        "point_rend": point_rend({"p2": ShapeSpec(channels=CHANNELS, stride=4)}, CLASSES),
    }
    # The cheapest decoder, so that what is counted is the head.
    sizes = {"num_keypoints": KEYPOINTS, "decoder": "quarter_shift"}
    keypoints = {
        name: getattr(modeling, name)(shape, **sizes)
        for name in (*KEYPOINT_HEADS, "SimCCKeypointHead")
    }
    rois, maps = keypoint_decode.detections()
    functions = {"heatmaps_to_keypoints": heatmaps_to_keypoints}
    functions |= {**DECODERS, "bicubic": bicubic_by_windows}
    decoders: Works = {name: partial(decode, maps, rois) for name, decode in functions.items()}
    return "\n\n".join(
        [
            f"Poolers, forward and backward, {roi_align_max.BOXES} boxes, 2 x 2 samples a bin",
            of_times(poolers),
            "Mask heads",
            of_heads(masks, features[0].detach()),
            "Keypoint heads",
            of_heads(keypoints, features[0].detach()),
            f"Decoders, {len(rois)} detections of {KEYPOINTS} keypoints",
            of_times(decoders),
        ]
    )


def of_times(works: Works) -> str:
    """A table of times over that of the first."""
    rows = [[name, f"{ratio:.2g}"] for name, ratio in ratios(works).items()]
    return tabulate(rows, ["part", "time"], "github", disable_numparse=True)


def of_heads(heads: Mapping[str, nn.Module], features: torch.Tensor) -> str:
    """A table of parameters, multiplications of a RoI, and times of a training step."""
    pooled = torch.randn(REGIONS, CHANNELS, 14, 14)
    works, counts = {}, {}
    for name, head in heads.items():
        whole = name == "point_rend"
        x: Any = {"p2": features} if whole else pooled
        works[name] = partial(train, head, x, regions(trained=True, bitmaps=whole))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            head.eval()(x, regions(trained=False))
        parameters = sum(parameter.numel() for parameter in head.parameters()) / 1e6
        counts[name] = [f"{parameters:.1f}", f"{counter.get_total_flops() / 2e9 / REGIONS:.2f}"]
    titles = ["part", "parameters, M", "GMAC a RoI", "time of a training step"]
    rows = [[name, *counts[name], f"{ratio:.2f}"] for name, ratio in ratios(works).items()]
    return tabulate(rows, titles, "github", disable_numparse=True)


def train(head: nn.Module, x: Any, images: list[Instances]) -> None:
    """Forward and backward of a head."""
    with EventStorage():
        losses = head.train()(x, images)
    head.zero_grad()
    sum(losses.values()).backward()


def regions(trained: bool, bitmaps: bool = False) -> list[Instances]:
    """Two images with half of the RoIs each, with targets of training, or detected."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for _ in range(2):
        count = REGIONS // 2
        low = torch.rand(count, 2, generator=generator) * 400
        boxes = Boxes(torch.cat([low, low + 300], dim=1))
        classes = torch.randint(0, CLASSES, (count,), generator=generator)
        image = Instances(IMAGE)
        if not trained:
            image.pred_boxes, image.pred_classes = boxes, classes
            image.scores = torch.ones(count)
        else:
            image.proposal_boxes, image.gt_classes = boxes, classes
            place = low[:, None] + 300 * torch.rand(count, KEYPOINTS, 2, generator=generator)
            visible = torch.full((count, KEYPOINTS, 1), 2.0)
            image.gt_keypoints = Keypoints(torch.cat([place, visible], dim=2))
            corners = boxes.tensor[:, [0, 1, 2, 1, 2, 3]]  # a half of each box
            polygons = PolygonMasks([[ring.double().numpy()] for ring in corners])
            image.gt_masks = BitMasks.from_polygon_masks(polygons, *IMAGE) if bitmaps else polygons
        images.append(image)
    return images


def ratios(works: Works) -> dict[str, float]:
    """The median time of each over that of the first, taken in turns."""
    single = {name: on_one_thread(work) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in single}
    for index in range(ROUNDS + 1):
        for name, work in single.items():
            spent = seconds(work)
            if index:  # the first round warms up
                times[name].append(spent)
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    first = next(iter(medians.values()))
    return {name: median / first for name, median in medians.items()}
