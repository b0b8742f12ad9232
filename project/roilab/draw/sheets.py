"""Pictures put together: in rows, under titles."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from roilab.draw.colours import Colour, Picture
from roilab.draw.labels import fitting, font_of

_GROUND: Colour = (24, 24, 24)
_LETTERS: Colour = (240, 240, 240)


def side_by_side(pictures: Sequence[Picture], titles: Sequence[str]) -> Picture:
    """Put pictures of any sizes in a row, each under its title.

    Raises:
        ValueError: no picture, or another number of titles.
    """
    if not pictures or len(pictures) != len(titles):
        raise ValueError(f"{len(pictures)} pictures and {len(titles)} titles")
    size = max(11, round(max(picture.shape[0] for picture in pictures) / 32))
    return grid([titled(*pair, size) for pair in zip(pictures, titles, strict=True)], len(titles))


def grid(pictures: Sequence[Picture], columns: int) -> Picture:
    """Lay pictures of any sizes out in rows of `columns` cells, on a dark ground.

    Raises:
        ValueError: no picture, or no column.
    """
    if not pictures or columns < 1:
        raise ValueError(f"{len(pictures)} pictures in {columns} columns")
    columns = min(columns, len(pictures))
    height = max(picture.shape[0] for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    gap = max(2, max(height, width) // 100)
    rows = -(-len(pictures) // columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, 3)
    sheet = np.full(shape, _GROUND, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        high, wide = picture.shape[:2]
        top = gap + row * (height + gap) + (height - high) // 2
        left = gap + column * (width + gap) + (width - wide) // 2
        sheet[top : top + high, left : left + wide] = picture
    return sheet


def titled(picture: Picture, title: str, size: int) -> Picture:
    """The picture under a bar with a title, whose letters are `size` pixels high."""
    font = font_of(size)
    bar = Image.new("RGB", (picture.shape[1], size * 2), _GROUND)
    text = fitting(title, font, bar.width - size)
    ImageDraw.Draw(bar).text((size // 2, size // 3), text, fill=_LETTERS, font=font)
    return np.vstack([np.array(bar), picture])
