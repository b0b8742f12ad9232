"""The CPU's own average, against torchvision's kernel."""

from typing import Any

import pytest
import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from roilab.cpu.optimize import optimize
from roilab.cpu.roi_align import SummingRoIPooler
from roilab.modeling import RoIPooler, poolers

SCALES = (1 / 4, 1 / 8, 1 / 16)
HEIGHT, WIDTH = 64, 96


def pyramid(*, channels: int = 3, images: int = 2, dtype: torch.dtype = torch.float32) -> Any:
    generator = torch.Generator().manual_seed(0)
    shapes = [(images, channels, int(HEIGHT * s), int(WIDTH * s)) for s in SCALES]
    return [
        torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes
    ]


def many_boxes() -> list[Boxes]:
    generator = torch.Generator().manual_seed(1)
    low = torch.rand(40, 2, generator=generator) * 90 - 20
    extent = torch.rand(40, 2, generator=generator) * 350  # for all three levels
    return [Boxes(torch.cat([low, low + extent], 1)), Boxes(torch.tensor([[1.0, 2, 30, 9]]))]


def pooled_and_gradients(
    pooler: Any, features: list[Tensor], boxes: list[Boxes]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """With a gradient that differs from value to value."""
    features = [level.detach().requires_grad_() for level in features]
    pooled = pooler(features, boxes)
    gradient = torch.rand(pooled.shape, generator=torch.Generator().manual_seed(2)).to(pooled)
    return pooled, torch.autograd.grad(pooled, features, gradient)


def summing(*arguments: Any, **more: Any) -> SummingRoIPooler:
    return SummingRoIPooler(RoIPooler(*arguments, **more))


def assert_same(ours: tuple[Tensor, Any], theirs: tuple[Tensor, Any]) -> None:
    assert ours[0].dtype == theirs[0].dtype
    tolerance = 1e-10 if ours[0].dtype == torch.float64 else 2e-5
    for one, other in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance)


# Inside, across the border and wholly outside; for all three levels, and without extent.
PLACES = st.floats(-60, 150, width=32) | st.integers(-60, 150).map(float)
EXTENTS = st.floats(0, 400, width=32) | st.sampled_from([0.0, 4.0, 16.0])
CORNERS = st.tuples(PLACES, PLACES, EXTENTS, EXTENTS)


def boxes_of(corners: list[tuple[float, ...]]) -> Boxes:
    x, y, width, height = torch.tensor(corners).view(-1, 4).unbind(1)
    return Boxes(torch.stack([x, y, x + width, y + height], dim=1))


class TestAgainstTorchvision:
    @given(
        images=st.lists(st.lists(CORNERS, max_size=4).map(boxes_of), min_size=1, max_size=3),
        size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
        ratio=st.integers(0, 3),
        aligned=st.booleans(),
        op=st.sampled_from(["roi_align", "roi_warp"]),
        dtype=st.sampled_from([torch.float32, torch.float64]),
        layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
        levels=st.sampled_from([1, 3]),
    )
    @settings(max_examples=150, deadline=None)
    def test_every_choice(self, images, size, ratio, aligned, op, dtype, layout, levels) -> None:
        features = [
            level.contiguous(memory_format=layout)
            for level in pyramid(images=len(images), dtype=dtype)[:levels]
        ]
        pooler = RoIPooler(op, size, SCALES[:levels], sampling_ratio=ratio, aligned=aligned)
        ours = pooled_and_gradients(SummingRoIPooler(pooler), features, images)
        assert_same(ours, pooled_and_gradients(pooler, features, images))

    @pytest.mark.parametrize(("stock", "aligned"), [("ROIAlignV2", True), ("ROIAlign", False)])
    @pytest.mark.parametrize("ratio", [0, 2])
    # One slice of channels, a full one and part of another, two full ones.
    @pytest.mark.parametrize("channels", [1, 65, 128])
    def test_detectron2s_pooler(self, stock: str, aligned: bool, ratio: int, channels: int) -> None:
        features, boxes = pyramid(channels=channels), many_boxes()
        pooler = summing("roi_align", 7, SCALES, sampling_ratio=ratio, aligned=aligned)
        theirs = pooled_and_gradients(ROIPooler(7, SCALES, ratio, stock), features, boxes)
        assert_same(pooled_and_gradients(pooler, features, boxes), theirs)

    @pytest.mark.parametrize("ratio", [0, 2])
    @pytest.mark.parametrize("aligned", [True, False])
    def test_boxes_without_extent_or_upside_down(self, ratio: int, aligned: bool) -> None:
        odd = [[5.0, 5, 5, 5], [5, 5, 5, 30], [9, 9, 3, 3], [9, 3, 3, 9], [0, 0, 40, 40]]
        features, boxes = pyramid(images=1)[:1], [Boxes(torch.tensor(odd))]
        pooler = RoIPooler("roi_align", 3, SCALES[:1], sampling_ratio=ratio, aligned=aligned)
        ours = pooled_and_gradients(SummingRoIPooler(pooler), features, boxes)
        assert_same(ours, pooled_and_gradients(pooler, features, boxes))

    def test_gradient_that_is_one_number_expanded(self) -> None:
        """As of a sum: all its strides are 0."""
        boxes, pooler = many_boxes(), summing("roi_align", 3, SCALES)
        gradients = []
        for stock in (pooler, ROIPooler(3, SCALES, 0, "ROIAlignV2")):
            features = [level.requires_grad_() for level in pyramid()]
            gradients.append(torch.autograd.grad(stock(features, boxes).sum(), features))
        assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(*gradients, strict=True))

    @pytest.mark.parametrize("place", [-1.0, -1.001, 0.0, 15.0, 15.5, 16.0, 16.001])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_samples_at_the_border(self, place: float, axis: int) -> None:
        """One sample, right there on a map of 16 x 16 cells: kept up to a cell outside."""
        corner = torch.full((2,), 8.0).index_fill(0, torch.tensor([axis]), place)
        features = [torch.rand(1, 2, 16, 16) + 1]
        pooler = RoIPooler("roi_align", 1, [1.0], sampling_ratio=1, aligned=False)
        # A box that is not aligned is at least one cell wide.
        boxes = [Boxes(torch.cat([corner - 0.5, corner + 0.5])[None])]
        ours = pooled_and_gradients(SummingRoIPooler(pooler), features, boxes)
        assert_same(ours, pooled_and_gradients(pooler, features, boxes))
        assert (ours[0] == 0).all() == (place in (-1.001, 16.001))


