"""RoI poolers: RoIPool, RoIWarp and RoIAlign over the levels of a pyramid.

RoIPool (Girshick, arXiv 1504.08083) quantises the box and its bins and takes the maximum. RoIWarp
(Dai et al., arXiv 1512.04412) quantises the box alone and samples bilinearly inside. RoIAlign (Mask
R-CNN, arXiv 1703.06870, Sec. 3) quantises nothing. Tables 2c, 2d and 6 of Mask R-CNN compare them.
"""

import difflib
import math
from collections.abc import Sequence

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import assign_boxes_to_levels, convert_boxes_to_pooler_format
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool

from roilab.errors import UserError, argument
from roilab.modeling.roi_align_max import roi_align_max

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
        for key, value, known in (("op", op, OPS), ("aggregation", aggregation, AGGREGATIONS)):
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
            raise UserError(
                "not a number of samples",
                key="sampling_ratio",
                found=sampling_ratio,
                expected="a whole number; 0: as many as a bin has cells",
            )
        sides = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise UserError(
                "not the size of a pooler's output",
                key="output_size",
                found=output_size,
                expected="a whole number from 1, or two: height and width",
            )
        self.op, self.aggregation, self.aligned = op, aggregation, aligned
        self.output_size, self.scales = (sides[0], sides[1]), tuple(scales)
        self.sampling_ratio = sampling_ratio

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Boxes]) -> Tensor:
        """Pool every box of every image.

        Args:
            features: for each level N x C x H x W, of any floating dtype.
            boxes: for each of the N images, in image pixels, continuous coordinates.

        Returns:
            R x C x height x width in the dtype of the features, the boxes in their order.
        """
        rois = convert_boxes_to_pooler_format(list(boxes))
        if len(self.scales) == 1:
            return self.pool_level(features[0], rois, self.scales[0])
        levels = self.levels(boxes)
        order = levels.argsort(stable=True)
        shares = rois[order].split(levels.bincount(minlength=len(self.scales)).tolist())
        parts = zip(features, shares, self.scales, strict=True)
        return torch.cat([self.pool_level(*part) for part in parts])[order.argsort()]

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
        """Pool boxes from one level.

        Args:
            features: N x C x H x W.
            rois: R x 5, image index and box in image pixels.
            scale: 1 / stride of the level.
        """
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
    """Float64 as it is, all else as float32.

    The kernels have no bfloat16 on the CPU; sums of many samples want float32 in any case.
    """
    return features.to(torch.promote_types(features.dtype, torch.float32))


def quantize_rois(rois: Tensor, scale: float | Tensor) -> Tensor:
    """Boxes in cells of a feature map whose sides lie between cells, at least one cell apart.

    Args:
        rois: R x 5, image index and box in image pixels.
        scale: 1 / stride of the feature map.

    Returns:
        R x 5, image index and box in cells. The corners are rounded as RoIPool rounds them.
    """
    low, high = (rois[:, 1:] * scale + 0.5).floor().split(2, dim=1)
    return torch.cat([rois[:, :1], low, high.maximum(low + 1)], dim=1)


def require_square(shape: ShapeSpec) -> None:
    """Make sure that RoI features are as wide as high: masks and heat maps are.

    Raises:
        UserError: they are not.
    """
    if shape.width != shape.height:
        raise UserError(
            "masks and heat maps are made of square RoI features",
            key="input_shape",
            found=f"height {shape.height}, width {shape.width}",
            expected="one number as output_size of the head's pooler",
        )


def with_fields(instances: Sequence[Instances], **fields: Tensor) -> list[Instances]:
    """New Instances that have, beside the fields of these, each one's share of others.

    Args:
        instances: of each image, which are not touched.
        fields: values for the instances of all images, one after another.
    """
    counts = [len(image) for image in instances]
    shares = zip(*(values.split(counts) for values in fields.values()), strict=True)
    return [
        Instances(image.image_size, **image.get_fields(), **dict(zip(fields, share, strict=True)))
        for image, share in zip(instances, shares, strict=True)
    ]
