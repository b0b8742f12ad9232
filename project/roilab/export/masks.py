"""Masks of detections as tensors alone: what the heads give, and where it lies in the image."""

from collections.abc import Mapping
from typing import Any

import torch
from detectron2.projects.point_rend.mask_head import calculate_uncertainty
from detectron2.projects.point_rend.point_features import (
    get_point_coords_wrt_image,
    get_uncertain_point_coords_on_grid,
    point_sample,
)
from torch import Tensor
from torch.nn import functional as F

from roilab.export.graph import as_size, as_tensor, pool

THRESHOLD = 0.5  # of `detector_postprocess`


def instance_masks(
    heads: Any, features: Mapping[str, Tensor], boxes: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor | None]:
    """R x m x m, in [0, 1], and, of a head that gives it, the IoU that is expected of each.

    Args:
        heads: of the model.
        features: of the image.
        boxes: R x 4, in the image as the model sees it.
        labels: R, the index of each one's class.
    """
    head = heads.mask_head
    if heads.mask_pooler is None:
        return _chosen(_point_rend(head, features, boxes, labels), labels).sigmoid(), None
    pooled = pool(heads.mask_pooler, [features[n] for n in heads.mask_in_features], boxes)
    logits = head.layers(pooled)
    if hasattr(head, "masks"):  # whose classes compete
        return head.masks(logits, labels)[:, 0], None
    masks = _chosen(logits, labels).sigmoid()
    if not hasattr(head, "mask_iou"):
        return masks, None
    return masks, head.mask_iou(pooled, masks[:, None], labels).clamp(0, 1)


def _chosen(logits: Tensor, labels: Tensor) -> Tensor:
    """The masks of each instance's own class: R x classes x m x m -> R x m x m."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits[torch.arange(logits.shape[0]), labels]


def _point_rend(head: Any, features: Mapping[str, Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
    """Logits, R x classes x m x m, as `PointRendMaskHead` subdivides them."""

    def fine(names: list[str], places: Tensor) -> Tensor:
        """R x C x P features at R x P x 2 places in the boxes, which are from 0 to 1."""
        at = get_point_coords_wrt_image(boxes, places)
        sampled = []
        for name in names:
            level = features[name]
            sides = as_tensor([level.shape[3], level.shape[2]])
            point = at / (sides / head._feature_scales[name])
            sampled.append(point_sample(level, point[None], align_corners=False)[0].transpose(0, 1))
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
        index, places = get_uncertain_point_coords_on_grid(
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
    """Masks in the image, as Detectron2's `paste_masks_in_image` has them.

    Bilinear sampling on a grid is two products with matrices of weights.

    Args:
        masks: R x m x m, in [0, 1].
        boxes: R x 4, in the image.
        size: height and width of the image.

    Returns:
        R x height x width, bool.
    """
    height, width = (as_size(side) for side in size.unbind())
    down = _weights(height, boxes[:, 1::2], masks.shape[1])
    across = _weights(width, boxes[:, 0::2], masks.shape[2])
    return down @ masks @ across.transpose(1, 2) >= THRESHOLD


def _weights(pixels: Any, sides: Tensor, cells: int) -> Tensor:
    """R x pixels x cells, of each cell for each pixel along one axis; 0 outside of the box.

    Args:
        sides: R x 2, where the box begins and ends on that axis.
    """
    low, high = sides[:, :1], sides[:, 1:]
    at = (torch.arange(pixels) + 0.5 - low) / (high - low) * cells - 0.5
    return (1 - (at[:, :, None] - torch.arange(cells)).abs()).clamp(min=0)
