"""Winograd's convolution against the direct one."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from roilab.cpu import winograd
from roilab.cpu.optimize import PARTS, optimize
from roilab.cpu.winograd import WinogradConv2d, WinogradConvolution

DOUBLE = torch.float64
FORMATS = (torch.contiguous_format, torch.channels_last)
direct = partial(F.conv2d, padding=1)
winograd_conv = WinogradConvolution.apply


def random(*shape: int, seed: int = 0, dtype: torch.dtype = DOUBLE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(dtype)


def values_and_gradients(
    conv: Callable[..., Tensor], *inputs: Tensor | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """With a gradient that differs from value to value."""
    leaves = [None if tensor is None else tensor.detach().requires_grad_() for tensor in inputs]
    y = conv(*leaves)
    variables = [leaf for leaf in leaves if leaf is not None]
    return y, torch.autograd.grad(y, variables, random(*y.shape, seed=9, dtype=y.dtype))


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max().clamp(min=1e-6)


class TestAgainstTheDirectSum:
    @pytest.fixture(autouse=True)
    def by_tiles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However few channels there are."""
        monkeypatch.setattr(winograd, "_LEAST_CHANNELS_FORWARD", 0)
        monkeypatch.setattr(winograd, "_LEAST_CHANNELS_INPUT", 0)

    @given(
        images=st.integers(1, 5),
        channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
        size=st.tuples(st.integers(1, 22), st.integers(1, 22)),
        bias=st.booleans(),
        layout=st.sampled_from(FORMATS),
        tiles=st.integers(1, 9),
        least=st.sampled_from([0, 128]),  # all by tiles, or the filters' gradient alone
    )
    @settings(max_examples=100, deadline=None)
    def test_values_and_gradients(self, images, channels, size, bias, layout, tiles, least) -> None:
        x = random(images, channels[0], *size).contiguous(memory_format=layout)
        weight = random(channels[1], channels[0], 3, 3, seed=1).contiguous(memory_format=layout)
        inputs = (x, weight, random(channels[1], seed=2) if bias else None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(winograd, "_TILES", tiles)  # several parts, the last one smaller
            patch.setattr(winograd, "_LEAST_CHANNELS_FORWARD", least)
            patch.setattr(winograd, "_LEAST_CHANNELS_INPUT", least)
            ours, our_gradients = values_and_gradients(winograd_conv, *inputs)
        theirs, their_gradients = values_and_gradients(direct, *inputs)
        assert_close(ours, theirs, 1e-11)
        for pair in zip(our_gradients, their_gradients, strict=True):
            assert_close(*pair, 1e-11)

    @pytest.mark.parametrize("size", [14, 40])
    def test_rounding_in_float32(self, size: int) -> None:
        inputs = [random(3, 128, size, size), random(160, 128, 3, 3, seed=1), random(160, seed=2)]
        exact, exact_gradients = values_and_gradients(direct, *inputs)
        single = [tensor.float() for tensor in inputs]
        ours, gradients = values_and_gradients(winograd_conv, *single)
        for one, other in zip((ours, *gradients), (exact, *exact_gradients), strict=True):
            assert_close(one.double(), other, 3e-5)

    @pytest.mark.parametrize("learns", [(True, False), (False, True)])
    def test_only_one_gradient_is_wanted(self, learns: tuple[bool, bool]) -> None:
        x, weight = random(1, 2, 5, 5), random(3, 2, 3, 3)
        x.requires_grad_(learns[0]), weight.requires_grad_(learns[1])
        winograd_conv(x, weight, None).sum().backward()
        reference = direct(x, weight).sum()
        for leaf, learned in zip((x, weight), learns, strict=True):
            assert (leaf.grad is not None) == learned
            if learned:
                (gradient,) = torch.autograd.grad(reference, leaf, retain_graph=True)
                assert_close(leaf.grad, gradient, 1e-11)

    def test_no_image(self) -> None:
        x, weight = random(0, 2, 14, 14).requires_grad_(), random(3, 2, 3, 3).requires_grad_()
        y = winograd_conv(x, weight, None)
        assert y.shape == (0, 3, 14, 14)
        y.sum().backward()
        assert x.grad.shape == x.shape
        assert (weight.grad == 0).all()

    def test_inputs_stay_as_they_are(self) -> None:
        inputs = [random(2, 3, 7, 7), random(3, 3, 3, 3), random(3)]
        before = [tensor.clone() for tensor in inputs]
        values_and_gradients(winograd_conv, *inputs)
        assert all(map(torch.equal, inputs, before))


class TestInAModel:
    def test_which_convolutions_it_takes_the_place_of(self) -> None:
        def conv(kind: type = nn.Conv2d, size: int = 3, **kwargs: object):  # type: ignore[no-untyped-def]
            kwargs.setdefault("padding", 1)
            return kind(8, 8, size, **kwargs)

        model = nn.Module()
        model.layers = nn.ModuleList([conv(), conv(Conv2d), conv(Conv2d, bias=False)])
        # Modules keep layers in lists of their own, too: Detectron2's FPN does.
        model.listed = list(model.layers)
        others = [
            conv(size=1, padding=0),
            conv(stride=2),
            conv(padding=0),
            conv(dilation=2, padding=2),
            conv(groups=2),
            conv(padding_mode="reflect"),
            nn.ConvTranspose2d(8, 8, 3, padding=1),
        ]
        kinds = [type(module) for module in others]
        optimize(nn.ModuleList([model, *others]), PARTS)
        assert {type(layer) for layer in model.layers} == {WinogradConv2d}
        assert all(one is other for one, other in zip(model.listed, model.layers, strict=True))
        assert [type(module) for module in others] == kinds

    @pytest.mark.parametrize("kind", [nn.Conv2d, Conv2d])
    def test_norm_and_activation_follow(self, kind: type) -> None:
        then = {"norm": nn.GroupNorm(8, 128), "activation": F.relu} if kind is Conv2d else {}
        torch.manual_seed(0)
        conv = kind(128, 128, 3, padding=1, **then)
        x = random(3, 128, 24, 24, dtype=torch.float32)
        before, state = conv(x), conv.eval().state_dict(keep_vars=True)
        fast = optimize(conv, PARTS)
        assert_close(fast(x), before, 2e-5)
        assert not torch.equal(fast(x), before)
        assert not fast.training
        assert list(fast.state_dict()) == list(state)
        for name, value in fast.state_dict(keep_vars=True).items():
            assert value is state[name], "parameters are shared"
        assert torch.equal(copy.deepcopy(fast)(x), fast(x))

    @pytest.mark.parametrize(
        ("channels", "size", "by_winograd"),
        [
            (128, 32, {"values", "gradients"}),
            (64, 32, {"gradients"}),  # the direct sum is as fast, but its gradients are not
            (32, 32, set()),
            (128, 28, set()),  # 49 tiles
        ],
    )
    def test_sizes_that_pay(self, channels: int, size: int, by_winograd: set[str]) -> None:
        torch.manual_seed(0)
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        x = random(1, channels, size, size, dtype=torch.float32)

        def results(layer: nn.Module) -> tuple[Tensor, Tensor]:
            y = layer(x)
            return y, torch.autograd.grad(y.square().sum(), conv.weight)[0]

        pairs = zip(results(optimize(conv, PARTS)), results(conv), strict=True)
        names = zip(("values", "gradients"), pairs, strict=True)
        assert {name for name, pair in names if not torch.equal(*pair)} == by_winograd

    def test_small_and_half_precision_inputs_are_convolved_directly(self) -> None:
        conv = nn.Conv2d(128, 128, 3, padding=1)
        small, large = random(1, 128, 8, 8).float(), random(2, 128, 32, 32).float()

        def results(layer: nn.Module) -> list[Tensor]:
            with torch.autocast("cpu", torch.bfloat16):
                half = layer(large)
            return [layer(small), half]

        assert all(map(torch.equal, results(optimize(conv, PARTS)), results(conv)))
