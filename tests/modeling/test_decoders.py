"""Decoders: the stock one exactly, the others where a peak is known, all without detections."""

import pytest
import torch
from detectron2.structures import heatmaps_to_keypoints
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from roilab.cpu.heatmap_argmax import bicubic_by_windows, windowed_argmax
from roilab.modeling.decoders import DECODERS, Decoder, bicubic, enlarged_argmax, to_cells

K = 5
SUB_CELL = {name: decoder for name, decoder in DECODERS.items() if name != "bicubic"}
ALL = {**DECODERS, "bicubic by windows": bicubic_by_windows}
ARGMAX = [enlarged_argmax, windowed_argmax]


def boxes(count: int, generator: torch.Generator, low: float = 4, high: float = 300) -> Tensor:
    corner = torch.rand(count, 2, generator=generator) * 200
    extent = low + torch.rand(count, 2, generator=generator) * (high - low)
    return torch.cat([corner, corner + extent], dim=1)


def peaks(count: int, side: int = 56, sigma: float = 1.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logarithms of Gaussians, and where their peaks are, in cells."""
    generator = torch.Generator().manual_seed(seed)
    place = 8 + torch.rand(count, K, 2, generator=generator) * (side - 16)
    centres = torch.arange(side) + 0.5
    distance = (centres[None, None, :, None] - place[..., 1, None, None]) ** 2 + (
        centres[None, None, None, :] - place[..., 0, None, None]
    ) ** 2
    return (-distance / (2 * sigma**2)).clamp(min=-12), place


def as_a_head_gives(count: int, kind: str, seed: int) -> Tensor:
    """Maps as the head's layers make them, enlarged twice, peaked or flat; or mere noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, K, 28, 28, generator=generator)
    if kind == "noise":
        return torch.randn(count, K, 56, 56, generator=generator)
    if kind == "peak":
        noise = noise + 1.2 * peaks(count, side=28, seed=seed)[0]
    return F.interpolate(noise, scale_factor=2, mode="bilinear", align_corners=False)


class TestBicubic:
    @pytest.mark.parametrize("kind", ["peak", "flat", "noise"])
    @pytest.mark.parametrize("extent", [(1, 30), (30, 300), (0.2, 3)])
    @pytest.mark.parametrize("decoder", [bicubic, bicubic_by_windows])
    def test_equal_to_detectron2(self, decoder: Decoder, kind: str, extent) -> None:
        maps = as_a_head_gives(12, kind, seed=1)
        rois = boxes(12, torch.Generator().manual_seed(2), *extent)
        theirs = heatmaps_to_keypoints(maps, rois)
        xy, value = decoder(maps, rois)
        assert torch.allclose(xy, theirs[..., :2], atol=1e-3)
        assert torch.allclose(value, theirs[..., 2], atol=1e-4)

    @given(
        height=st.integers(1, 90),
        width=st.integers(1, 90),
        sides=st.tuples(st.integers(1, 13), st.integers(1, 13)),
        seed=st.integers(0, 1000),
        scale=st.sampled_from([1e-3, 1.0, 50.0]),
    )
    @pytest.mark.parametrize("argmax", ARGMAX)
    @settings(max_examples=150)
    def test_any_size_and_any_map(self, argmax, height, width, sides, seed, scale) -> None:
        """The value is the maximum of the whole enlarged map, and is found where it says."""
        maps = scale * torch.randn(
            1, 2, *sides, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        whole = F.interpolate(maps, (height, width), mode="bicubic", align_corners=False)
        column, row, value = argmax(maps, torch.tensor([height]), torch.tensor([width]))
        assert torch.allclose(value, whole.amax(dim=(2, 3)), atol=1e-9 * scale)
        there = whole[0, torch.arange(2), row[0], column[0]]
        assert torch.allclose(there, value[0], atol=1e-9 * scale)

    @pytest.mark.parametrize("argmax", ARGMAX)
    def test_of_equal_values_the_first(self, argmax) -> None:
        flat = torch.zeros(1, 1, 8, 8)
        column, row, _ = argmax(flat, torch.tensor([20]), torch.tensor([20]))
        assert (column.item(), row.item()) == (0, 0)

    def test_memory_is_bounded_by_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        maps = as_a_head_gives(6, "noise", seed=3)
        rois = boxes(6, torch.Generator().manual_seed(4))
        whole = bicubic_by_windows(maps, rois)
        monkeypatch.setattr("roilab.cpu.heatmap_argmax._CHUNK", 1000)
        parts = bicubic_by_windows(maps, rois)
        assert torch.equal(whole[0], parts[0])
        assert torch.equal(whole[1], parts[1])


class TestKnownPeaks:
    ROIS = torch.tensor([[10.0, 20, 122, 132], [0, 0, 28, 560]])

    @pytest.mark.parametrize(
        ("name", "cells"),
        # How far off, at most, in cells: a pixel of the second box is two; half a cell less the
        # shift; a parabola is exact; a mean over a window is drawn to its middle.
        [("bicubic", 1.1), ("quarter_shift", 0.26), ("dark", 0.01), ("local_soft_argmax", 0.25)],
    )
    def test_found(self, name: str, cells: float) -> None:
        log_heat, place = peaks(2)
        extent = (self.ROIS[:, 2:] - self.ROIS[:, :2])[:, None]
        expected = self.ROIS[:, None, :2] + place / 56 * extent
        xy, _ = DECODERS[name](log_heat, self.ROIS)
        assert ((xy - expected).abs() / extent * 56).max() < cells

    def test_soft_argmax_is_the_mean(self) -> None:
        log_heat, place = peaks(2)
        log_heat = torch.where(log_heat > -12, log_heat, -torch.inf)  # no floor that drags along
        xy, _ = DECODERS["soft_argmax"](log_heat, self.ROIS)
        assert (to_cells(xy, self.ROIS, 56, 56) - place).abs().max() < 0.05

    def test_dark_is_better_than_a_quarter_shift_than_none(self) -> None:
        log_heat, place = peaks(50, sigma=2.0)
        rois = torch.tensor([0.0, 0, 56, 56]).expand(50, 4)

        def error(name: str) -> float:
            return (DECODERS[name](log_heat, rois)[0] - place).norm(dim=2).mean().item()

        whole = (place.floor() + 0.5 - place).norm(dim=2).mean().item()
        assert error("dark") < 0.2 * error("quarter_shift") < 0.2 * whole

    @pytest.mark.parametrize("name", SUB_CELL)
    def test_mirrored_maps_give_mirrored_places(self, name: str) -> None:
        log_heat = as_a_head_gives(3, "peak", seed=5)
        rois = torch.tensor([0.0, 0, 56, 112]).expand(3, 4)
        xy, _ = DECODERS[name](log_heat, rois)
        mirrored, _ = DECODERS[name](log_heat.flip(3), rois)
        assert torch.allclose(56 - mirrored[..., 0], xy[..., 0], atol=1e-3)
        assert torch.allclose(mirrored[..., 1], xy[..., 1], atol=1e-3)

    @pytest.mark.parametrize("name", ALL)
    def test_only_differences_within_a_map_count(self, name: str) -> None:
        log_heat = as_a_head_gives(3, "peak", seed=6)
        rois = boxes(3, torch.Generator().manual_seed(7))
        shifted = log_heat + torch.arange(3.0 * K).view(3, K, 1, 1)
        assert torch.allclose(ALL[name](shifted, rois)[0], ALL[name](log_heat, rois)[0], atol=0.02)

    @pytest.mark.parametrize("name", ALL)
    def test_places_are_in_their_boxes(self, name: str) -> None:
        """Also where the peak is a corner of the map, or nowhere."""
        maps = torch.zeros(4, K, 14, 14)
        maps[0, :, 0, 0] = maps[1, :, -1, -1] = maps[2, :, 0, -1] = 9.0
        rois = boxes(4, torch.Generator().manual_seed(8))
        xy, value = ALL[name](maps, rois)
        assert torch.isfinite(xy).all()
        assert (xy >= rois[:, None, :2]).all()
        assert (xy <= rois[:, None, 2:]).all()
        assert torch.allclose(value[:3], torch.tensor(9.0), atol=4)

    @pytest.mark.parametrize("name", ALL)
    def test_no_detections(self, name: str) -> None:
        xy, value = ALL[name](torch.zeros(0, K, 56, 56), torch.zeros(0, 4))
        assert (xy.shape, value.shape) == ((0, K, 2), (0, K))

    @pytest.mark.parametrize("name", ALL)
    def test_very_large_logits(self, name: str) -> None:
        """Detectron2's decoder ends in an assertion for these."""
        maps = as_a_head_gives(3, "peak", seed=9) * 1e6
        xy, _ = ALL[name](maps, boxes(3, torch.Generator().manual_seed(0)))
        assert torch.isfinite(xy).all()


def test_dark_of_an_oblique_peak() -> None:
    """A Gaussian whose axes are not those of the map: the mixed derivative counts."""
    x, y = torch.arange(56) + 0.5, (torch.arange(56) + 0.5)[:, None]
    u, v = x - 20.9, y - 30.2
    log_heat = -(0.5 * u**2 + 0.5 * v**2 - 0.8 * u * v)[None, None] / 4
    xy, _ = DECODERS["dark"](log_heat, torch.tensor([[0.0, 0, 56, 56]]))
    assert torch.allclose(xy[0, 0], torch.tensor([20.9, 30.2]), atol=0.1)


def test_dark_steps_no_further_than_a_cell() -> None:
    """The map slopes up to its border, where the parabola's peak is far away."""
    log_heat = (1e-3 * torch.arange(56.0) - 1e-7 * torch.arange(56.0) ** 2).expand(1, 1, 56, 56)
    log_heat = log_heat - 1e-3 * (torch.arange(56.0)[:, None] - 30) ** 2
    xy, _ = DECODERS["dark"](log_heat, torch.tensor([[0.0, 0, 56, 56]]))
    assert (xy[0, 0, 0] - 55.5).abs() <= 0.5
    assert (xy[0, 0, 1] - 30.5).abs() <= 1


def test_mean_around_a_peak_at_the_border_is_of_cells_of_the_map() -> None:
    maps = torch.full((1, 1, 8, 8), -50.0)
    maps[0, 0, 3, 0], maps[0, 0, 3, 1] = 0.0, 0.0
    xy, _ = DECODERS["local_soft_argmax"](maps, torch.tensor([[0.0, 0, 8, 8]]))
    assert torch.allclose(xy[0, 0], torch.tensor([1.0, 3.5]), atol=1e-3)


@pytest.mark.parametrize("decoder", [bicubic, bicubic_by_windows])
def test_maps_that_are_not_finite_are_read_as_a_place_in_the_box(decoder: Decoder) -> None:
    maps = torch.zeros(2, 1, 56, 56)
    maps[0, 0, 3, 3], maps[1] = torch.nan, -torch.inf
    xy, _ = decoder(maps, torch.tensor([[0.0, 0, 200, 200]] * 2))
    assert ((xy >= 0) & (xy <= 200)).all()
