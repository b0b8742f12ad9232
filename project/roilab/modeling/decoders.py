"""Decoders of keypoints: heat maps -> the position of each map's peak in the image.

Every decoder takes log heat, R x K x H x W, of which only the differences within a map matter (the
logits of a softmax are such), and R x 4 boxes; and gives positions x, y in the image's continuous
coordinates, R x K x 2, and the log heat there, R x K. Cell (i, j) of a map covers the
H x W part (i, j) of the box; its centre is at (j + 1/2, i + 1/2) cells from the box's corner.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Decoded = tuple[Tensor, Tensor]
Decoder = Callable[[Tensor, Tensor], Decoded]

# DARK smooths a map with the Gaussian that its targets were drawn with before it looks at slopes.
DARK_SIGMA = 1.0
_DARK_RADIUS = 3  # how far the smoothing reaches, in cells
_LEAST = 1e-10  # of heat before its logarithm, and of the determinant of a peak's curvature
LOCAL_RADIUS = 2  # cells around the peak that `local_soft_argmax` averages over


def enlarged_argmax(maps: Tensor, heights: Tensor, widths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column, row and value, each R x K, of the maximum of bicubically enlarged heat maps.

    `maps` are R x K x H x W, float32 or float64; `heights` and `widths` R whole numbers of pixels,
    at least 1.
    """
    # Empty ones first, since there may be no object.
    values = [maps.new_zeros(0, maps.shape[1])]
    indices = [heights.new_zeros(0, maps.shape[1])]
    for heat, height, width in zip(maps, heights.tolist(), widths.tolist(), strict=True):
        size = (int(height), int(width))
        enlarged = F.interpolate(heat[None], size, mode="bicubic", align_corners=False)
        value, index = enlarged.flatten(2).max(dim=2)
        values.append(value)
        indices.append(index)
    index = torch.cat(indices).long()
    across = widths.long()[:, None]
    return index % across, index // across, torch.cat(values)


def bicubic(log_heat: Tensor, boxes: Tensor, argmax: Any = enlarged_argmax) -> Decoded:
    """The arg-max after bicubic enlargement to the box's pixels, as Detectron2 decodes.

    The values of `detectron2.structures.heatmaps_to_keypoints`; `argmax` finds what
    `enlarged_argmax` finds.
    """
    extent = _extent(boxes)
    pixels = extent.ceil()
    column, row, value = argmax(log_heat, pixels[:, 1], pixels[:, 0])
    place = (torch.stack([column, row], dim=2) + 0.5) / pixels[:, None]
    return boxes[:, None, :2] + place * extent[:, None], value


def quarter_shift(log_heat: Tensor, boxes: Tensor) -> Decoded:
    """The largest cell, a quarter of a cell towards the larger neighbour (Newell et al.,
    arXiv 1603.06937, as in Xiao et al., arXiv 1804.06208)."""
    cell, value = peak(log_heat)
    around = window(log_heat, cell, 1)
    slope_x = around[..., 1, 2] - around[..., 1, 0]
    slope_y = around[..., 2, 1] - around[..., 0, 1]
    place = cell + 0.5 + 0.25 * torch.stack([slope_x, slope_y], dim=2).sign()
    return to_image(place, boxes, *log_heat.shape[2:]), value


def dark(log_heat: Tensor, boxes: Tensor) -> Decoded:
    """One Newton step from the largest cell on the smoothed map (Zhang et al., arXiv 1910.06278).

    The logarithm of a Gaussian is a parabola, of which one step finds the peak. The step is left
    out where the map is no peak, and is no longer than a cell.
    """
    cell, value = peak(log_heat)
    radius = _DARK_RADIUS
    # Relative to the peak, so that the exponential does not overflow.
    around = (window(log_heat, cell, radius + 1) - value[..., None, None]).exp()
    steps = torch.arange(-radius, radius + 1, device=cell.device, dtype=log_heat.dtype)
    kernel = torch.exp(-(steps**2) / (2 * DARK_SIGMA**2))
    kernel = kernel / kernel.sum()
    smooth = F.conv2d(around.flatten(0, 1)[:, None], kernel.outer(kernel)[None, None])
    m = smooth.view(*cell.shape[:2], 3, 3).clamp(min=_LEAST).log()

    # The gradient and the Hessian by central differences, and the Newton step -H^-1 g.
    dx = (m[..., 1, 2] - m[..., 1, 0]) / 2
    dy = (m[..., 2, 1] - m[..., 0, 1]) / 2
    dxx = m[..., 1, 2] - 2 * m[..., 1, 1] + m[..., 1, 0]
    dyy = m[..., 2, 1] - 2 * m[..., 1, 1] + m[..., 0, 1]
    dxy = (m[..., 2, 2] - m[..., 2, 0] - m[..., 0, 2] + m[..., 0, 0]) / 4
    det = dxx * dyy - dxy**2
    is_peak = (det > _LEAST) & (dxx < 0)
    det = torch.where(is_peak, det, 1)
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=2) / det[..., None]
    step = torch.where(is_peak[..., None], step, 0).clamp(-1, 1)
    return to_image(cell + 0.5 + step, boxes, *log_heat.shape[2:]), value


