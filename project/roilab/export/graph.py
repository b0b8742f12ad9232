"""Poolers and decoders as tensors alone, for `torch.export` and `torch.jit.trace`.

A recorded graph sees no values. Functions of `roilab.modeling` that branch or loop on values, to do
less, have a second form here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.structures import Boxes
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from roilab.cpu.heatmap_argmax import resizing_weights
from roilab.modeling import decoders
from roilab.modeling.poolers import RoIPooler, quantize_rois
from roilab.modeling.roi_align_max import bins_and_counts, moved_boxes


def as_tensor(sizes: Sequence[Any]) -> Tensor:
    """Sizes of tensors as int64, which a graph computes from those tensors."""
    if torch.jit.is_tracing():
        return torch.stack(list(sizes))
    return torch.stack([torch.scalar_tensor(size, dtype=torch.int64) for size in sizes])


def as_size(value: Tensor) -> Any:
    """A computed whole number of at least 1 as a size of other tensors."""
    if torch.compiler.is_exporting():
        size = value.item()
        torch._check(size >= 1)
        return size
    return value if torch.jit.is_tracing() else int(value)


def pool(pooler: RoIPooler, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """The pooled features of R x 4 boxes of one image: R x C x height x width."""
    rois = F.pad(boxes, (1, 0))
    if len(pooler.scales) == 1:
        return _pool_level(pooler, features[0], rois, pooler.scales[0])
    of_image = Boxes.__new__(Boxes)  # its constructor looks whether there are any
    of_image.tensor = boxes
    levels = pooler.levels([of_image])
    pooled = features[0].new_zeros(boxes.shape[0], features[0].shape[1], *pooler.output_size)
    for index, (level, scale) in enumerate(zip(features, pooler.scales, strict=True)):
        rows = (levels == index).nonzero()[:, 0]
        pooled = pooled.index_put((rows,), _pool_level(pooler, level, rois[rows], scale))
    return pooled


def _pool_level(pooler: RoIPooler, features: Tensor, rois: Tensor, scale: float) -> Tensor:
    if pooler.op == "roi_pool" or pooler.aggregation == "average":
        return pooler.pool_level(features, rois, scale)
    if pooler.op == "roi_warp":
        rois, scale = quantize_rois(rois, scale), 1.0
    size, aligned = pooler.output_size, pooler.aligned
    bins, counts = bins_and_counts(rois, size, scale, pooler.sampling_ratio, aligned)
    moved, box = moved_boxes(rois, bins, counts, scale)
    sampled = roi_align(features, moved, size, scale, 1, aligned)
    least = sampled.new_full((rois.shape[0], *sampled.shape[1:]), -torch.inf)
    return least.scatter_reduce(0, box[:, None, None, None].expand_as(sampled), sampled, "amax")


def traced_bicubic(log_heat: Tensor, boxes: Tensor) -> decoders.Decoded:
    """As `roilab.modeling.decoders.bicubic`."""
    return decoders.bicubic(log_heat, boxes, argmax=_enlarged_argmax)


def _enlarged_argmax(
    maps: Tensor, heights: Tensor, widths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `roilab.modeling.decoders.enlarged_argmax`, by products with matrices of weights.

    The maps of a keypoint are enlarged together, to the size of the largest of the R objects.
    """
    one = heights.new_ones(1)  # there may be no object
    sides = [(torch.cat([one, size]).max().long(), size.long()) for size in (heights, widths)]
    down, across = (
        resizing_weights(size, as_size(largest), cells, maps.dtype)
        for (largest, size), cells in zip(sides, maps.shape[2:], strict=True)
    )
    grids = (down @ heat @ across.transpose(1, 2) for heat in maps.unbind(dim=1))
    pairs = [grid.flatten(1).max(dim=1) for grid in grids]
    index, width = torch.stack([index for _, index in pairs], 1), sides[1][0]
    return index % width, index // width, torch.stack([value for value, _ in pairs], 1)
