"""Faster layers in place of a model's own: exact for training; folded or bfloat16 for inference.

`optimize` serves training and everything after it. `optimize_for_inference` prepares a model that
no longer learns: frozen norms become part of the convolutions before them, which changes results by
rounding, and so do the sums and ReLUs of residual blocks on the CPU. Its fast mode computes the
heavy layers in bfloat16 where the hardware multiplies that faster; what is read as a number stays
float32: the scores and boxes of the box head, and the maps in which keypoints are found.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from detectron2.layers import CNNBlockBase, Conv2d, FrozenBatchNorm2d
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from roilab.cpu.group_norm import ChannelsLastGroupNorm
from roilab.cpu.heatmap_argmax import bicubic_by_windows
from roilab.cpu.roi_align import SummingRoIPooler
from roilab.cpu.winograd import WinogradConv2d
from roilab.device import dtype_of
from roilab.modeling.decoders import bicubic
from roilab.modeling.keypoint_heads import KeypointHead
from roilab.modeling.poolers import RoIPooler

# The layer for the place of another; None: that one stays.
Build = Callable[[Any], nn.Module | None]
_HEAVY = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def winograd_conv2d(layer: Any) -> nn.Module | None:
    """3x3 convolutions by Winograd."""
    if type(layer) not in (nn.Conv2d, Conv2d):
        return None
    is_plain = layer.stride == layer.dilation == (1, 1) and layer.groups == 1
    is_padded = layer.padding == (1, 1) and layer.padding_mode == "zeros"
    fits = layer.kernel_size == (3, 3) and is_plain and is_padded
    return WinogradConv2d(layer) if fits else None


def group_norm(layer: nn.Module) -> nn.Module | None:
    """GroupNorm with another gradient."""
    return ChannelsLastGroupNorm(layer) if type(layer) is nn.GroupNorm else None


def roi_align(layer: Any) -> nn.Module | None:
    """RoIAlign by sums of embeddings."""
    average = type(layer) is RoIPooler and layer.op != "roi_pool" and layer.aggregation == "average"
    return SummingRoIPooler(layer) if average else None


def heatmap_windows(layer: nn.Module) -> nn.Module | None:
    """Decoding of heat maps by windows: a function that the head calls, which itself stays."""
    if isinstance(layer, KeypointHead) and layer.decode_maps is bicubic:
        layer.decode_maps = bicubic_by_windows
    return None


PARTS: Sequence[Build] = (winograd_conv2d, group_norm, roi_align, heatmap_windows)


def optimize(model: nn.Module, parts: Sequence[Build] | None = None) -> nn.Module:
    """The model with faster convolutions, GroupNorms, RoI poolers and keypoint decoding.

    The new layers share the parameters of the old ones, under the same names. Elsewhere than on the
    CPU they compute what the old ones do. On processors with bfloat16 instructions, whose direct
    convolutions are faster in float32, too, Winograd is no part unless it is named.
    """
    if parts is None:
        is_slower = dtype_of("auto", torch.device("cpu")) == torch.bfloat16
        parts = [part for part in PARTS if part is not winograd_conv2d or not is_slower]
    for part in parts:
        model = replace_layers(model, part)
    return model


def replace_layers(model: Any, build: Build) -> Any:
    """The model with new layers wherever it refers to the old ones.

    Modules keep layers in lists of their own beside the registered ones: Detectron2's FPN does.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for layer in model.modules():
        new = build(layer)
        if new is not None:
            new.training = layer.training
            replaced[layer] = new
    for parent in [*model.modules(), *replaced.values()]:
        for name, child in list(parent._modules.items()):
            if replaced.get(child, parent) is not parent:  # a wrapper keeps what it wraps
                parent.register_module(name, replaced[child])
        for value in vars(parent).values():
            if isinstance(value, list):
                value[:] = [replaced.get(x, x) if isinstance(x, nn.Module) else x for x in value]
    return replaced.get(model, model)


