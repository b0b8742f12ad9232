"""RoI poolers, keypoints from heat maps, and the costs of the parts in docs/heads.md."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks
from detectron2.structures.keypoints import heatmaps_to_keypoints
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import Benchmark, Works, in_new_process, medians, on_one_thread, peak_memory_of
from roilab import modeling
from roilab.cpu.heatmap_argmax import bicubic_by_windows
from roilab.cpu.optimize import optimize
from roilab.modeling import DECODERS, RoIPooler, point_rend

CHANNELS, CLASSES, KEYPOINTS, ROUNDS = 256, 80, 17, 9
IMAGE = (800, 1088)
POOLERS = [(op, how) for op in ("roi_align", "roi_warp") for how in ("average", "max")]
POOLERS += [("roi_pool", "max")]
SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
IMAGES = 2
Pooling = Sequence[tuple[nn.Module, list[Boxes]]]


def keypoint_decode(folder: Path, detections: int = 100) -> Benchmark:
    """Keypoints and scores from heat maps of 17 keypoints, against `heatmaps_to_keypoints`.

    Ours computes the score in [0, 1], too. Small boxes, and maps as flat as those of an untrained
    head, gain less.
    """
    boxes, maps = boxes_and_maps(detections)
    shape = ShapeSpec(channels=8, width=14, height=14)
    head = modeling.KeypointHead(shape, num_keypoints=KEYPOINTS, conv_dims=[8])
    optimize(head)
    off = (head.decode(maps, boxes)[0][..., :2] - heatmaps_to_keypoints(maps, boxes)[..., :2]).abs()
    works = (partial(decode, maps, boxes) for decode in (head.decode, heatmaps_to_keypoints))
    ours, theirs = map(on_one_thread, works)
    note = partial("the same keypoints to {:.4f} pixels".format, off.max())
    return Benchmark("heatmaps_to_keypoints", ours, theirs, ROUNDS, bar=(0, 0.1), note=note)


def boxes_and_maps(count: int) -> tuple[Tensor, Tensor]:
    """Boxes, and logits of 56 x 56 cells for each keypoint.

    Areas are log-uniform from 32^2 to 640^2 pixels, the mean being that of a detector's persons on
    COCO at 800 pixels. Maps are enlarged twice, as by the head's last layer: a peak of 12 above
    noise of standard deviation 1.
    """
    generator, cells = torch.Generator().manual_seed(0), 28
    random = torch.rand(4, count, generator=generator)
    side, aspect = 32 * 20 ** random[0], 2 ** (2 * random[1] - 1)
    corner = 400 * random[2:].T
    boxes = torch.cat([corner, corner + torch.stack([side * aspect, side / aspect], dim=1)], dim=1)
    place = torch.rand(count, KEYPOINTS, 2, generator=generator) * cells
    falls = torch.exp(-((torch.arange(cells) + 0.5 - place[..., None]) ** 2) / 8)
    maps = 12 * falls[..., 1, :, None] * falls[..., 0, None, :]
    maps = maps + torch.randn(maps.shape, generator=generator)
    return boxes, F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def part_costs(folder: Path, regions: int = 16) -> Benchmark:
    """A training step of our keypoint head against one of Detectron2's; the note has the tables.

    Sizes are those of R50-FPN on COCO: 256 channels, 80 classes or 17 keypoints, 14 x 14 features.
    All parts of a table are timed in turns on one core, and their medians divided by the first.
    """
    torch.manual_seed(0)
    shape = ShapeSpec(channels=CHANNELS, width=14, height=14)
    theirs = {"conv_dims": [512] * 8, "loss_normalizer": "visible"}
    stock = KRCNNConvDeconvUpsampleHead(shape, num_keypoints=KEYPOINTS, **theirs)
    heads = modeling.KeypointHead(shape, num_keypoints=KEYPOINTS), stock
    x, images = torch.randn(regions, CHANNELS, 14, 14), images_with_regions(regions)
    ours, reference = (on_one_thread(partial(train, head, x, images)) for head in heads)
    note = partial(tables, shape, regions)
    return Benchmark("Detectron2's keypoint head", ours, reference, ROUNDS, note=note)


def tables(shape: ShapeSpec, regions: int) -> str:
    """The tables of poolers, mask heads, keypoint heads and decoders."""
    features, boxes = pyramid()
    poolers = {}
    for op, how in POOLERS:
        pooler = RoIPooler(op, 7, SCALES, aggregation=how, sampling_ratio=2)
        poolers[f"{op}, {how}"] = partial(step, [(optimize(pooler), boxes)], features)
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
    # The cheapest decoder, so that the head is what is timed.
    sizes = {"num_keypoints": KEYPOINTS, "decoder": "quarter_shift"}
    names = [f"{kind}KeypointHead" for kind in ("", "Sigmoid", "Gaussian", "Integral", "SimCC")]
    keypoints = {name: getattr(modeling, name)(shape, **sizes) for name in names}
    rois, maps = boxes_and_maps(100)
    functions = {"heatmaps_to_keypoints": heatmaps_to_keypoints}
    functions |= {**DECODERS, "bicubic": bicubic_by_windows}
    decoders: Works = {name: partial(decode, maps, rois) for name, decode in functions.items()}
    samples = f"{sum(map(len, boxes))} boxes, 2 x 2 samples a bin"
    sections = {
        f"Poolers, forward and backward, {samples}": of_times(poolers),
        "Mask heads": of_heads(masks, features[0].detach(), regions),
        "Keypoint heads": of_heads(keypoints, features[0].detach(), regions),
        f"Decoders, {len(rois)} detections of {KEYPOINTS} keypoints": of_times(decoders),
    }
    return "\n\n".join(f"{title}\n\n{table}" for title, table in sections.items())


def of_times(works: Works) -> str:
    """A table of times over that of the first."""
    rows = [[name, f"{ratio:.2g}"] for name, ratio in ratios(works).items()]
    return tabulate(rows, ["part", "time"], "github", disable_numparse=True)


def of_heads(heads: Mapping[str, nn.Module], features: Tensor, regions: int) -> str:
    """A table of parameters, multiplications of a RoI, and times of a training step."""
    pooled = torch.randn(regions, CHANNELS, 14, 14)
    works, counts = {}, {}
    for name, head in heads.items():
        whole = name == "point_rend"
        x: Any = {"p2": features} if whole else pooled
        works[name] = partial(train, head, x, images_with_regions(regions, bitmaps=whole))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            head.eval()(x, images_with_regions(regions))
        parameters = sum(parameter.numel() for parameter in head.parameters()) / 1e6
        counts[name] = [f"{parameters:.1f}", f"{counter.get_total_flops() / 2e9 / regions:.2f}"]
    titles = ["part", "parameters, M", "GMAC a RoI", "time of a training step"]
    rows = [[name, *counts[name], f"{ratio:.2f}"] for name, ratio in ratios(works).items()]
    return tabulate(rows, titles, "github", disable_numparse=True)


def train(head: nn.Module, x: Any, images: list[Instances]) -> None:
    """Forward and backward of a head."""
    with EventStorage():
        losses = head.train()(x, images)
    head.zero_grad()
    sum(losses.values()).backward()


def images_with_regions(regions: int, *, bitmaps: bool = False) -> list[Instances]:
    """Two images with half of the RoIs each, as detections and as proposals with their targets."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for _ in range(2):
        count = regions // 2
        low = torch.rand(count, 2, generator=generator) * 400
        boxes = torch.cat([low, low + 300], dim=1)
        classes = torch.randint(0, CLASSES, (count,), generator=generator)
        place = low[:, None] + 300 * torch.rand(count, KEYPOINTS, 2, generator=generator)
        visible = torch.full((count, KEYPOINTS, 1), 2.0)
        corners = boxes[:, [0, 1, 2, 1, 2, 3]]  # a half of each box
        polygons = PolygonMasks([[ring.double().numpy()] for ring in corners])
        image = Instances(IMAGE, scores=torch.ones(count), pred_classes=classes, gt_classes=classes)
        image.pred_boxes = image.proposal_boxes = Boxes(boxes)
        image.gt_keypoints = Keypoints(torch.cat([place, visible], dim=2))
        image.gt_masks = BitMasks.from_polygon_masks(polygons, *IMAGE) if bitmaps else polygons
        images.append(image)
    return images


