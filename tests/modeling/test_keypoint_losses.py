"""Losses of keypoints against what the words say, number by number."""

import math

import torch

from roilab.modeling import keypoint_losses as losses
from roilab.modeling.decoders import to_cells

BOX = torch.tensor([[10.0, 20, 26, 52]])  # 16 x 32 pixels
POINT = torch.tensor([[[16.5, 30.0, 2.0]]])


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_places_and_cells_are_of_one_frame() -> None:
    place = to_cells(POINT[..., :2], BOX, 8, 8)
    assert place.tolist() == [[[3.25, 2.5]]]
    cells, valid = losses.target_cells(POINT, BOX, 8)
    assert (cells.item(), valid.item()) == (2 * 8 + 3, True)


def test_places_of_a_box_without_extent_are_finite() -> None:
    assert torch.isfinite(to_cells(POINT[..., :2], torch.full((1, 4), 16.5), 8, 8)).all()


def test_softmax_and_sigmoid() -> None:
    maps = random(1, 1, 3, 3)
    flat = maps.flatten().tolist()
    cells = torch.tensor([[4]])
    softmax = math.log(sum(map(math.exp, flat))) - flat[4]
    assert math.isclose(losses.softmax_loss(maps, cells).item(), softmax, rel_tol=1e-5)
    p = [1 / (1 + math.exp(-value)) for value in flat]
    sigmoid = -sum(math.log(p[i] if i == 4 else 1 - p[i]) for i in range(9))
    assert math.isclose(losses.sigmoid_loss(maps, cells).item(), sigmoid, rel_tol=1e-5)


def test_gaussian() -> None:
    maps, x, y, sigma = random(1, 1, 3, 3), 1.2, 0.7, 0.8
    expected = sum(
        (
            maps[0, 0, i, j].item()
            - math.exp(-((j + 0.5 - x) ** 2 + (i + 0.5 - y) ** 2) / (2 * sigma**2))
        )
        ** 2
        for i in range(3)
        for j in range(3)
    )
    found = losses.gaussian_loss(maps, torch.tensor([[[x, y]]]), sigma).item()
    assert math.isclose(found, expected, rel_tol=1e-5)


def test_integral() -> None:
    maps = random(1, 1, 3, 3)
    heat = maps.flatten().softmax(0).view(3, 3)
    mean_x = sum(heat[i, j].item() * (j + 0.5) for i in range(3) for j in range(3))
    mean_y = sum(heat[i, j].item() * (i + 0.5) for i in range(3) for j in range(3))
    found = losses.integral_loss(maps, torch.tensor([[[0.2, 2.9]]])).item()
    assert math.isclose(found, abs(mean_x - 0.2) + abs(mean_y - 2.9), rel_tol=1e-5)


def test_simcc() -> None:
    logits, places, sigma = random(2, 1, 1, 5), [1.3, 3.8], 0.7
    expected = 0.0
    for axis in range(2):
        weights = [math.exp(-((b + 0.5 - places[axis]) ** 2) / (2 * sigma**2)) for b in range(5)]
        logs = logits[axis, 0, 0].log_softmax(0).tolist()
        total = sum(weights)
        expected -= sum(w / total * log for w, log in zip(weights, logs, strict=True))
    found = losses.simcc_loss((logits[0], logits[1]), torch.tensor([[places]]), sigma).item()
    assert math.isclose(found, expected, rel_tol=1e-5)
