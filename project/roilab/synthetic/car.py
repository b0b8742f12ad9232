"""A car seen from the side."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from roilab.synthetic.canvas import Ball, Colour, Layer, random_colour, shade

# Outline of cabin and windows along the length (0 rear, 1 front) and above the ground, in lengths.
_CABINS = {
    "saloon": ((0.18, 0.25), (0.30, 0.40), (0.56, 0.40), (0.74, 0.25)),
    "hatch": ((0.06, 0.25), (0.12, 0.41), (0.54, 0.41), (0.72, 0.25)),
    "van": ((0.04, 0.25), (0.05, 0.48), (0.70, 0.48), (0.86, 0.25)),
    "pickup": ((0.40, 0.25), (0.43, 0.42), (0.64, 0.42), (0.78, 0.25)),
}
CAR = 1


@dataclass(frozen=True, slots=True)
class Car:
    """A car, not yet placed: `width` pixels long, heading right or left."""

    width: float
    kind: str
    right: bool
    paint: Colour
    hub: Colour
    tilt: float


def random_car(rng: np.random.Generator, width: float) -> Car:
    """A car of random kind, colour and heading, `width` pixels long."""
    return Car(
        width=width,
        kind=str(rng.choice(list(_CABINS))),
        right=bool(rng.random() < 0.5),
        paint=random_colour(rng, saturation=(0.0, 0.9), value=(0.35, 0.95)),
        hub=shade((190, 190, 190), rng.uniform(0.7, 1.2)),
        tilt=float(rng.normal(0.0, 0.03)),
    )


def draw_car(layer: Layer, car: Car, x: float, y: float) -> None:
    """Draw the car with the middle of its length at x and its wheels standing at y (pixels)."""

    def at(along: float, above: float, radius: float) -> Ball:
        dx = (along - 0.5) * car.width * (1 if car.right else -1)
        dy = -above * car.width
        return (
            x + dx * np.cos(car.tilt) - dy * np.sin(car.tilt),
            y + dx * np.sin(car.tilt) + dy * np.cos(car.tilt),
            radius * car.width,
        )

    cabin = _CABINS[car.kind]
    layer.hull([at(a, h - 0.02 if h > 0.3 else h, 0.03) for a, h in cabin], car.paint, CAR)
    body = [
        at(0.05, 0.12, 0.05),
        at(0.95, 0.11, 0.05),
        at(0.055, 0.225, 0.05),
        at(0.93, 0.20, 0.05),
    ]
    layer.hull(body, car.paint, CAR)
    layer.hull([at(0.05, 0.235, 0.012), at(0.93, 0.215, 0.012)], shade(car.paint, 1.25), flat=True)
    layer.hull([at(0.04, 0.085, 0.02), at(0.96, 0.085, 0.02)], shade(car.paint, 0.55), flat=True)
    _windows(layer, car, at)
    layer.hull([at(0.955, 0.19, 0.02), at(0.93, 0.19, 0.02)], (150, 235, 255), flat=True)
    layer.hull([at(0.03, 0.2, 0.016), at(0.03, 0.17, 0.016)], (50, 50, 215), flat=True)
    for along in (0.22, 0.77):
        layer.hull([at(along, 0.085, 0.102)], shade(car.paint, 0.45), flat=True)
        layer.hull([at(along, 0.085, 0.085)], (38, 36, 36), CAR, flat=True)
        layer.hull([at(along, 0.085, 0.048)], car.hub, flat=True)
        layer.hull([at(along, 0.085, 0.02)], shade(car.hub, 0.5), flat=True)


def _windows(layer: Layer, car: Car, at: Callable[[float, float, float], Ball]) -> None:
    (a0, low), (a1, high), (a2, _), (a3, _) = _CABINS[car.kind]
    low, high = low + 0.015, high - 0.04
    middle = (a1 + a2) / 2 + 0.03
    glass = (120, 95, 70)
    panes = [
        ((a0 + 0.045, low), (a1 + 0.02, high), (middle - 0.015, high), (middle - 0.015, low)),
        ((middle + 0.015, low), (middle + 0.015, high), (a2 - 0.015, high), (a3 - 0.05, low)),
    ]
    for pane in panes:
        layer.hull([at(a, h, 0.012) for a, h in pane], glass, flat=True)
        upper = [at(a, h, 0.006) for a, h in pane]
        layer.hull(upper[1:], (205, 185, 150), flat=True)
    layer.hull(
        [at(middle, 0.2, 0.004), at(middle + 0.04, 0.2, 0.004)], shade(car.paint, 0.5), flat=True
    )