def local_soft_argmax(log_heat: Tensor, boxes: Tensor) -> Decoded:
    """The mean position, weighted with the heat, of the cells around the largest one."""
    cell, value = peak(log_heat)
    around = window(log_heat, cell, LOCAL_RADIUS, outside=-torch.inf)
    weights = around.flatten(2).softmax(dim=2).view_as(around)
    steps = torch.arange(-LOCAL_RADIUS, LOCAL_RADIUS + 1, device=cell.device)
    shift_x = (weights.sum(2) * steps).sum(2)
    shift_y = (weights.sum(3) * steps).sum(2)
    shift = torch.stack([shift_x, shift_y], dim=2)
    return to_image(cell + 0.5 + shift, boxes, *log_heat.shape[2:]), value


def soft_argmax(log_heat: Tensor, boxes: Tensor) -> Decoded:
    """The mean position over the whole map (integral regression: Sun et al., arXiv 1711.08229)."""
    place = expectation(log_heat)
    return to_image(place, boxes, *log_heat.shape[2:]), log_heat.flatten(2).amax(dim=2)


DECODERS: Mapping[str, Decoder] = {
    function.__name__: function
    for function in (bicubic, quarter_shift, dark, local_soft_argmax, soft_argmax)
}


def expectation(logits: Tensor) -> Tensor:
    """The mean of x, y under the softmax of R x K x H x W, in cells from the corner: R x K x 2."""
    heat = logits.flatten(2).softmax(dim=2).view_as(logits)
    y, x = (
        torch.arange(side, device=heat.device, dtype=heat.dtype) + 0.5 for side in heat.shape[2:]
    )
    return torch.stack([heat.sum(dim=2) @ x, heat.sum(dim=3) @ y], dim=2)


def peak(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of the largest cell of each map, R x K x 2, and its value, R x K."""
    value, index = maps.flatten(2).max(dim=2)
    width = maps.shape[3]
    return torch.stack([index % width, index // width], dim=2), value


def window(maps: Tensor, cell: Tensor, radius: int, outside: float | None = None) -> Tensor:
    """The cells around a cell of each map: R x K x (2 radius + 1) x (2 radius + 1), rows first.

    Args:
        maps, cell: R x K x H x W, and R x K x 2, column and row.
        outside: what cells beyond the map hold; None: the value of the nearest cell of the map.
    """
    height, width = maps.shape[2:]
    steps = torch.arange(-radius, radius + 1, device=maps.device)
    x, y = cell[..., 0, None] + steps, cell[..., 1, None] + steps
    index = y.clamp(0, height - 1)[..., :, None] * width + x.clamp(0, width - 1)[..., None, :]
    around = maps.flatten(2).gather(2, index.flatten(2)).view(index.shape)
    if outside is None:
        return around
    inside = ((y >= 0) & (y < height))[..., :, None] & ((x >= 0) & (x < width))[..., None, :]
    return around.masked_fill(~inside, outside)


def to_cells(positions: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Convert positions in the image, R x K x 2, to cells of the boxes' maps, without rounding."""
    sides = positions.new_tensor([width, height])
    return (positions - boxes[:, None, :2]) / _extent(boxes)[:, None] * sides


def to_image(place: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Convert positions in cells of the boxes' maps, R x K x 2, to the image, within the boxes."""
    share = place / place.new_tensor([width, height], dtype=boxes.dtype)
    return boxes[:, None, :2] + share.clamp(0, 1) * _extent(boxes)[:, None]


def _extent(boxes: Tensor) -> Tensor:
    """Width and height of R x 4 boxes, at least a pixel, as in Detectron2's decoder."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
