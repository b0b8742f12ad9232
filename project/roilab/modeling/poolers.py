"""RoI poolers: RoIPool, RoIWarp and RoIAlign over the levels of a pyramid.

RoIPool (Girshick, arXiv 1504.08083) quantises the box and its bins and takes the maximum. RoIWarp
(Dai et al., arXiv 1512.04412) quantises the box alone and samples bilinearly inside. RoIAlign (Mask
R-CNN, arXiv 1703.06870, Sec. 3) quantises nothing. Tables 2c, 2d and 6 of Mask R-CNN compare them.
"""

import difflib
import math
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import assign_boxes_to_levels, convert_boxes_to_pooler_format
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align, roi_pool

from roilab.errors import UserError, argument

OPS = ("roi_pool", "roi_warp", "roi_align")
AGGREGATIONS = ("average", "max")
# The level of the pyramid that takes boxes of this side (FPN, arXiv 1612.03144, Eq. 1).
_CANONICAL_LEVEL, _CANONICAL_SIDE = 4, 224


class RoIPooler(nn.Module):
    """Features of each box, from the level of the pyramid that fits the box's size.

    Args:
        op: `roi_pool`, `roi_warp` or `roi_align`.
        output_size: (height, width) of the output in bins; one number for a square.
        scales: 1 / stride of each level, finest first.
        aggregation: of the samples of a bin, `average` or `max`; roi_pool has only the maximum of
            the cells of a bin.
        sampling_ratio: samples a side of a bin; 0: as many as it has cells, rounded up.
        aligned: whether features lie at the centres of their cells (Detectron2's ROIAlignV2) or, as
            in the paper's time, at their corners. roi_pool knows cells only.

    Raises:
        UserError: an unknown op or aggregation, or a sampling_ratio below 0.
    """

    ARGUMENTS = ("op", "output_size", "scales", "aggregation", "sampling_ratio", "aligned")

    def __init__(
        self,
        op: str,
        output_size: int | Sequence[int],
        scales: Sequence[float],
        *,
        aggregation: str = "average",
        sampling_ratio: int = 0,
        aligned: bool = True,
    ) -> None:
        super().__init__()
        choices = (("op", op, OPS), ("aggregation", aggregation, AGGREGATIONS))
        for key, value, known in choices:
            if value not in known:
                near = difflib.get_close_matches(str(value), known, n=1)
                raise UserError(
                    f"unknown {key} of a pooler",
                    key=key,
                    found=value,
                    expected=" or ".join(known),
                    remedy=f"give {argument(key, near[0])}" if near else None,
                )
        if not isinstance(sampling_ratio, int) or sampling_ratio < 0:
            problem = "not a number of samples"
            expected = "a whole number; 0: as many as a bin has cells"
            raise UserError(problem, key="sampling_ratio", found=sampling_ratio, expected=expected)
        sides = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            problem = "not the size of a pooler's output"
            expected = "a whole number from 1, or two: height and width"
            raise UserError(problem, key="output_size", found=output_size, expected=expected)
        self.op = op
        self.aggregation = aggregation
        self.aligned = aligned
        self.output_size = (sides[0], sides[1])
        self.scales = tuple(scales)
        self.sampling_ratio = sampling_ratio

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Boxes]) -> Tensor:
        """Pool every box of every image: R x C x height x width, the boxes in their order.

        Args:
            features: for each level N x C x H x W, of any floating dtype, which the output has too.
            boxes: for each of the N images, in image pixels, continuous coordinates.
        """
        rois = convert_boxes_to_pooler_format(list(boxes))
        if len(self.scales) == 1:
            return self.pool_level(features[0], rois, self.scales[0])
        levels = self.levels(boxes)
        order = levels.argsort(stable=True)
        shares = rois[order].split(levels.bincount(minlength=len(self.scales)).tolist())
        parts = zip(features, shares, self.scales, strict=True)
        pooled = torch.cat([self.pool_level(*part) for part in parts])
        return pooled[order.argsort()]

    def levels(self, boxes: Sequence[Boxes]) -> Tensor:
        """The index of each box's level."""
        if len(self.scales) == 1:
            return torch.cat([image.tensor.new_zeros(len(image)).long() for image in boxes])
        finest = round(-math.log2(self.scales[0]))
        coarsest = finest + len(self.scales) - 1
        return assign_boxes_to_levels(
            list(boxes), finest, coarsest, _CANONICAL_SIDE, _CANONICAL_LEVEL
        )

    def pool_level(self, features: Tensor, rois: Tensor, scale: float) -> Tensor:
        """Pool R x 5 `rois`, image index and box in pixels, from a level of stride 1 / scale."""
        rois = rois.to(torch.promote_types(features.dtype, torch.float32))
        if self.op == "roi_pool":
            return roi_pool(to_float32(features), rois, self.output_size, scale).to(features.dtype)
        if self.op == "roi_warp":
            rois, scale = quantize_rois(rois, scale), 1.0
        return self.align(features, rois, scale)

    def align(self, features: Tensor, rois: Tensor, scale: float) -> Tensor:
        """RoIAlign of one level; arguments are those of `pool_level`."""
        op = roi_align_max if self.aggregation == "max" else roi_align
        arguments = (self.output_size, scale, self.sampling_ratio, self.aligned)
        return op(to_float32(features), rois, *arguments).to(features.dtype)

    def extra_repr(self) -> str:
        """The arguments, for the printed model."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.ARGUMENTS)


def to_float32(features: Tensor) -> Tensor:
    """Float64 as it is, all else as float32, in which many samples are summed.

    The kernels have no bfloat16 on the CPU.
    """
    return features.to(torch.promote_types(features.dtype, torch.float32))


def quantize_rois(rois: Tensor, scale: float | Tensor) -> Tensor:
    """R x 5 `rois` in cells of a feature map, their sides between cells and at least a cell apart.

    The corners are rounded as RoIPool rounds them. `scale` is 1 / stride of the feature map.
    """
    low, high = (rois[:, 1:] * scale + 0.5).floor().split(2, dim=1)
    return torch.cat([rois[:, :1], low, high.maximum(low + 1)], dim=1)


def roi_align_max(
    features: Tensor, rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> Tensor:
    """The largest of a bin's bilinear samples (Table 2c), R x C x height x width.

    Arguments, and the points that are sampled, are those of torchvision's `roi_align`: float32 or
    float64 features, N x C x H x W, and R x 5 boxes, which get no gradient. The samples at one
    place in every bin are what that kernel gives, with one sample a bin, for the box moved by as
    much as the place is off the bin's centre: one call samples all of them. (A box without extent
    has one sample a bin where torchvision's adaptive number is none.)
    """
    bins, counts = bins_and_counts(rois, size, scale, ratio, aligned)
    # Boxes with as many samples a bin come to lie side by side, and a view has them together.
    order = counts.prod(dim=1).argsort(stable=True)
    counts = counts[order]
    moved, _ = moved_boxes(rois[order], bins[order], counts, scale)
    pooled: Tensor = _Largest.apply(features, moved, counts.prod(dim=1), size, scale, aligned)
    return pooled[order.argsort()]


def corner_and_extent(rois: Tensor, scale: float | Tensor, aligned: bool) -> tuple[Tensor, Tensor]:
    """Top left corner and extent of boxes in cells, each R x 2 as x, y, as the kernel has them."""
    low, high = (rois[:, 1:] * scale - (0.5 if aligned else 0.0)).split(2, dim=1)
    return low, high - low if aligned else (high - low).clamp(min=1)


def bins_and_counts(
    rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """The sides of each box's bins in cells, and its samples along a bin; each R x 2 as x, y."""
    bins = corner_and_extent(rois, scale, aligned)[1] / rois.new_tensor(size).flip(0)
    if ratio > 0:
        return bins, torch.full_like(bins, ratio).long()
    return bins, bins.ceil().clamp(min=1).long()


