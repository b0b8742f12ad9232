"""Poolers against torchvision, against each other, and against what the words mean."""

from typing import Any

import pytest
import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

from roilab.errors import UserError
from roilab.modeling import RoIPooler
from roilab.modeling.poolers import quantize_rois, roi_align_max

BOXES = torch.tensor([[0.0, 0.0, 16.0, 16.0], [8.0, 4.0, 40.0, 60.0], [3.3, 7.1, 22.8, 30.4]])
# Partly and wholly outside, without extent, upside down.
ODD = torch.tensor(
    [[-30.0, -5.0, 20.0, 90.0], [70, 70, 90, 95], [5, 5, 5, 5], [9, 9, 3, 3], [63, 0, 64, 64]]
)
ARMS = [
    ("roi_pool", "max"),
    *((op, how) for op in ("roi_warp", "roi_align") for how in ("average", "max")),
]


def features(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


def pool(x: Tensor, boxes: Tensor = BOXES, size: Any = 4, **arguments: Any) -> Tensor:
    return RoIPooler(output_size=size, scales=[0.25], **arguments)([x], [Boxes(boxes)])


def rois(boxes: Tensor) -> Tensor:
    return torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)


class TestAgainstTorchvision:
    @pytest.mark.parametrize("boxes", [BOXES, ODD])
    @pytest.mark.parametrize("ratio", [0, 1, 2, 3])
    @pytest.mark.parametrize("aligned", [True, False])
    def test_roi_align(self, boxes: Tensor, ratio: int, aligned: bool) -> None:
        x = features(1, 3, 16, 16)
        ours = pool(x, boxes, op="roi_align", sampling_ratio=ratio, aligned=aligned)
        theirs = roi_align(x, [boxes], 4, 0.25, ratio, aligned)
        assert torch.allclose(ours, theirs, rtol=2e-6, atol=2e-6)

    @pytest.mark.parametrize("boxes", [BOXES, ODD])
    def test_roi_pool(self, boxes: Tensor) -> None:
        x = features(1, 3, 16, 16)
        assert torch.equal(pool(x, boxes, op="roi_pool"), roi_pool(x, [boxes], 4, 0.25))

    @pytest.mark.parametrize("ratio", [0, 1, 2, 3])
    @pytest.mark.parametrize("aligned", [True, False])
    @pytest.mark.parametrize("size", [(4, 4), (3, 5)])
    def test_maximum_is_over_torchvisions_samples(self, ratio: int, aligned: bool, size) -> None:
        """Between the smallest and the largest sample lies the average; of one sample it is it."""
        x = features(1, 2, 16, 16)
        # A box without extent has, where their number follows it, one sample; torchvision has none.
        boxes = torch.cat([BOXES, ODD if ratio else ODD[[0, 1, 4]]])
        arguments = (rois(boxes), size, 0.25, ratio, aligned)
        average = roi_align(x, *arguments)
        most, least = roi_align_max(x, *arguments), -roi_align_max(-x, *arguments)
        assert (most >= average - 1e-6).all()
        assert (least <= average + 1e-6).all()
        if ratio == 1:
            assert torch.allclose(most, average, atol=1e-6)
        if ratio == 2:
            fine = roi_align(x, rois(boxes), (2 * size[0], 2 * size[1]), 0.25, 1, aligned)
            assert torch.allclose(most, torch.nn.functional.max_pool2d(fine, 2), atol=1e-6)

    def test_adaptive_samples_are_those_of_the_kernel(self) -> None:
        """A box of 2 x 3 cells a bin, sampled as ratio 0, is what 2 x 3 samples a bin are."""
        x = features(1, 2, 32, 32)
        box = torch.tensor([[4.0, 8.0, 4 + 4 * 4 * 2.6, 8 + 4 * 4 * 1.7]])
        fine = roi_align(x, [box], (4 * 2, 4 * 3), 0.25, 1, True)
        expected = torch.nn.functional.max_pool2d(fine, (2, 3))
        pooled = pool(x, box, op="roi_align", aggregation="max", sampling_ratio=0)
        assert torch.allclose(pooled, expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("stock", "arguments"),
        [
            ("ROIAlignV2", {"op": "roi_align"}),
            ("ROIAlign", {"op": "roi_align", "aligned": False}),
            ("ROIPool", {"op": "roi_pool"}),
        ],
    )
    def test_levels_are_those_of_detectron2(self, stock: str, arguments: dict[str, Any]) -> None:
        scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
        levels = [features(2, 3, int(512 * scale), int(640 * scale)) for scale in scales]
        sides = torch.tensor([8.0, 40, 111, 112, 113, 224, 300, 448, 500])
        corners = torch.arange(9.0)[:, None].expand(9, 2)
        boxes = [Boxes(torch.cat([corners, corners + sides[:, None]], 1)), Boxes(BOXES)]
        theirs = ROIPooler(7, scales, 0, stock)(levels, boxes)
        ours = RoIPooler(output_size=7, scales=scales, **arguments)(levels, boxes)
        assert torch.allclose(ours, theirs, rtol=2e-6, atol=2e-6)


