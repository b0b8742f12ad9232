"""RoIAlign with a maximum in place of the average, from torchvision's kernel (Table 2c, Sec. 3)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align


def roi_align_max(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """The largest of a bin's bilinear samples.

    Arguments, and the points that are sampled, are those of torchvision's `roi_align`. The samples
    at one place in every bin are what that kernel gives, with one sample a bin, for the box moved
    by as much as the place is off the bin's centre: one call samples all of them. (A box without
    extent has one sample a bin where torchvision's adaptive number is none.)

    Args:
        features: N x C x H x W, float32 or float64.
        rois: R x 5, image index and box, which gets no gradient.
        output_size: (height, width) in bins.
        scale: 1 / stride of the features.
        sampling_ratio: samples a side of a bin; 0: as many as the bin has cells, rounded up.
        aligned: whether features lie at the centres of their cells.

    Returns:
        R x C x height x width.
    """
    bins, counts = bins_and_counts(rois, output_size, scale, sampling_ratio, aligned)
    # Boxes with as many samples a bin come to lie side by side, and a view has them together.
    order = counts.prod(dim=1).argsort(stable=True)
    counts = counts[order]
    moved, _ = moved_boxes(rois[order], bins[order], counts, scale)
    totals = counts.prod(dim=1)
    pooled: Tensor = _Largest.apply(features, moved, totals, output_size, scale, aligned)
    return pooled[order.argsort()]


def corner_and_extent(rois: Tensor, scale: float | Tensor, aligned: bool) -> tuple[Tensor, Tensor]:
    """Top left corner and extent of boxes in cells, each R x 2 as x, y, as the kernel has them."""
    low, high = (rois[:, 1:] * scale - (0.5 if aligned else 0.0)).split(2, dim=1)
    return low, high - low if aligned else (high - low).clamp(min=1)


def bins_and_counts(
    rois: Tensor, output_size: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """The sides of each box's bins in cells, and its samples along a bin; each R x 2 as x, y."""
    _, extents = corner_and_extent(rois, scale, aligned)
    bins = extents / rois.new_tensor(output_size).flip(0)
    if sampling_ratio > 0:
        return bins, torch.full_like(bins, sampling_ratio).long()
    return bins, bins.ceil().clamp(min=1).long()


def moved_boxes(rois: Tensor, bins: Tensor, counts: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Each box once for each sample of a bin, moved from the bin's centre to the sample.

    Returns:
        The S x 5 moved boxes, those of one box in a row; and for each of the S which box it is.
    """
    totals = counts.prod(dim=1)
    # One before the first, which goes: where there is no box at all, ONNX repeats nothing wrongly.
    box = torch.arange(-1, rois.shape[0], device=rois.device)
    box = box.repeat_interleave(F.pad(totals, (1, 0), value=1))[1:]
    number = torch.arange(box.shape[0], device=rois.device) - (totals.cumsum(0) - totals)[box]
    across = counts[box, 0]
    place = torch.stack([number % across, number // across], dim=1)
    shift = ((place + 0.5) / counts[box] - 0.5) * bins[box] / scale
    return torch.cat([rois[box, :1], rois[box, 1:] + shift.repeat(1, 2)], dim=1), box


class _Largest(torch.autograd.Function):
    """Samples one point a bin for each moved box, and keeps the largest of each box's samples.

    The gradient goes to the four cells around each sample that was kept; autograd's own way would
    hold all samples and send zeros through the kernel for those that were not.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        moved: Tensor,
        totals: Tensor,
        output_size: tuple[int, int],
        scale: float,
        aligned: bool,
    ) -> Tensor:
        sampled = roi_align(features, moved, output_size, scale, 1, aligned)
        numbers, boxes = totals.unique(return_counts=True)
        values, winners, start = [sampled[:0]], [totals.new_zeros(sampled[:0].shape)], 0
        for number, count in zip(numbers.tolist(), boxes.tolist(), strict=True):
            stop = start + number * count
            largest = sampled[start:stop].unflatten(0, (count, number)).max(dim=1)
            first = torch.arange(start, stop, number, device=totals.device)
            values.append(largest.values)
            winners.append(largest.indices + first[:, None, None, None])
            start = stop
        ctx.save_for_backward(moved, torch.cat(winners).int())
        ctx.shape, ctx.output_size, ctx.scale, ctx.aligned = (
            features.shape,
            output_size,
            scale,
            aligned,
        )
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        moved, winners = ctx.saved_tensors
        _, channels, height, width = ctx.shape
        index, weight = _neighbours(moved, ctx.output_size, ctx.scale, ctx.aligned, height, width)
        # For each value kept: which moved box and bin it is from, and where its channel begins.
        bins = torch.arange(winners.shape[2:].numel(), device=moved.device)
        kept = winners.flatten(2).long() * len(bins) + bins
        image = moved[winners[:, 0, 0, 0].long(), 0].long()
        channel = image[:, None] * channels + torch.arange(channels, device=moved.device)
        plane = channel[:, :, None] * (height * width)
        flat = gradient.new_zeros(ctx.shape).flatten()
        for cell, share in zip(index, weight, strict=True):
            flat.scatter_add_(
                0,
                (cell[kept] + plane).flatten(),
                (share[kept] * gradient.flatten(2)).flatten(),
            )
        return flat.view(ctx.shape), None, None, None, None, None


def _neighbours(
    moved: Tensor,
    output_size: tuple[int, int],
    scale: float,
    aligned: bool,
    height: int,
    width: int,
) -> tuple[list[Tensor], list[Tensor]]:
    """The four cells around the centre of each bin of each box, and their bilinear weights.

    Returns:
        Four index tensors into a height x width map and four weights, each over boxes and bins,
        flattened. As in the kernel, a point up to one cell outside takes the border's value, one
        further out takes none.
    """
    low, extents = corner_and_extent(moved, scale, aligned)
    sides: list[tuple[list[Tensor], list[Tensor]]] = []
    for axis, (bins, cells) in enumerate(zip(reversed(output_size), (width, height), strict=True)):
        steps = torch.arange(bins, device=moved.device, dtype=moved.dtype) + 0.5
        at = low[:, axis, None] + steps * (extents[:, axis, None] / bins)
        inside = ((at >= -1) & (at <= cells)).to(at.dtype)
        at = at.clamp(0, cells - 1)
        before = at.floor().clamp(max=max(cells - 2, 0))
        after = at - before
        near, far = before.long(), (before.long() + 1).clamp(max=cells - 1)
        sides.append(([near, far], [(1 - after) * inside, after * inside]))
    (xs, across), (ys, down) = sides
    index = [(y[:, :, None] * width + x[:, None, :]).flatten() for y in ys for x in xs]
    weight = [(v[:, :, None] * u[:, None, :]).flatten() for v in down for u in across]
    return index, weight
