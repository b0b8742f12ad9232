"""Colours of instances, sides and rims, and the widths of lines.

Everything has a black rim and a colour that is not dark: on a light ground the rim is seen, on a
dark one the colour, on a ground of the same colour both.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from roilab.skeleton import Skeleton

Picture: TypeAlias = npt.NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]

# Hues that differ for most colour-blind readers too, in an order that keeps neighbours apart, and
# light enough for black letters.
_HEX = "e69f00 56b4e9 00be82 f0e442 d55e00 cc79a7 6e78ff a0dc3c ff6e6e 00c8d2"
PALETTE: tuple[Colour, ...] = tuple((r, g, b) for r, g, b in map(bytes.fromhex, _HEX.split()))
# They differ in hue, and in lightness for eyes that see no hues: light, darker and white.
FIRST_SIDE: Colour = (255, 170, 30)
SECOND_SIDE: Colour = (30, 125, 255)
MIDDLE: Colour = (245, 245, 245)
FADED: Colour = (140, 140, 140)
BLACK: Colour = (0, 0, 0)


def side_colours(skeleton: Skeleton | None, count: int) -> npt.NDArray[np.int64]:
    """(K, 3), of K keypoints: warm, cold, or white without a partner on the other side."""
    colours = np.tile(MIDDLE, (count, 1))
    if skeleton is not None:
        for first, second in skeleton.swaps:
            colours[skeleton.keypoints.index(first)] = FIRST_SIDE
            colours[skeleton.keypoints.index(second)] = SECOND_SIDE
    return colours


def mean_side(picture: Picture) -> float:
    """Side in pixels of the square with the picture's area, with which lines and letters scale."""
    return math.sqrt(picture.shape[0] * picture.shape[1])


def rim_width(line: int) -> int:
    """Width in pixels of the black rim on each side of a line."""
    return max(1, round(line / 3))
