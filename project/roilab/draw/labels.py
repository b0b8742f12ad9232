"""Labels: text on a ground of the instance's colour, inside the picture and apart."""

import unicodedata
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roilab.draw.colours import BLACK, Colour, Picture, rim_of, side_of

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_LEAST = 11  # height of letters in pixels
_PADDING = 1 / 7  # of the height of letters


@lru_cache(maxsize=32)
def font_of(size: int) -> Font:
    """Pillow's own font, whose letters are `size` pixels high."""
    return ImageFont.load_default(size)


class Labels:
    """Draws labels into a picture, each beside those that are there."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.size = max(_LEAST, round(side_of(picture) / 42))
        # Rectangles: x0, y0, x1, y1.
        self._taken = np.zeros((0, 4), dtype=int)

    def add(self, text: str, anchor: tuple[int, int], colour: Colour) -> None:
        """Over the point (x, y) where there is room, else at the next place below that is free."""
        high, wide = self.picture.shape[:2]
        patch = _patch(text, self.size, wide, colour)[:high, :wide]
        top, left = self._free_corner(*anchor, *patch.shape[:2])
        bottom, right = top + patch.shape[0], left + patch.shape[1]
        self._taken = np.vstack([self._taken, (left, top, right, bottom)])
        self.picture[top:bottom, left:right] = patch

    def _free_corner(self, x: int, y: int, height: int, width: int) -> tuple[int, int]:
        limits = self.picture.shape
        left = max(0, min(x, limits[1] - width))
        first = max(0, min(y - height, limits[0] - height))
        tops = np.arange(first, max(first, limits[0] - height) + 1, height)
        beside = self._taken[(self._taken[:, 0] < left + width) & (left < self._taken[:, 2])]
        covers = (beside[:, 1] < tops[:, None] + height) & (tops[:, None] < beside[:, 3])
        free = tops[~covers.any(axis=1)]
        return (int(free[0]) if len(free) else first), left


@lru_cache(maxsize=64)
def _patch(text: str, size: int, width: int, colour: Colour) -> Picture:
    """The text on its ground within a black rim, at most `width` pixels wide. Not to be changed."""
    font = font_of(size)
    rim = rim_of(size // 12)
    edge = rim + round(size * _PADDING)
    line = fitting(text, font, width - 2 * edge)
    left, top, right, bottom = font.getbbox(line)
    shape = (max(1, int(right - left)) + 2 * edge, max(1, int(bottom - top)) + 2 * edge)
    canvas = Image.new("RGB", shape, colour)
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, shape[0] - 1, shape[1] - 1), outline=BLACK, width=rim)
    pen.text((edge - left, edge - top), line, fill=BLACK, font=font)
    return np.array(canvas)


def fitting(text: str, font: Font, width: int) -> str:
    """One line of the text, cut so that it is no wider than `width` pixels.

    Pillow's own font has ASCII only: accents are dropped, any other letter becomes a question mark.
    """
    letters = unicodedata.normalize("NFKD", " ".join(text.split()))
    base = "".join(letter for letter in letters if not unicodedata.combining(letter))
    line = base.encode("ascii", "replace").decode("ascii")
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line + "..."