class TestRelations:
    @pytest.mark.parametrize("op", ["roi_warp", "roi_align"])
    @pytest.mark.parametrize("ratio", [0, 2])
    @given(corner=st.tuples(*[st.floats(0, 40)] * 2), extent=st.tuples(*[st.floats(0, 40)] * 2))
    @settings(max_examples=30)
    def test_maximum_is_at_least_the_average(self, op: str, ratio: int, corner, extent) -> None:
        x = features(1, 2, 16, 16)
        box = torch.tensor([[*corner, corner[0] + extent[0], corner[1] + extent[1]]])
        most = pool(x, box, op=op, aggregation="max", sampling_ratio=ratio)
        assert (most >= pool(x, box, op=op, sampling_ratio=ratio) - 1e-6).all()

    @pytest.mark.parametrize("how", ["average", "max"])
    @pytest.mark.parametrize("aligned", [True, False])
    def test_align_of_a_box_between_cells_is_warp(self, how: str, aligned: bool) -> None:
        x = features(1, 3, 16, 16)
        boxes = torch.tensor([[0.0, 4, 32, 36], [8, 0, 12, 64]])
        arguments = {"aggregation": how, "aligned": aligned, "sampling_ratio": 2}
        warp, align = (pool(x, boxes, op=op, **arguments) for op in ("roi_warp", "roi_align"))
        assert torch.allclose(warp, align, atol=1e-6)

    def test_warp_takes_the_box_that_roi_pool_takes(self) -> None:
        """The cell whose centre lies at a box's rounded corner is RoIPool's first."""
        boxes = torch.tensor([[9.9, 10.1, 30.0, 29.0], [6, 2, 6.2, 2.2]])
        assert quantize_rois(rois(boxes), 0.25)[:, 1:].tolist() == [[2, 3, 8, 7], [2, 1, 3, 2]]

    def test_pool_is_a_maximum_over_cells_on_an_integer_grid(self) -> None:
        x = features(1, 3, 16, 16)
        box = torch.tensor([[0.0, 16, 28, 44]])  # cells 0..7 and 4..11: RoIPool takes the last too
        expected = x[..., 4:12, 0:8].unflatten(-1, (4, 2)).amax(-1).unflatten(-2, (4, 2)).amax(-2)
        assert torch.equal(pool(x, box, op="roi_pool"), expected)

    @pytest.mark.parametrize(("op", "how"), ARMS)
    def test_moving_the_image_by_a_stride_moves_nothing(self, op: str, how: str) -> None:
        x = torch.zeros(1, 2, 24, 24)
        x[..., 4:20, 4:20] = features(1, 2, 16, 16)
        boxes, arguments = BOXES[1:] + 16, {"op": op, "aggregation": how}
        moved = pool(x.roll((1, 2), (2, 3)), boxes + torch.tensor([8.0, 4, 8, 4]), **arguments)
        assert torch.allclose(moved, pool(x, boxes, **arguments), atol=1e-5)

    def test_align_of_a_ramp_is_the_centre_of_each_bin(self) -> None:
        """f(x) = x + 1/2 at stride 4, the value of a cell being that at its centre."""
        ramp = (torch.arange(16.0) + 0.5).expand(1, 1, 16, 16)
        box = torch.tensor([[9.3, 8.0, 41.3, 40.0]])
        centres = (9.3 + (torch.arange(4) + 0.5) * 8) / 4
        assert torch.allclose(pool(ramp, box, op="roi_align")[0, 0, 0], centres)
        assert not torch.allclose(pool(ramp, box, op="roi_warp")[0, 0, 0], centres)

    def test_maximum_of_a_ramp_is_the_last_sample_of_each_bin(self) -> None:
        ramp = (torch.arange(16.0) + 0.5).expand(1, 1, 16, 16)
        box = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
        last = (8 + (torch.arange(4) + 0.75) * 8) / 4
        pooled = pool(ramp, box, op="roi_align", aggregation="max", sampling_ratio=2)
        assert torch.allclose(pooled[0, 0, 0], last)


