"""Masks and outlines laid over a picture, each touching its own rectangle only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from roilab.draw.colours import Colour, Picture, rim_of
from roilab.draw.subpixel import BITS, subpixel

Ring: TypeAlias = npt.ArrayLike
Mask: TypeAlias = npt.NDArray[np.bool_] | Sequence[Ring]

_OPACITY = 0.4


@dataclass(frozen=True, eq=False)
class Area:
    """The part of a picture that a mask covers: `pixels` of 0 and 1 from column `left`, row `top`
    on. Without a pixel where the mask is empty or lies outside."""

    left: int
    top: int
    pixels: npt.NDArray[np.uint8]


def area_of(mask: Mask, shape: tuple[int, ...], scale: int) -> Area:
    """A mask or rings over an image of a shape, in the picture `scale` times larger.

    Raises:
        ValueError: the mask has another size.
    """
    height, width = shape[:2]
    if isinstance(mask, np.ndarray) and mask.dtype == np.bool_:
        if mask.shape != (height, width):
            raise ValueError(f"mask: found the shape {mask.shape}, expected {(height, width)}")
        rows = np.flatnonzero(mask.any(axis=1))
        if not len(rows):
            return _empty()
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        columns = np.flatnonzero(mask[top:bottom].any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        pixels = mask[top:bottom, left:right].view(np.uint8)
        if scale > 1:
            pixels = _enlarged(pixels, scale)
        return Area(left * scale, top * scale, pixels)
    rings = [subpixel(np.asarray(ring, float).reshape(-1, 2), scale) for ring in mask]
    vertices = np.concatenate([np.zeros((0, 2), np.int32), *rings])
    if not len(vertices):
        return _empty()
    limits = np.array([width, height]) * scale
    start = np.clip(vertices.min(axis=0) >> BITS, 0, limits)
    stop = np.clip((vertices.max(axis=0) >> BITS) + 2, start, limits)
    pixels = np.zeros((stop - start)[::-1], np.uint8)
    # One ring at a time: together, what two rings share would count as a hole.
    for ring in rings if pixels.size else ():
        if len(ring):
            shifted = (ring - (start << BITS)).astype(np.int32)
            cv2.fillPoly(pixels, [shifted], 1, cv2.LINE_8, BITS)
    return Area(int(start[0]), int(start[1]), pixels)


def _empty() -> Area:
    return Area(0, 0, np.zeros((0, 0), np.uint8))


def draw_area(picture: Picture, area: Area, colour: Colour, line: int) -> None:
    """Tint what the area covers, and draw its outline. The rim lies outside of it, where it does
    not darken small masks."""
    if not area.pixels.size:
        return
    thin = max(1, line // 2)
    rim = rim_of(thin) + thin // 2
    high, wide = area.pixels.shape
    # The area and the rim around it, as far as they are in the picture.
    left, top = max(0, area.left - rim), max(0, area.top - rim)
    part = picture[top : area.top + high + rim, left : area.left + wide + rim]
    pixels = np.zeros(part.shape[:2], np.uint8)
    pixels[area.top - top :, area.left - left :][:high, :wide] = area.pixels
    shades = np.arange(256)[:, None] * (1 - _OPACITY) + np.array(colour) * _OPACITY
    tinted = cv2.LUT(part, np.rint(shades).astype(np.uint8)[None])
    around = cv2.dilate(pixels, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8))
    cv2.subtract(part, part, part, mask=around)  # black, as every rim
    cv2.copyTo(tinted, pixels, part)
    contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, contours, -1, colour, thin, cv2.LINE_AA, offset=(left, top))


def _enlarged(pixels: npt.NDArray[np.uint8], scale: int) -> npt.NDArray[np.uint8]:
    """Edges stay where they are, and steps of single pixels become slopes."""
    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    smooth = cv2.resize(pixels * np.uint8(254), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.threshold(smooth, 126, 1, cv2.THRESH_BINARY)[1], np.uint8)
