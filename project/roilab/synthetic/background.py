"""Cluttered places without people or cars."""

import cv2
import numpy as np
import numpy.typing as npt

from roilab.synthetic.canvas import SCALE, Image, Layer, random_colour, shade

Range = tuple[float, float]

# Hues: blue, dusk, and any.
_SKIES: tuple[Range, ...] = ((95, 120), (95, 120), (5, 25), (0, 180))


def draw_background(rng: np.random.Generator, size: int) -> Layer:
    """A background on a layer of `size` x `size` pixels; its part map stays empty."""
    layer = Layer(size, _ground(rng, size))
    for _ in range(rng.integers(2, 7)):
        _building(rng, layer, size)
    for _ in range(rng.integers(0, 4)):
        _tree(rng, layer, size)
    for _ in range(rng.integers(4, 13)):
        _clutter(rng, layer, size)
    return layer


def texture(rng: np.random.Generator, size: int) -> npt.NDArray[np.float32]:
    """(size, size, 1) smooth noise of several scales, mean about 0, deviation about 1."""
    total = np.zeros((size, size, 1), np.float32)
    for cells, weight in ((4, 1.0), (12, 0.7), (40, 0.5)):
        grid = rng.standard_normal((cells, cells), dtype=np.float32)
        total[:, :, 0] += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return total


def _ground(rng: np.random.Generator, size: int) -> Image:
    """Sky or wall above, ground below, with texture."""
    horizon = rng.uniform(0.3, 0.65)
    rows = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]

    def gradient(hue: Range, saturation: Range, value: Range) -> npt.NDArray[np.float32]:
        top, bottom = (
            np.array(random_colour(rng, hue, saturation, value), np.float32) for _ in range(2)
        )
        return top + rows * (bottom - top)

    sky = _SKIES[rng.integers(len(_SKIES))]
    upper = gradient(sky, (0.05, 0.45), (0.5, 0.95))
    lower = gradient((10, 80), (0.05, 0.45), (0.25, 0.8))
    image = np.where(rows < horizon, upper, lower) + np.zeros((size, size, 1), np.float32)
    image += texture(rng, size) * rng.uniform(2, 9)
    small = np.clip(image, 0, 255).astype(np.uint8)
    grown: Image = cv2.resize(small, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR)
    return grown


def _building(rng: np.random.Generator, layer: Layer, size: int) -> None:
    x, wide = rng.uniform(-0.1, 1.0) * size, rng.uniform(0.1, 0.35) * size
    base, tall = rng.uniform(0.45, 0.75) * size, rng.uniform(0.1, 0.5) * size
    colour = random_colour(rng, saturation=(0.05, 0.45), value=(0.3, 0.9))
    corners = [
        (x, base, 1.0),
        (x + wide, base, 1.0),
        (x, base - tall, 1.0),
        (x + wide, base - tall, 1.0),
    ]
    layer.hull(corners, colour, flat=True)
    pane, gap = rng.uniform(0.02, 0.04) * size, rng.uniform(0.05, 0.08) * size
    light = shade(colour, rng.choice((0.6, 1.4)))
    for left in np.arange(x + 0.4 * gap, x + wide - pane, gap):
        for top in np.arange(base - tall + 0.4 * gap, base - pane, gap):
            layer.hull(
                [
                    (left, top, 0.5),
                    (left + pane, top + 1.3 * pane, 0.5),
                    (left + pane, top, 0.5),
                    (left, top + 1.3 * pane, 0.5),
                ],
                light,
                flat=True,
            )


def _tree(rng: np.random.Generator, layer: Layer, size: int) -> None:
    x, base, tall = (
        rng.uniform(0, 1) * size,
        rng.uniform(0.5, 0.85) * size,
        rng.uniform(0.2, 0.4) * size,
    )
    layer.hull([(x, base, 0.018 * size), (x, base - tall, 0.012 * size)], (50, 75, 105))
    leaf = random_colour(rng, (28, 65), (0.4, 0.8), (0.25, 0.6))
    for _ in range(rng.integers(3, 6)):
        dx, dy = rng.normal(0, 0.05, 2) * size
        spot = (x + dx, base - tall + dy, rng.uniform(0.04, 0.08) * size)
        layer.hull([spot], shade(leaf, rng.uniform(0.8, 1.2)))


def _clutter(rng: np.random.Generator, layer: Layer, size: int) -> None:
    """Things that share something with a person or a car: a bar, a disc, a box, a pole."""
    x, y = rng.uniform(0, 1, 2) * size
    colour = random_colour(rng)
    kind = rng.integers(5)
    flat = bool(rng.random() < 0.4)
    if kind == 0:
        angle, length = rng.uniform(0, np.pi), rng.uniform(0.08, 0.3) * size
        ends = [
            (x + s * length * np.cos(angle), y + s * length * np.sin(angle)) for s in (-0.5, 0.5)
        ]
        thick = rng.uniform(0.01, 0.035) * size
        layer.hull([(*end, thick) for end in ends], colour, flat=flat)
    elif kind == 1:
        layer.hull([(x, y, rng.uniform(0.015, 0.07) * size)], colour, flat=flat)
    elif kind == 2:
        wide, tall = rng.uniform(0.04, 0.2, 2) * size
        box = [(x + sx * wide, y + sy * tall, 0.01 * size) for sx in (0, 1) for sy in (0, 1)]
        layer.hull(box, colour, flat=flat)
    elif kind == 3:
        thick = rng.uniform(0.006, 0.02) * size
        tall = rng.uniform(0.2, 0.6) * size
        layer.hull([(x, y, thick), (x, y - tall, thick)], colour, flat=flat)
        layer.hull([(x, y - tall, thick * rng.uniform(1, 3))], random_colour(rng), flat=flat)
    else:
        corners = [
            (x + dx * size, y + dy * size, 0.01 * size) for dx, dy in rng.normal(0, 0.07, (4, 2))
        ]
        layer.hull(corners, colour, flat=flat)