def moved_boxes(rois: Tensor, bins: Tensor, counts: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Each box once for each sample of a bin, moved from the bin's centre to the sample.

    Returns the S x 5 moved boxes, those of one box in a row, and the index of each one's box, S.
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
    def forward(ctx: Any, features: Tensor, moved: Tensor, totals: Tensor, *grid: Any) -> Tensor:
        size, scale, aligned = grid
        sampled = roi_align(features, moved, size, scale, 1, aligned)
        numbers, boxes = totals.unique(return_counts=True)
        # Boxes with as many samples lie side by side: each such run is a view, boxes x samples.
        values = [sampled[:0]]
        winners = [totals.new_zeros(sampled[:0].shape)]
        start = 0
        for number, count in zip(numbers.tolist(), boxes.tolist(), strict=True):
            stop = start + number * count
            largest = sampled[start:stop].unflatten(0, (count, number)).max(dim=1)
            first = torch.arange(start, stop, number, device=totals.device)
            values.append(largest.values)
            winners.append(largest.indices + first[:, None, None, None])
            start = stop
        ctx.save_for_backward(moved, torch.cat(winners).int())
        ctx.shape = features.shape
        ctx.grid = grid
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        (moved, winners) = ctx.saved_tensors
        _, channels, height, width = ctx.shape
        index, weight = _neighbours(moved, height, width, *ctx.grid)
        # For each value kept: which moved box and bin it is from, and where its channel begins.
        bins = torch.arange(winners.shape[2:].numel(), device=moved.device)
        kept = winners.flatten(2).long() * len(bins) + bins
        image = moved[winners[:, 0, 0, 0].long(), 0].long()
        channel = image[:, None] * channels + torch.arange(channels, device=moved.device)
        plane = channel[:, :, None] * (height * width)
        flat = gradient.new_zeros(ctx.shape).flatten()
        for cell, share in zip(index, weight, strict=True):
            values = share[kept] * gradient.flatten(2)
            flat.scatter_add_(0, (cell[kept] + plane).flatten(), values.flatten())
        return flat.view(ctx.shape), None, None, None, None, None


def _neighbours(
    moved: Tensor, height: int, width: int, size: tuple[int, int], scale: float, aligned: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """The four cells around the centre of each bin of each box, and their bilinear weights.

    Returns four index tensors into a height x width map and four weights, each over boxes and bins,
    flattened. As in the kernel, a point up to one cell outside takes the border's value, one
    further out takes none.
    """
    low, extents = corner_and_extent(moved, scale, aligned)
    sides: list[tuple[list[Tensor], list[Tensor]]] = []
    for axis, (bins, cells) in enumerate(zip(reversed(size), (width, height), strict=True)):
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


def require_square(shape: ShapeSpec) -> None:
    """Raise a UserError where RoI features are not as wide as high: masks and heat maps are."""
    if shape.width != shape.height:
        raise UserError(
            "masks and heat maps are made of square RoI features",
            key="input_shape",
            found=f"height {shape.height}, width {shape.width}",
            expected="one number as output_size of the head's pooler",
        )


def with_fields(instances: Sequence[Instances], **fields: Tensor) -> list[Instances]:
    """New Instances with the fields of each image's, and its share of the values in `fields`.

    Those are of the instances of all images, one image after another.
    """
    counts = [len(image) for image in instances]
    shares = zip(*(values.split(counts) for values in fields.values()), strict=True)
    return [
        Instances(image.image_size, **image.get_fields(), **dict(zip(fields, share, strict=True)))
        for image, share in zip(instances, shares, strict=True)
    ]
