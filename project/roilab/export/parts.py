"""Poolers, decoders and masks as tensors alone, for `torch.export` and `torch.jit.trace`.

A recorded graph sees no values. Functions that branch or loop on values, to do less, have a second
form here: those of `roilab.modeling`, and of Detectron2 on the way from a mask head to the image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.projects.point_rend import point_features
from detectron2.projects.point_rend.mask_head import calculate_uncertainty
from detectron2.structures import Boxes
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from roilab.cpu.heatmap_argmax import resizing_weights
from roilab.modeling import decoders, mask_heads
from roilab.modeling.poolers import RoIPooler, bins_and_counts, moved_boxes, quantize_rois

THRESHOLD = 0.5  # of `detector_postprocess`


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
    size = pooler.output_size
    aligned = pooler.aligned
    bins, counts = bins_and_counts(rois, size, scale, pooler.sampling_ratio, aligned)
    moved, box = moved_boxes(rois, bins, counts, scale)
    sampled = roi_align(features, moved, size, scale, 1, aligned)
    least = sampled.new_full((rois.shape[0], *sampled.shape[1:]), -torch.inf)
    return least.scatter_reduce(0, box[:, None, None, None].expand_as(sampled), sampled, "amax")


def traced_bicubic(log_heat: Tensor, boxes: Tensor) -> decoders.Decoded:
    """As `roilab.modeling.decoders.bicubic`."""
    return decoders.bicubic(log_heat, boxes, argmax=_argmax)


def _argmax(maps: Tensor, heights: Tensor, widths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `roilab.modeling.decoders.enlarged_argmax`, by products with matrices of weights.

    The maps of a keypoint are enlarged together, to the size of the largest of the R objects.
    """
    one = heights.new_ones(1)  # there may be no object
    height = torch.cat([one, heights]).max().long()
    width = torch.cat([one, widths]).max().long()
    down = resizing_weights(heights.long(), as_size(height), maps.shape[2], maps.dtype)
    across = resizing_weights(widths.long(), as_size(width), maps.shape[3], maps.dtype)
    values, indices = [], []
    for heat in maps.unbind(dim=1):
        grid = down @ heat @ across.transpose(1, 2)
        value, index = grid.flatten(1).max(dim=1)
        values.append(value)
        indices.append(index)
    index = torch.stack(indices, dim=1)
    return index % width, index // width, torch.stack(values, dim=1)


def instance_masks(
    heads: Any, features: Mapping[str, Tensor], boxes: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor | None]:
    """R x m x m, in [0, 1], and, of a head that gives it, the IoU that is expected of each.

    The R x 4 boxes are in the image as the model sees it; the R labels are indices of classes.
    """
    head = heads.mask_head
    if heads.mask_pooler is None:
        logits = _point_rend(head, features, boxes, labels)
    else:
        maps = [features[name] for name in heads.mask_in_features]
        pooled = pool(heads.mask_pooler, maps, boxes)
        logits = head.layers(pooled)
    if hasattr(head, "masks"):  # whose classes compete
        return head.masks(logits, labels)[:, 0], None
    masks = mask_heads.of_class(logits, labels).sigmoid()
    if not hasattr(head, "mask_iou"):
        return masks, None
    return masks, head.mask_iou(pooled, masks[:, None], labels).clamp(0, 1)


def _point_rend(head: Any, features: Mapping[str, Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
    """Logits, R x classes x m x m, as `PointRendMaskHead` subdivides them."""

    def fine(names: list[str], places: Tensor) -> Tensor:
        """R x C x P features at R x P x 2 places in the boxes, which are from 0 to 1."""
        at = point_features.get_point_coords_wrt_image(boxes, places)
        sampled = []
        for name in names:
            level = features[name]
            sides = as_tensor([level.shape[3], level.shape[2]])
            point = (at / (sides / head._feature_scales[name]))[None]
            values = point_features.point_sample(level, point, align_corners=False)
            sampled.append(values[0].transpose(0, 1))
        return torch.cat(sampled, dim=1)

    side = head.roi_pooler_size
    pooled = fine(head.roi_pooler_in_features, _grid(side).expand(boxes.shape[0], -1, -1))
    coarse = head.coarse_head(pooled.unflatten(2, (side, side)))

    def logits_at(places: Tensor) -> Tensor:
        return head._get_point_logits(fine(head.mask_point_in_features, places), places, coarse)

    side = head.mask_point_subdivision_init_resolution
    logits = logits_at(_grid(side).expand(boxes.shape[0], -1, -1)).unflatten(2, (side, side))
    for _ in range(head.mask_point_subdivision_steps):
        logits = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        index, places = point_features.get_uncertain_point_coords_on_grid(
            calculate_uncertainty(logits, labels), head.mask_point_subdivision_num_points
        )
        index = index[:, None].expand(-1, logits.shape[1], -1)
        flat = logits.flatten(2).scatter(2, index, logits_at(places))
        logits = flat.unflatten(2, logits.shape[2:])
    return logits


def _grid(side: int) -> Tensor:
    """The centres of side x side cells, x and y from 0 to 1: side^2 x 2, row by row."""
    at = (torch.arange(side) + 0.5) / side
    return torch.stack([at.repeat(side), at.repeat_interleave(side)], dim=1)


def paste(masks: Tensor, boxes: Tensor, size: Tensor) -> Tensor:
    """Masks in an image of a height and width, as `paste_masks_in_image` of Detectron2 has them.

    Of R x m x m, in [0, 1], and R x 4 boxes in the image: R x height x width, bool. Bilinear
    sampling on a grid is two products with matrices of weights.
    """
    height, width = (as_size(side) for side in size.unbind())
    down = _weights(height, boxes[:, 1::2], masks.shape[1])
    across = _weights(width, boxes[:, 0::2], masks.shape[2])
    return down @ masks @ across.transpose(1, 2) >= THRESHOLD


def _weights(pixels: Any, sides: Tensor, cells: int) -> Tensor:
    """R x pixels x cells, of each cell for each pixel along one axis; 0 outside of the box.

    `sides`, R x 2, are where the box begins and ends on that axis.
    """
    low, high = sides[:, :1], sides[:, 1:]
    at = (torch.arange(pixels) + 0.5 - low) / (high - low) * cells - 0.5
    return (1 - (at[:, :, None] - torch.arange(cells)).abs()).clamp(min=0)
