"""Layers on which objects are drawn larger than life, so that edges come out smooth."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

# Layers have SCALE x SCALE sub-pixels a pixel; averaging them is the anti-aliasing.
SCALE = 3

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Ball = tuple[float, float, float]  # a circle: x, y and radius

_SHIFT = 4  # bits of cv2's fixed point: coordinates are in 1/16 of a sub-pixel
_TURN = np.linspace(0.0, 2.0 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


class Layer:
    """A picture of one object.

    Attributes:
        colour: (S, S, 3) uint8, BGR, S = size * SCALE.
        part: (S, S) uint8, which part of the object is on top at each sub-pixel; 0 is none.
    """

    def __init__(self, size: int, colour: Image | None = None) -> None:
        side = size * SCALE
        self.colour: Image = np.zeros((side, side, 3), np.uint8) if colour is None else colour
        self.part: Image = np.zeros((side, side), np.uint8)

    def hull(
        self, balls: Sequence[Ball], colour: Colour, part: int | None = None, flat: bool = False
    ) -> None:
        """Fill the convex hull of circles.

        Args:
            balls: (x, y, radius) in image pixels, continuous frame (pixel i covers i to i + 1).
            colour: BGR.
            part: written to the part map; None leaves that as it is.
            flat: without outline and light from the upper left.
        """
        if part is not None:
            cv2.fillConvexPoly(self.part, _outline(balls, 0.0, 1.0), part, shift=_SHIFT)
        # A dark outline, the surface, and a lighter spot towards the upper left.
        lit = ((0.0, 1.0, 0.62), (0.0, 0.88, 0.92), (0.16, 0.68, 1.06))
        for lift, share, light in ((0.0, 1.0, 1.0),) if flat else lit:
            ring = _outline(balls, lift, share)
            cv2.fillConvexPoly(self.colour, ring, shade(colour, light), shift=_SHIFT)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker (factor below 1) or lighter, within the range of a byte."""
    blue, green, red = (min(255, max(0, round(value * factor))) for value in colour)
    return blue, green, red


def random_colour(
    rng: np.random.Generator,
    hue: tuple[float, float] = (0, 180),
    saturation: tuple[float, float] = (0.15, 0.9),
    value: tuple[float, float] = (0.25, 0.95),
) -> Colour:
    """A BGR colour; cv2's hue is in half degrees, saturation and value are shares."""
    hsv = (rng.uniform(*hue), 255 * rng.uniform(*saturation), 255 * rng.uniform(*value))
    blue, green, red = cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)


def _outline(balls: Sequence[Ball], lift: float, share: float) -> npt.NDArray[np.int32]:
    """Hull of circles shrunk to `share` of their radius and moved up left by `lift` of it.

    Fixed-point coordinates for cv2, whose origin is the middle of the first sub-pixel.
    """
    array = np.asarray(balls, dtype=np.float64)
    radii = array[:, 2:]
    points = (array[:, None, :2] - lift * radii[:, None]) + share * radii[:, None] * _CIRCLE
    fixed = np.rint((points.reshape(-1, 2) * SCALE - 0.5) * (1 << _SHIFT)).astype(np.int32)
    ring: npt.NDArray[np.int32] = cv2.convexHull(fixed)
    return ring
