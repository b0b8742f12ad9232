"""RoI poolers by the names of the Mask R-CNN paper."""

from collections.abc import Sequence

import torch
from detectron2.modeling.poolers import ROIPooler
from torch import nn
from torchvision.ops import RoIPool

from roilab.errors import UserError

# RoIAlignV2 moves RoIAlign's samples by half a pixel, so that they lie where the box says.
_DETECTRON2_NAMES = {"RoIPool": "ROIPool", "RoIAlign": "ROIAlign", "RoIAlignV2": "ROIAlignV2"}


def roi_pooler(
    op: str, output_size: int, scales: Sequence[float], sampling_ratio: int = 0
) -> ROIPooler:
    """Detectron2's pooler over the levels of a pyramid.

    Args:
        op: RoIPool (max over quantised cells, Fast R-CNN), RoIAlign (average of bilinear samples,
            Mask R-CNN Sec. 3) or RoIAlignV2 (the same, aligned to pixel centres).
        output_size: side of the square output.
        scales: of the levels: 1 / stride.
        sampling_ratio: samples a side of a cell, 0: as many as it has pixels. RoIPool has none.

    Raises:
        UserError: an unknown op.
    """
    if op not in _DETECTRON2_NAMES:
        raise UserError(
            "unknown pooler", key="pooler.op", found=op, expected=", ".join(_DETECTRON2_NAMES)
        )
    pooler = ROIPooler(
        output_size=output_size,
        scales=tuple(scales),
        sampling_ratio=sampling_ratio,
        pooler_type=_DETECTRON2_NAMES[op],
    )
    if op == "RoIPool":
        pooler.level_poolers = nn.ModuleList(
            AnyPrecisionRoIPool(output_size, scale) for scale in scales
        )
    return pooler


class AnyPrecisionRoIPool(RoIPool):
    """torchvision's RoIPool also for bfloat16 features, for which its CPU kernel has no code.

    Features N x C x H x W of any dtype and rois R x 5 -> R x C x S x S in the same dtype,
    computed in float32, as torchvision's RoIAlign does under autocast.
    """

    def forward(self, input: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        return super().forward(input.float(), rois.float()).to(input.dtype)
