"""GroupNorm's own gradient against PyTorch's."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from roilab.cpu import group_norm
from roilab.cpu.group_norm import ChannelsLastGroupNorm
from roilab.cpu.optimize import optimize

LAST = torch.channels_last


def double(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) + 0.5


def gradients(norm: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Of the input, the weight and the bias, for a gradient that differs from value to value."""
    x = x.detach().requires_grad_()
    y = norm(x)
    weights = double(*y.shape, seed=9).to(y)
    return torch.autograd.grad(y, (x, *norm.parameters()), weights)


@given(
    images=st.integers(1, 5),
    groups=st.integers(1, 4),
    per_group=st.integers(1, 4),
    size=st.tuples(st.integers(2, 7), st.integers(1, 7)),
)
@settings(max_examples=100, deadline=None)
def test_gradients(images: int, groups: int, per_group: int, size: tuple[int, int]) -> None:
    x = double(images, groups * per_group, *size).contiguous(memory_format=LAST)
    weight, bias = double(groups * per_group, seed=1), double(groups * per_group, seed=2)
    leaves = [leaf.requires_grad_() for leaf in (x, weight, bias)]
    y = double(*x.shape, seed=3).contiguous(memory_format=LAST)
    normalised = group_norm._GroupNorm.apply(*leaves, groups, 1e-5)
    ours = torch.autograd.grad(normalised, leaves, y)
    theirs = torch.autograd.grad(nn.functional.group_norm(x, groups, weight, bias, 1e-5), leaves, y)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-8)
    assert ours[0].is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mean", [0, 5])
def test_rounding_is_that_of_pytorch(mean: float, dtype: torch.dtype) -> None:
    norm = nn.GroupNorm(8, 64).double()
    nn.init.normal_(norm.weight)
    x = (double(5, 64, 48, 48) + mean).to(dtype).double()
    single = x.to(dtype).contiguous(memory_format=LAST)
    theirs = copy.deepcopy(norm).float()
    ours = optimize(copy.deepcopy(theirs))
    assert type(ours) is ChannelsLastGroupNorm
    for one, other, exact in zip(
        gradients(ours, single), gradients(theirs, single), gradients(norm, x), strict=True
    ):
        assert one.dtype == other.dtype
        error, their_error = (float((gradient - exact).abs().max()) for gradient in (one, other))
        assert error <= 1.5 * their_error + 1e-6 * exact.abs().max()


@pytest.mark.parametrize(
    ("layout", "size", "dtype", "own"),
    [
        (LAST, 64, torch.float32, True),
        (LAST, 64, torch.bfloat16, True),
        (torch.contiguous_format, 64, torch.float32, False),
        (LAST, 63, torch.float32, False),  # less than 2^19 values
        (LAST, 64, torch.float64, False),
    ],
)
def test_where_it_pays(layout, size: int, dtype: torch.dtype, own: bool) -> None:
    norm = nn.GroupNorm(8, 64, dtype=dtype)
    x = double(2, 64, size, size).to(dtype).contiguous(memory_format=layout).requires_grad_()
    before = norm(x)
    after = optimize(norm)(x)
    assert torch.equal(before, after)
    assert ("NativeGroupNorm" not in type(after.grad_fn).__name__) == own


def test_other_norms_stay_as_they_are() -> None:
    class Special(nn.GroupNorm):
        pass

    others = nn.ModuleList([Special(2, 4), nn.BatchNorm2d(4)])
    optimize(others)
    assert [type(module) for module in others] == [Special, nn.BatchNorm2d]
    x = double(1, 64, 64, 64).float().contiguous(memory_format=LAST)
    plain = optimize(nn.GroupNorm(8, 64, affine=False))
    assert torch.equal(plain(x), nn.functional.group_norm(x, 8))
