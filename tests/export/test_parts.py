"""Every pooler and head in every format, against the same part of the model as it runs."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec, paste_masks_in_image
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from roilab import modeling
from roilab.export import parts
from roilab.export.formats import FORMATS
from roilab.export.parts import instance_masks, paste
from roilab.modeling import DECODERS, KeypointHead, RoIPooler

from .recording import recorded

COUNTS = (0, 1, 6)
IMAGE = (130, 161)
CHANNELS, CLASSES = 8, 3
DYNAMIC = torch.export.Dim.DYNAMIC
MAPS = {2: DYNAMIC, 3: DYNAMIC}


def some_boxes(count: int) -> Tensor:
    """Of all sizes, in the image."""
    torch.manual_seed(count)
    corner = torch.rand(count, 2) * torch.tensor([80.0, 60.0])
    side = 2 + torch.rand(count, 2) ** 2 * torch.tensor([75.0, 60.0])
    return torch.cat([corner, corner + side], dim=1)


def some_maps(height: int = 128, width: int = 160) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, CHANNELS, height // stride, width // stride) for stride in (4, 8)]


def assert_close(outputs: list[np.ndarray], expected: Any) -> None:
    assert len(outputs) == len(expected)
    for here, there in zip(outputs, expected, strict=True):
        assert here.shape == tuple(there.shape)
        np.testing.assert_allclose(here, there.numpy(), rtol=1e-3, atol=1e-3)


class Pooling(nn.Module):
    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        arguments = {"output_size": 7, "scales": (1 / 4, 1 / 8)} | arguments
        self.pooler = RoIPooler(**arguments)

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return parts.pool(self.pooler, [a, b][: len(self.pooler.scales)], c)


@pytest.mark.parametrize(
    "arguments",
    [
        {"op": "roi_align"},
        {"op": "roi_align", "aligned": False, "sampling_ratio": 2},
        {"op": "roi_align", "aggregation": "max"},
        {"op": "roi_warp"},
        {"op": "roi_warp", "aggregation": "max"},
        {"op": "roi_pool"},
        {"op": "roi_pool", "scales": (1 / 4,)},
    ],
    ids=lambda arguments: " ".join(map(str, arguments.values())),
)
def test_poolers(arguments: dict[str, Any]) -> None:
    part = Pooling(**arguments)
    levels = len(part.pooler.scales)
    # One size of all is to be told from another, and 0 and 1 from neither.
    calls = recorded(part, (*some_maps(), some_boxes(9)), (MAPS, MAPS, {0: DYNAMIC}))
    for count in COUNTS:
        maps, boxes = some_maps(96, 160), some_boxes(count)
        boxes[1::2, 2:] += 112  # which the coarser level is for
        expected = part.pooler(maps[:levels], [Boxes(boxes)])
        for name in FORMATS:
            assert_close(calls[name](*maps, boxes), [expected])


class Decoding(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.decode = parts.traced_bicubic if name == "bicubic" else DECODERS[name]

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(a, b)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders(name: str) -> None:
    def heat(count: int) -> Tensor:
        torch.manual_seed(count)
        return 3 * torch.randn(count, 2, 14, 14)

    count = {0: torch.export.Dim("count")}
    calls = recorded(Decoding(name), (heat(9), some_boxes(9)), (count, count))
    for count in COUNTS:
        boxes = some_boxes(count)
        expected = DECODERS[name](heat(count), boxes)
        for call in calls.values():
            assert_close(call(heat(count), boxes), expected)


class Keypoints(nn.Module):
    def __init__(self, kind: type[KeypointHead], arguments: dict[str, Any]) -> None:
        super().__init__()
        shape = ShapeSpec(channels=CHANNELS, width=14, height=14)
        self.head = kind(shape, num_keypoints=3, conv_dims=[16], **arguments)
        for parameter in self.head.parameters():
            nn.init.normal_(parameter, std=0.3)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.head.decode(self.head.layers(a), b)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("", {"decoder": "local_soft_argmax"}),
        ("Sigmoid", {"decoder": "quarter_shift"}),
        ("Gaussian", {"decoder": "dark"}),
        ("Integral", {}),
        ("SimCC", {}),
    ],
)
def test_keypoint_heads(name: str, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    part = Keypoints(getattr(modeling, f"{name}KeypointHead"), arguments)
    count = {0: torch.export.Dim("count")}
    calls = recorded(part, (torch.randn(9, CHANNELS, 14, 14), some_boxes(9)), (count, count))
    for count in COUNTS:
        features, boxes = torch.randn(count, CHANNELS, 14, 14), some_boxes(count)
        image = Instances((128, 160), pred_boxes=Boxes(boxes))
        with torch.no_grad():
            (expected,) = part.head.eval()(features, [image])
        for call in calls.values():
            keypoints, heat = call(features, boxes)
            assert keypoints.shape == (count, 3, 3)
            places, scores = expected.pred_keypoints.split([2, 1], dim=2)
            np.testing.assert_allclose(keypoints[..., :2], places, rtol=1e-3, atol=1e-2)
            np.testing.assert_allclose(keypoints[..., 2:], scores, atol=1e-3)
            np.testing.assert_allclose(heat, expected.pred_keypoint_heat, rtol=1e-3, atol=1e-2)


class Masks(nn.Module):
    """A mask head, its pooler and where its masks go in the image."""

    def __init__(self, kind: Any, arguments: dict[str, Any]) -> None:
        super().__init__()
        if kind is modeling.point_rend:
            shape: Any = {"p2": ShapeSpec(channels=CHANNELS, stride=4)}
            arguments = {"fc_dim": 16, "point_fc_dim": 16}
            self.pooler = None
        else:
            shape = ShapeSpec(channels=CHANNELS, width=14, height=14)
            self.pooler = RoIPooler("roi_align", 14, (1 / 4,))
        self.head = kind(shape, **{"num_classes": CLASSES} | arguments)
        if self.pooler is None:
            self.head.mask_point_subdivision_steps = 2  # of five, which are all alike
        for parameter in self.head.parameters():
            nn.init.normal_(parameter, std=0.2)

    def forward(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, ...]:
        heads = SimpleNamespace(
            mask_head=self.head, mask_pooler=self.pooler, mask_in_features=["p2"]
        )
        masks, iou = instance_masks(heads, {"p2": a}, b, c)
        pasted = paste(masks, b, d)
        return (masks, pasted) if iou is None else (masks, pasted, iou)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (modeling.MaskHead, {"conv_dims": [16, 16]}),
        (modeling.MaskHead, {"conv_dims": [16, 16], "num_classes": 1, "output_size": 20}),
        (modeling.MultinomialMaskHead, {"conv_dims": [16, 16]}),
        (modeling.MLPMaskHead, {"fc_dims": [16, 16], "output_size": 12}),
        (modeling.MaskScoringHead, {"conv_dims": [16, 16], "iou_conv_dims": [8, 8]}),
        (modeling.point_rend, {}),
    ],
)
def test_mask_heads(kind: Any, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    part, (level, _) = Masks(kind, arguments), some_maps()
    classes, size = torch.arange(9) % CLASSES, torch.tensor(IMAGE)
    number = {0: torch.export.Dim("count")}
    calls = recorded(part, (level, some_boxes(9), classes, size), (MAPS, number, number, None))
    for count in COUNTS:
        (level, _), boxes = some_maps(96, 160), some_boxes(count)
        classes = torch.arange(count) % CLASSES
        image = Instances((96, 160), pred_boxes=Boxes(boxes), pred_classes=classes)
        image.scores = torch.ones(count)
        pooled = part.pooler([level], [Boxes(boxes)]) if part.pooler else {"p2": level}
        with torch.no_grad():
            (expected,) = part.head.eval()(pooled, [image])
        pasted = paste_masks_in_image(expected.pred_masks[:, 0], boxes, IMAGE)
        for call in calls.values():
            masks, image_masks, *iou = call(level, boxes, classes, size)
            assert image_masks.dtype == bool
            assert image_masks.shape == (count, *IMAGE)
            if count:  # of none, PointRend's are of another side
                assert_close([masks], [expected.pred_masks[:, 0]])
            assert (image_masks != pasted.numpy()).sum() <= 2
            assert_close(iou, [expected.mask_scores] if expected.has("mask_scores") else [])
