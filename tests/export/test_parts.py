"""Every pooler and head in every format, against the same part of the model as it runs."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, Instances
from .recording import recorded
from torch import Tensor, nn

from roilab import modeling
from roilab.export.formats import FORMATS
from roilab.export.masks import instance_masks, paste
from roilab.modeling import DECODERS, KeypointHead, RoIPooler

COUNTS = (0, 1, 6)
CHANNELS, CLASSES = 8, 3
DYNAMIC = torch.export.Dim.DYNAMIC
MAPS = {2: DYNAMIC, 3: DYNAMIC}


def some_boxes(count: int) -> Tensor:
    """Of all sizes, in an image of 128 x 160 pixels."""
    torch.manual_seed(count)
    corner = torch.rand(count, 2) * torch.tensor([80.0, 60.0])
    side = 2 + torch.rand(count, 2) ** 2 * torch.tensor([75.0, 60.0])
    return torch.cat([corner, corner + side], dim=1)


def some_maps(height: int = 128, width: int = 160) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, CHANNELS, height // stride, width // stride) for stride in (4, 8)]


def assert_close(found: list[np.ndarray], expected: Any) -> None:
    assert len(found) == len(expected)
    for here, there in zip(found, expected, strict=True):
        assert here.shape == tuple(there.shape)
        np.testing.assert_allclose(here, there.numpy(), rtol=1e-3, atol=1e-3)


class Pooling(nn.Module):
    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        arguments = {"output_size": 7, "scales": (1 / 4, 1 / 8)} | arguments
        self.pooler = RoIPooler(**arguments)

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return self.pooler.in_one_image([a, b][: len(self.pooler.scales)], c)


@pytest.mark.parametrize(
    "arguments",
    [
        {"op": "roi_align"},
        {"op": "roi_align", "aligned": False, "sampling_ratio": 2},
        {"op": "roi_align", "aggregation": "max"},
        {"op": "roi_align", "aggregation": "max", "sampling_ratio": 2, "aligned": False},
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
        expected = part.pooler(maps[:levels], [Boxes(boxes)])
        for name in FORMATS:
            assert_close(calls[name](*maps, boxes), [expected])
