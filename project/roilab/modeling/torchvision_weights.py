"""Weights of torchvision's R-CNNs (ResNet-50 with FPN) as Detectron2's, and its rounded anchors.

Beside the names, torchvision differs in the order of classes (its background comes first), and in
what the weights were trained on: RGB in units of the standard deviation, strides in the 3x3
convolutions, rounded anchors, poolers that are not aligned. The settings of a config for it are
`torchvision_weights` in configs/common/train.py.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import torch
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.resnet import BottleneckBlock
from torch import Tensor, nn
from torchvision.models import get_weight

# The weights that torchvision evaluates with eps=0 in its normalisations.
_WITHOUT_EPS = tuple(
    f"{model}_ResNet50_FPN_Weights.COCO_V1" for model in ("FasterRCNN", "MaskRCNN", "KeypointRCNN")
)
_EPS = 1e-5  # of FrozenBatchNorm2d, in both libraries
_COCO_CLASSES = 80
_BLOCK = r"backbone.body.layer(\d).(\d+)."
_RES_BLOCK = "backbone.bottom_up.res{0}.{2}."
# How torchvision's names of parameters begin, and Detectron2's; the layers are counted from 1
# there. A ".0" in brackets is missing in files before torchvision 0.13.
_RENAMED: Sequence[tuple[str, str, int]] = (
    (r"backbone.body.conv1", "backbone.bottom_up.stem.conv1", 0),
    (r"backbone.body.bn1", "backbone.bottom_up.stem.conv1.norm", 0),
    (_BLOCK + r"conv(\d)", _RES_BLOCK + "conv{3}", 1),
    (_BLOCK + r"bn(\d)", _RES_BLOCK + "conv{3}.norm", 1),
    (_BLOCK + r"downsample.0", _RES_BLOCK + "shortcut", 1),
    (_BLOCK + r"downsample.1", _RES_BLOCK + "shortcut.norm", 1),
    (r"backbone.fpn.inner_blocks.(\d)(?:\.0)?", "backbone.fpn_lateral{0}", 2),
    (r"backbone.fpn.layer_blocks.(\d)(?:\.0)?", "backbone.fpn_output{0}", 2),
    (r"rpn.head.conv(?:\.0\.0)?", "proposal_generator.rpn_head.conv", 0),
    (r"rpn.head.cls_logits", "proposal_generator.rpn_head.objectness_logits", 0),
    (r"rpn.head.bbox_pred", "proposal_generator.rpn_head.anchor_deltas", 0),
    (r"roi_heads.box_head.fc6", "roi_heads.box_head.fc1", 0),
    (r"roi_heads.box_head.fc7", "roi_heads.box_head.fc2", 0),
    (r"roi_heads.mask_head.(\d).0", "roi_heads.mask_head.mask_fcn{0}", 1),
    (r"roi_heads.mask_predictor.conv5_mask", "roi_heads.mask_head.deconv", 0),
    (r"roi_heads.mask_predictor.mask_fcn_logits", "roi_heads.mask_head.predictor", 0),
    (r"roi_heads.keypoint_predictor.kps_score_lowres", "roi_heads.keypoint_head.score_lowres", 0),
)


def is_of_torchvision(names: Mapping[str, Any]) -> bool:
    """Whether weights have the names of torchvision's detectors with a ResNet and FPN."""
    return "backbone.body.conv1.weight" in names


def detectron2_name(name: str) -> str:
    """Detectron2's name of a parameter of torchvision's; others keep theirs."""
    if match := re.match(r"roi_heads.keypoint_head.(\d+)", name):  # every second layer is a ReLU
        return f"roi_heads.keypoint_head.conv_fcn{int(match[1]) // 2 + 1}{name[match.end() :]}"
    for pattern, there, first in _RENAMED:
        if match := re.match(pattern, name):
            number = int(match[1]) + first if first else 0
            return there.format(number, *match.groups()) + name[match.end() :]
    return name


