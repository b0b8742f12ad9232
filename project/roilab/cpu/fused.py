"""Residual blocks whose sums and ReLUs are part of their convolutions, on the CPU.

oneDNN adds and clips what it has just computed, before it leaves the processor's cache. PyTorch has
such convolutions for what its compiler makes; they have no gradient.
"""

import torch
import torch.nn.functional as F
from detectron2.modeling.backbone.resnet import BottleneckBlock
from torch import Tensor, nn

from roilab.cpu.winograd import WinogradConv2d


def fuse_blocks(model: nn.Module) -> None:
    """Let bottleneck blocks without norms fuse their convolutions; in place."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, _OPERATOR)):
        return
    for block in model.modules():
        if type(block) is BottleneckBlock and all(map(_is_plain, _convolutions(block))):
            block.__class__ = FusedBottleneckBlock


class FusedBottleneckBlock(BottleneckBlock):
    """Detectron2's block for inference."""

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x D x H' x W'."""
        out = _clipped(self.conv2, _clipped(self.conv1, x))
        shortcut = x if self.shortcut is None else self.shortcut(x)
        conv = self.conv3
        out, shortcut = (each.to(conv.weight.dtype) for each in (out, shortcut))
        arguments = (conv.padding, conv.stride, conv.dilation, conv.groups)
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            out, shortcut, conv.weight, conv.bias, *arguments, "add", 1.0, "relu", [], ""
        )
        return fused


_OPERATOR = "_convolution_pointwise"


def _convolutions(block: BottleneckBlock) -> list[nn.Module]:
    return [block.conv1, block.conv2, block.conv3]


def _is_plain(conv: nn.Module) -> bool:
    """Whether there is nothing between a convolution and what the block does with it."""
    rest = (getattr(conv, "norm", None), getattr(conv, "activation", None))
    return isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" and rest == (None, None)


def _clipped(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution and its ReLU."""
    x = x.to(conv.weight.dtype)
    if isinstance(conv, WinogradConv2d) and x.dtype == torch.float32 and conv.pays(x.shape):
        return F.relu_(conv(x))
    arguments = (conv.padding, conv.stride, conv.dilation, conv.groups)
    fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, conv.weight, conv.bias, *arguments, "relu", [], ""
    )
    return fused
