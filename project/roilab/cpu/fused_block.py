"""A residual block for inference whose sums and ReLUs are part of its convolutions, on the CPU.

oneDNN adds and clips what it has just computed, before it leaves the processor's cache. PyTorch has
such convolutions for its compiler; they have no gradient.
"""

import torch
import torch.nn.functional as F
from detectron2.layers import CNNBlockBase
from detectron2.modeling.backbone.resnet import BottleneckBlock
from torch import Tensor, nn

from roilab.cpu.winograd import WinogradConv2d

_OPERATOR = "_convolution_pointwise"


def is_available() -> bool:
    """Whether this build of PyTorch has the fused convolutions."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, _OPERATOR)


def can_fuse(block: BottleneckBlock) -> bool:
    """Whether nothing stands between the block's convolutions and its sum and ReLUs."""
    return all(
        isinstance(conv, nn.Conv2d)
        and conv.padding_mode == "zeros"
        and getattr(conv, "norm", None) is None
        and getattr(conv, "activation", None) is None
        for conv in (block.conv1, block.conv2, block.conv3)
    )


class FusedBottleneckBlock(CNNBlockBase):
    """Detectron2's BottleneckBlock with the layers of the one in whose place it stands."""

    def __init__(self, block: BottleneckBlock) -> None:
        super().__init__(block.in_channels, block.out_channels, block.stride)
        self.shortcut = block.shortcut
        self.conv1, self.conv2, self.conv3 = block.conv1, block.conv2, block.conv3

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x D x H' x W'."""
        out = _with_relu(self.conv2, _with_relu(self.conv1, x))
        shortcut = x if self.shortcut is None else self.shortcut(x)
        conv, dtype = self.conv3, self.conv3.weight.dtype
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            *(out.to(dtype), shortcut.to(dtype), conv.weight, conv.bias),
            *(conv.padding, conv.stride, conv.dilation, conv.groups),
            *("add", 1.0, "relu", [], ""),
        )
        return fused


def _with_relu(conv: nn.Conv2d, x: Tensor) -> Tensor:
    x = x.to(conv.weight.dtype)
    if isinstance(conv, WinogradConv2d) and x.dtype == torch.float32 and conv.pays(x.shape):
        return F.relu_(conv(x))
    arguments = (conv.padding, conv.stride, conv.dilation, conv.groups)
    fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, conv.weight, conv.bias, *arguments, "relu", [], ""
    )
    return fused