def to_detectron2(
    weights: Mapping[str, Tensor], num_classes: int, *, source: str = ""
) -> dict[str, Tensor]:
    """Weights of a torchvision Faster, Mask or Keypoint R-CNN (R50-FPN) as those of Detectron2's.

    Args:
        weights: torchvision's state dict, of any version; it is not touched.
        num_classes: of the model. With 80 of them, the 91 numbers of torchvision's COCO weights,
            of which 10 are unused, become COCO's 80 classes.
        source: the file or URL that the weights came from: torchvision evaluates its own files with
            another eps in the normalisations.
    """
    without_eps = {PurePath(get_weight(name).url).name for name in _WITHOUT_EPS}
    eps = 0.0 if PurePath(source).name in without_eps else _EPS
    result = {}
    for old, value in weights.items():
        if old.endswith("num_batches_tracked"):
            continue
        name = detectron2_name(old)
        if ".norm.running_var" in name:
            value = value + (eps - _EPS)
        elif re.search(r"\.(box_predictor\.cls_score|mask_head\.predictor)\.", name):
            value = _classes(value, num_classes)
            # Detectron2 has the background last, and no mask of it.
            value = value[1:] if "mask_head" in name else value.roll(-1, dims=0)
        elif ".box_predictor.bbox_pred." in name:
            value = _classes(value.unflatten(0, (-1, 4)), num_classes)[1:].flatten(0, 1)
        result[name] = value
    return result


def _classes(value: Tensor, num_classes: int) -> Tensor:
    """Rows for the background and the classes, without the numbers that COCO does not use."""
    categories = get_weight(_WITHOUT_EPS[0]).meta["categories"]
    if num_classes != _COCO_CLASSES or len(value) != len(categories):
        return value
    return value[[index for index, name in enumerate(categories) if name != "N/A"]]


def unmet_settings(model: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Input format and strides of a Detectron2 model that are not those of torchvision's weights.

    With others, the weights fit by name and shape, but the model finds little.

    Returns:
        Key of the config -> value in the model, value that is needed; empty where all is well.
    """
    needed: dict[str, Any] = {
        "input_format": "RGB",
        "pixel_mean": [123.675, 116.28, 103.53],
        "pixel_std": [58.395, 57.12, 57.375],
    }
    values = {"input_format": getattr(model, "input_format", None)}
    for key in ("pixel_mean", "pixel_std"):
        values[key] = [round(value, 3) for value in getattr(model, key).flatten().tolist()]
    unmet = {f"model.{k}": (values[k], needed[k]) for k in needed if values[k] != needed[k]}
    blocks = [module for module in model.modules() if isinstance(module, BottleneckBlock)]
    if any(block.conv1.stride != (1, 1) for block in blocks):
        unmet["model.backbone.bottom_up.stages.stride_in_1x1"] = (True, False)
    return unmet


class TorchvisionAnchorGenerator(DefaultAnchorGenerator):
    """Torchvision's anchors: of whole pixels, as far apart as the feature map divides the image.

    Detectron2's are not rounded, and as far apart as the strides say: the coarsest map, which is
    half of an odd number of cells rounded up, has them farther apart than torchvision's.

    Arguments as for Detectron2's DefaultAnchorGenerator; the first of `strides` divides the image.
    """

    def generate_cell_anchors(
        self, sizes: Sequence[float] = (), aspect_ratios: Sequence[float] = ()
    ) -> Tensor:
        """The boxes of one cell, N x 4 around 0: for each size, all ratios."""
        return super().generate_cell_anchors(sizes, aspect_ratios).round()

    def _grid_anchors(self, grid_sizes: Sequence[Sequence[int]]) -> list[Tensor]:
        height, width = (side * self.strides[0] for side in grid_sizes[0])
        result = []
        for (rows, columns), anchors in zip(grid_sizes, self.cell_anchors, strict=True):
            y = torch.arange(rows, device=anchors.device) * (height // rows)
            x = torch.arange(columns, device=anchors.device) * (width // columns)
            y, x = (axis.flatten() for axis in torch.meshgrid(y, x, indexing="ij"))
            shifts = torch.stack([x, y, x, y], dim=1)
            result.append((shifts[:, None] + anchors).flatten(0, 1))
        return result