class TestGradients:
    @pytest.mark.parametrize("op", ["roi_warp", "roi_align"])
    @pytest.mark.parametrize("how", ["average", "max"])
    @pytest.mark.parametrize("ratio", [0, 2])
    def test_gradcheck(self, op: str, how: str, ratio: int) -> None:
        x = features(1, 2, 8, 8, dtype=torch.float64).requires_grad_()
        boxes = torch.tensor([[0.0, 0, 16, 16], [5.3, 2.2, 29, 31], [-9, 20, 40, 44]])
        pooler = RoIPooler(op, (2, 3), [0.25], aggregation=how, sampling_ratio=ratio)
        assert torch.autograd.gradcheck(lambda f: pooler([f], [Boxes(boxes)]), (x,))

    def test_gradcheck_of_several_levels_and_images(self) -> None:
        shapes = ((2, 1, side, side) for side in (8, 4))
        levels = [features(*shape, dtype=torch.float64).requires_grad_() for shape in shapes]
        boxes = [Boxes(torch.tensor([[0.0, 0, 9, 9], [1, 2, 60, 61]])), Boxes(BOXES[:1])]
        pooler = RoIPooler("roi_align", 2, [1 / 8, 1 / 16], aggregation="max", sampling_ratio=2)
        assert torch.autograd.gradcheck(lambda *f: pooler(f, boxes), tuple(levels))

    @pytest.mark.parametrize("ratio", [1, 2, 3])
    @pytest.mark.parametrize("aligned", [True, False])
    def test_maximum_has_the_gradient_that_autograd_finds(self, ratio: int, aligned: bool) -> None:
        """Where each bin has one sample for its maximum, it is the average's gradient there."""
        boxes = rois(torch.cat([BOXES, ODD]))
        x = features(1, 3, 16, 16).requires_grad_()
        roi_align_max(x, boxes, (4, 4), 0.25, ratio, aligned).pow(2).sum().backward()
        ours = x.grad
        x.grad = None
        if ratio == 1:
            roi_align(x, boxes, 4, 0.25, 1, aligned).pow(2).sum().backward()
        else:
            fine = roi_align(x, boxes, 4 * ratio, 0.25, 1, aligned)
            torch.nn.functional.max_pool2d(fine, ratio).pow(2).sum().backward()
        assert torch.allclose(ours, x.grad, atol=1e-5)

    @pytest.mark.parametrize(("op", "how"), ARMS)
    def test_bfloat16_features_are_pooled_and_learn(self, op: str, how: str) -> None:
        """Under autocast features are bfloat16 and boxes float32; every op must take both."""
        x = features(1, 3, 16, 16, dtype=torch.bfloat16).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            pooled = pool(x, op=op, aggregation=how)
        assert pooled.dtype == torch.bfloat16
        exact = pool(x.detach().float(), op=op, aggregation=how)
        assert torch.allclose(pooled.float(), exact, atol=1e-2)
        pooled.sum().backward()
        assert x.grad.abs().sum() > 0

    @pytest.mark.parametrize(("op", "how"), ARMS)
    def test_channels_last_changes_nothing(self, op: str, how: str) -> None:
        x = features(1, 8, 16, 16)
        last = x.contiguous(memory_format=torch.channels_last)
        assert torch.equal(pool(last, op=op, aggregation=how), pool(x, op=op, aggregation=how))


class TestShapes:
    @pytest.mark.parametrize(("op", "how"), ARMS)
    def test_no_boxes_give_an_empty_result_with_a_gradient(self, op: str, how: str) -> None:
        levels = [torch.rand(2, 3, 16, 16, requires_grad=True) for _ in range(2)]
        none = [Boxes(torch.zeros(0, 4))] * 2
        pooled = RoIPooler(op, (2, 3), [1 / 4, 1 / 8], aggregation=how)(levels, none)
        assert pooled.shape == (0, 3, 2, 3)
        pooled.sum().backward()
        assert all((level.grad == 0).all() for level in levels)

    @pytest.mark.parametrize(("op", "how"), ARMS)
    def test_oblong_outputs_of_several_levels(self, op: str, how: str) -> None:
        """An output of 2 x 6 bins is what one level alone gives."""
        levels = [features(1, 3, side, side) for side in (64, 32)]
        boxes = torch.tensor([[0.0, 0, 200, 240], [3, 5, 60, 50]])  # for the second, the first
        arguments = {"op": op, "output_size": (2, 6), "aggregation": how}
        both = RoIPooler(scales=[1 / 4, 1 / 8], **arguments)(levels, [Boxes(boxes)])
        for at, level in ((0, 1), (1, 0)):
            alone = RoIPooler(scales=[[1 / 4, 1 / 8][level]], **arguments)
            assert torch.equal(both[at], alone([levels[level]], [Boxes(boxes[at : at + 1])])[0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"op": "ROIAlign"}, "roi_align"),
        ({"op": "roi_align", "aggregation": "mean"}, "average"),
        ({"op": "roi_align", "sampling_ratio": -1}, "whole number"),
        ({"op": "roi_align", "output_size": 0}, "from 1"),
        ({"op": "roi_align", "output_size": [2, 3, 4]}, "height and width"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        RoIPooler(**{"output_size": 7, "scales": [0.25], **arguments})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("op", "how"), ARMS)
@pytest.mark.parametrize("ratio", [0, 2])
def test_cuda_gives_what_the_cpu_gives(op: str, how: str, ratio: int) -> None:
    results = []
    for device in ("cpu", "cuda"):
        x = features(1, 3, 16, 16).to(device).requires_grad_()
        pooled = pool(x, BOXES.to(device), op=op, aggregation=how, sampling_ratio=ratio)
        pooled.sum().backward()
        results.append((pooled.cpu(), x.grad.cpu()))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-4)
