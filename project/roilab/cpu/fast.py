"""A model made for inference alone.

Frozen norms become part of the convolutions before them, which changes results by rounding. If it
is to be fast, the heavy layers work in bfloat16 where the hardware multiplies that faster; what is
read as a number keeps float32: the scores and boxes of the box head, and the maps in which
keypoints are found.
"""

from collections.abc import Iterator
from typing import Any

import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from roilab.cpu.fused import fuse_blocks
from roilab.device import dtype_of
from roilab.modeling.keypoint_heads import KeypointHead

_HEAVY = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def for_inference(model: nn.Module, *, fast: bool) -> nn.Module:
    """The model in evaluation mode, changed in place: it can be trained and saved no longer."""
    model = model.eval().requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            _fold_norm(layer)
    model = model.to(memory_format=torch.channels_last)
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    if device.type == "cpu":
        fuse_blocks(model)
    dtype = dtype_of("auto", device) if fast else torch.float32
    if dtype == torch.float32:
        return model
    exact = set(_answering(model))
    for layer in model.modules():
        if layer in exact:
            _keep_float32(layer)
        elif isinstance(layer, _HEAVY):
            layer.to(dtype)
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


def _fold_norm(conv: Any) -> None:
    """Let a Conv2d do what its frozen or evaluated BatchNorm does behind it."""
    norm = getattr(conv, "norm", None)
    if not isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
        return
    if norm.running_mean is None or norm.running_var is None:  # a norm of each batch
        return
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    conv.norm = None


def _answering(model: nn.Module) -> Iterator[nn.Module]:
    """The layers whose outputs are scores, boxes or the maps of keypoints."""
    for head in model.modules():
        if isinstance(head, FastRCNNOutputLayers):
            yield from (head.cls_score, head.bbox_pred)
        elif isinstance(head, KeypointHead):
            names = ("score_lowres", "classify_x", "classify_y")
            yield from (layer for name, layer in head.named_children() if name in names)


def _keep_float32(layer: nn.Module) -> None:
    forward = layer.forward

    def exactly(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())

    layer.forward = exactly
