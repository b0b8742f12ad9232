"""Faster layers built in the place of a model's own, with the same parameters and results.

`optimize` serves training and everything after it. `optimize_for_inference` prepares a model that
no longer learns: frozen norms become part of the convolutions before them, which changes results by
rounding. Its fast mode computes the heavy layers in bfloat16 where the hardware multiplies that
faster; what is read as a number stays float32: the scores and boxes of the box head, and the maps
in which keypoints are found.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from roilab.cpu import fused_block, winograd
from roilab.cpu.fused_block import FusedBottleneckBlock
from roilab.cpu.group_norm import ChannelsLastGroupNorm
from roilab.cpu.heatmap_argmax import bicubic_by_windows
from roilab.cpu.roi_align import SummingRoIPooler
from roilab.cpu.winograd import WinogradConv2d
from roilab.device import dtype_of
from roilab.modeling.decoders import bicubic
from roilab.modeling.keypoint_heads import KeypointHead
from roilab.modeling.poolers import RoIPooler

# The layer for the place of another; None: that one stays.
Build = Callable[[nn.Module], nn.Module | None]
_HEAVY = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def winograd_conv2d(layer: nn.Module) -> nn.Module | None:
    """3x3 convolutions by Winograd."""
    fits = isinstance(layer, nn.Conv2d) and winograd.has_winograd_form(layer)
    return WinogradConv2d(cast(nn.Conv2d, layer)) if fits else None


def group_norm(layer: nn.Module) -> nn.Module | None:
    """GroupNorm with another gradient."""
    return ChannelsLastGroupNorm(layer) if type(layer) is nn.GroupNorm else None


def roi_align(layer: nn.Module) -> nn.Module | None:
    """RoIAlign by sums of embeddings."""
    average = type(layer) is RoIPooler and layer.op != "roi_pool" and layer.aggregation == "average"
    return SummingRoIPooler(cast(RoIPooler, layer)) if average else None


def heatmap_windows(layer: nn.Module) -> nn.Module | None:
    """Decoding of heat maps by windows: a function that the head calls."""
    if isinstance(layer, KeypointHead) and layer.decode_maps is bicubic:
        layer.decode_maps = bicubic_by_windows
    return None


PARTS = (winograd_conv2d, group_norm, roi_align, heatmap_windows)


def optimize(model: nn.Module, parts: Sequence[Build] = PARTS) -> nn.Module:
    """The model with faster convolutions, GroupNorms, RoI poolers and keypoint decoding.

    The new layers share the parameters of the old ones, under the same names. Elsewhere than on the
    CPU they compute what the old ones do.
    """
    for part in parts:
        model = replace_layers(model, part)
    return model


def replace_layers(model: Any, build: Build) -> Any:
    """The model with new layers wherever it refers to the old ones.

    Modules keep layers in lists of their own beside the registered ones: Detectron2's FPN does.
    """
    replaced = {layer: new for layer in model.modules() if (new := build(layer)) is not None}
    for layer, new in replaced.items():
        new.training = layer.training
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
    if cpu_kernels and device.type == "cpu" and fused_block.is_available():
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


class _Autocast(nn.Module):
    def __init__(self, model: nn.Module, device_type: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.device_type, self.dtype = model, device_type, dtype

    def autocast(self) -> torch.autocast:
        """The precision of the model, as a context."""
        return torch.autocast(self.device_type, self.dtype)

    def forward(self, inputs: Any) -> Any:
        with self.autocast():
            return self.model(inputs)


class _Float32(nn.Module):
    """A layer that computes in float32 whatever the model's precision."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return self.layer(x.float())


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


def _fused(layer: nn.Module) -> nn.Module | None:
    if type(layer) is BottleneckBlock and fused_block.can_fuse(layer):
        return FusedBottleneckBlock(layer)
    return None


def _answering(model: nn.Module) -> Iterator[nn.Module]:
    """The layers whose outputs are scores, boxes or the maps of keypoints."""
    for head in model.modules():
        if isinstance(head, FastRCNNOutputLayers):
            yield from (head.cls_score, head.bbox_pred)
        elif isinstance(head, KeypointHead):
            names = ("score_lowres", "classify_x", "classify_y")
            yield from (layer for name, layer in head.named_children() if name in names)