class TestGradients:
    def test_no_boxes_give_a_zero_with_a_gradient(self) -> None:
        features = [level.requires_grad_() for level in pyramid()]
        total = summing("roi_align", 2, SCALES)(features, [Boxes(torch.zeros(0, 4))] * 2).sum()
        total.backward()
        assert total == 0
        assert all((level.grad == 0).all() for level in features)

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_have_the_layout_of_the_features(self, layout: torch.memory_format) -> None:
        features = [level.contiguous(memory_format=layout) for level in pyramid()]
        pooler = summing("roi_align", 2, SCALES)
        pooled, gradients = pooled_and_gradients(pooler, features, many_boxes())
        assert all(gradient.is_contiguous(memory_format=layout) for gradient in gradients)
        assert pooled.is_contiguous()  # as torchvision's: heads may view it as they like

    def test_reach_the_levels_that_learn(self) -> None:
        features = pyramid()
        features[1].requires_grad_()
        summing("roi_align", 2, SCALES)(features, many_boxes()).sum().backward()
        assert features[1].grad.abs().sum() > 0
        assert features[0].grad is None


class TestChoice:
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-6)]
    )
    def test_without_a_gradient_it_is_the_same(self, layout, dtype, tolerance: float) -> None:
        features = [level.contiguous(memory_format=layout) for level in pyramid(dtype=dtype)]
        boxes = many_boxes()
        theirs = ROIPooler(7, SCALES, 0, "ROIAlignV2")(features, boxes)
        ours = summing("roi_align", 7, SCALES)(features, boxes)
        assert ours.dtype == dtype
        assert ours.is_contiguous(memory_format=layout)
        assert torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance)

    def test_bfloat16_is_rounded_twice(self) -> None:
        """The weights, and the sum at the end, each to 2^-8 of itself; sums on the way are not."""
        features, boxes = pyramid(dtype=torch.bfloat16), many_boxes()
        pooler = summing("roi_align", 7, SCALES)
        exact = pooler([level.float() for level in features], boxes)
        assert torch.allclose(pooler(features, boxes).float(), exact, rtol=2**-7)

    @pytest.mark.parametrize("op", ["roi_align", "roi_warp"])
    def test_torchvisions_kernel_is_not_called(self, op: str, monkeypatch) -> None:
        monkeypatch.delattr(poolers, "roi_align")
        features, boxes = pyramid(), many_boxes()
        pooler = optimize(RoIPooler(op, 7, SCALES))
        learning, _ = pooled_and_gradients(pooler, features, boxes)
        assert torch.allclose(pooler(features, boxes), learning, atol=1e-6)

    @pytest.mark.parametrize(("op", "aggregation"), [("roi_pool", "max"), ("roi_align", "max")])
    def test_maxima_stay_with_torchvision(self, op: str, aggregation: str) -> None:
        pooler = RoIPooler(op, 7, SCALES, aggregation=aggregation)
        assert optimize(pooler) is pooler


def test_arguments_stay_as_they_are() -> None:
    features, rois = pyramid(), torch.tensor([[0.0, 1, 2, 30, 40], [1, 9, 9, 50, 50]])
    levels, scales = torch.tensor([0, 1]), torch.tensor(SCALES[:2])
    inputs = [*features, rois, levels, scales]
    before = [tensor.clone() for tensor in inputs]
    summing("roi_align", 3, SCALES).average(features, rois, levels, scales)
    assert all(map(torch.equal, inputs, before))