def optimize_for_inference(model: nn.Module, *, fast: bool, cpu_kernels: bool = True) -> nn.Module:
    """The model in evaluation mode, changed in place: it can no longer be trained or saved.

    Args:
        fast: compute in bfloat16 where that is faster.
        cpu_kernels: build fused blocks on the CPU.
    """
    model = model.eval().requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            _fold_norm(layer)
    model = model.to(memory_format=torch.channels_last)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    on_cpu = cpu_kernels and device.type == "cpu" and torch.backends.mkldnn.is_available()
    # Not every build of PyTorch has the operator of its compiler.
    if on_cpu and hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        model = replace_layers(model, _fused)

    dtype = dtype_of("auto", device) if fast else torch.float32
    if dtype == torch.float32:
        return model
    exact = set(_answering(model))
    for layer in model.modules():
        if isinstance(layer, _HEAVY) and layer not in exact:
            layer.to(dtype)
    model = replace_layers(model, lambda layer: _Float32(layer) if layer in exact else None)
    return _Autocast(model, device.type, dtype)


def _fold_norm(conv: Any) -> None:
    """Let a Conv2d do what its frozen or evaluated BatchNorm does behind it."""
    norm = getattr(conv, "norm", None)
    if not isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
        return
    if norm.running_mean is None or norm.running_var is None:  # a norm of each batch
        return
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
    conv.norm = None


def _fused(layer: Any) -> nn.Module | None:
    """A block for one with nothing between its convolutions and its sum and ReLUs."""
    plain = type(layer) is BottleneckBlock and all(
        isinstance(conv, nn.Conv2d)
        and conv.padding_mode == "zeros"
        and getattr(conv, "norm", None) is None
        and getattr(conv, "activation", None) is None
        for conv in (layer.conv1, layer.conv2, layer.conv3)
    )
    return FusedBottleneckBlock(layer) if plain else None


class FusedBottleneckBlock(CNNBlockBase):
    """Detectron2's BottleneckBlock on the CPU, its sums and ReLUs as parts of its convolutions.

    It has the layers of the one in whose place it stands. oneDNN adds and clips what it has just
    computed, before it leaves the processor's cache. PyTorch has such convolutions for its
    compiler; they have no gradient.
    """

    def __init__(self, block: BottleneckBlock) -> None:
        super().__init__(block.in_channels, block.out_channels, block.stride)
        self.shortcut = block.shortcut
        self.conv1, self.conv2, self.conv3 = block.conv1, block.conv2, block.conv3

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x D x H' x W'."""
        out = _with_relu(self.conv2, _with_relu(self.conv1, x))
        shortcut = x if self.shortcut is None else self.shortcut(x)
        conv = self.conv3
        dtype = conv.weight.dtype
        tensors = (out.to(dtype), shortcut.to(dtype), conv.weight, conv.bias)
        sum_and_relu: tuple[Any, ...] = ("add", 1.0, "relu", [], "")
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            *tensors, *_geometry(conv), *sum_and_relu
        )
        return fused


def _geometry(conv: nn.Conv2d) -> tuple[Any, ...]:
    """The arguments of oneDNN's convolutions that follow the weights."""
    return conv.padding, conv.stride, conv.dilation, conv.groups


def _with_relu(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution and the ReLU behind it."""
    x = x.to(conv.weight.dtype)
    if isinstance(conv, WinogradConv2d) and x.dtype == torch.float32 and conv.pays(x.shape):
        return F.relu_(conv(x))
    fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, conv.weight, conv.bias, *_geometry(conv), "relu", [], ""
    )
    return fused


def _answering(model: nn.Module) -> Iterator[nn.Module]:
    """The layers whose outputs are scores, boxes or the maps of keypoints."""
    for head in model.modules():
        if isinstance(head, FastRCNNOutputLayers):
            yield from (head.cls_score, head.bbox_pred)
        elif isinstance(head, KeypointHead):
            names = ("score_lowres", "classify_x", "classify_y")
            yield from (layer for name, layer in head.named_children() if name in names)


class _Float32(nn.Module):
    """A layer that computes in float32 whatever the model's precision."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return self.layer(x.float())


class _Autocast(nn.Module):
    """A model that computes in a precision."""

    def __init__(self, model: nn.Module, device_type: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.autocast = partial(torch.autocast, device_type, dtype)  # a new context at each call

    def forward(self, inputs: Any) -> Any:
        with self.autocast():
            return self.model(inputs)
