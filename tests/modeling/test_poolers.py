"""Poolers against torchvision and against what the words mean."""

import pytest
import torch
from detectron2.structures import Boxes
from torchvision.ops import roi_align, roi_pool

from roilab.errors import UserError
from roilab.modeling.poolers import roi_pooler

BOXES = torch.tensor([[0.0, 0.0, 16.0, 16.0], [8.0, 4.0, 40.0, 60.0], [3.3, 7.1, 22.8, 30.4]])


def pool(op: str, features: torch.Tensor, boxes: torch.Tensor = BOXES) -> torch.Tensor:
    return roi_pooler(op, 4, [0.25], sampling_ratio=2)([features], [Boxes(boxes)])


@pytest.mark.parametrize(
    ("op", "reference"),
    [
        ("RoIPool", lambda f, b: roi_pool(f, b, 4, 0.25)),
        ("RoIAlign", lambda f, b: roi_align(f, b, 4, 0.25, 2, aligned=False)),
        ("RoIAlignV2", lambda f, b: roi_align(f, b, 4, 0.25, 2, aligned=True)),
    ],
)
def test_equal_to_torchvision(op: str, reference) -> None:
    features = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pool(op, features), reference(features, [BOXES]))


def test_aligned_average_of_a_ramp_is_the_centre_of_each_cell() -> None:
    """RoIAlignV2 of f(x) = x + 1/2 at stride 4 gives the cells' centres: nothing is quantised."""
    ramp = (torch.arange(16.0) + 0.5).expand(1, 1, 16, 16)
    box = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    centres = (8 + (torch.arange(4) + 0.5) * 8) / 4
    assert torch.allclose(pool("RoIAlignV2", ramp, box)[0, 0, 0], centres)


@pytest.mark.parametrize("op", ["RoIPool", "RoIAlign", "RoIAlignV2"])
def test_bfloat16_features_are_pooled_and_learn(op: str) -> None:
    """Under autocast features are bfloat16 and boxes float32; every op must take both."""
    features = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pool(op, features)
    assert pooled.dtype == torch.bfloat16
    exact = pool(op, features.detach().float())
    assert torch.allclose(pooled.float(), exact, atol=1e-2)
    pooled.sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0


def test_no_boxes_give_an_empty_result() -> None:
    for op in ("RoIPool", "RoIAlign", "RoIAlignV2"):
        assert pool(op, torch.rand(1, 3, 16, 16), torch.zeros(0, 4)).shape == (0, 3, 4, 4)


def test_unknown_op_names_the_known() -> None:
    with pytest.raises(UserError, match="RoIAlignV2"):
        roi_pooler("ROIAlign", 7, [0.25])