def ratios(works: Works) -> dict[str, float]:
    """The median time of each on one core over that of the first, taken in turns."""
    times = medians({name: on_one_thread(work) for name, work in works.items()}, ROUNDS)
    first = next(iter(times.values()))
    return {name: median / first for name, median in times.items()}


def maximum_and_average(op: str, folder: Path, **sizes: Any) -> Benchmark:
    """The maximum of an op's samples against the average of as many of RoIAlign, as for a box head.

    `sizes` are those of `pyramid`.
    """
    features, boxes = pyramid(**sizes)
    steps = [partial(step, [(pooler_of(kind), boxes)], features) for kind in (op, "average")]

    def note() -> str:
        ours, theirs = (in_new_process(_memory, kind, sizes) / 2**20 for kind in (op, "average"))
        return f"peak memory of a step: {ours:.0f} MB, of the average {theirs:.0f} MB"

    ours, theirs = map(on_one_thread, steps)
    return Benchmark("torchvision's average RoIAlign", ours, theirs, 7, bar=(0, 2), note=note)


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
        return on_one_thread(partial(step, list(zip(poolers, boxes, strict=True)), features))

    ours = work(lambda bins: optimize(RoIPooler("roi_align", bins, SCALES)))
    theirs = work(lambda bins: ROIPooler(bins, SCALES, 0, "ROIAlignV2"))
    return Benchmark("Detectron2's ROIAlignV2", ours, theirs, rounds=7, bar=(0, 0.25))


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


def step(poolers: Pooling, features: list[Tensor]) -> None:
    """Forward through all poolers, and backward with a gradient for every value."""
    pooled = [pooler(features, boxes) for pooler, boxes in poolers]
    torch.autograd.grad(pooled, features, [torch.ones_like(values) for values in pooled])


def _memory(op: str, sizes: dict[str, Any]) -> int:
    """Bytes that a step needs at its peak beyond its input."""
    features, boxes = pyramid(**sizes)
    return peak_memory_of(partial(step, [(pooler_of(op), boxes)], features))
