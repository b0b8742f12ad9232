"""Text in pictures: labels of instances, and sheets of several pictures under titles."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roilab.draw.palette import BLACK, Colour, Picture, mean_side, rim_width

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_LEAST = 11  # pixels, of the height of letters that can be read
_PADDING = 1 / 7  # of the height of letters
_GROUND: Colour = (24, 24, 24)
_LETTERS: Colour = (240, 240, 240)


def draw_labels(
    picture: Picture,
    labels: Sequence[str],
    anchors: Sequence[tuple[int, int]],
    colours: Sequence[Colour],
) -> None:
    """Draw labels in a picture, on grounds of the colours, none over another; "" is not drawn.

    Args:
        anchors: the points (x, y) over which they stand, or at the next place below with room.
    """
    size = max(_LEAST, round(mean_side(picture) / 42))
    high, wide = picture.shape[:2]
    occupied = np.zeros((0, 4), dtype=int)  # rectangles: x0, y0, x1, y1
    for text, (x, y), colour in zip(labels, anchors, colours, strict=True):
        if not text:
            continue
        patch = _label(text, size, wide, colour)[:high, :wide]
        height, width = patch.shape[:2]
        left = max(0, min(x, wide - width))
        right = left + width
        first = max(0, min(y - height, high - height))

        # The places below one another, without those that a label beside them covers.
        tops = np.arange(first, max(first, high - height) + 1, height)
        starts, ends = occupied[:, 0], occupied[:, 2]
        beside = occupied[(starts < right) & (left < ends)]
        covers = (beside[:, 1] < tops[:, None] + height) & (tops[:, None] < beside[:, 3])
        free = tops[~covers.any(axis=1)]
        top = int(free[0]) if len(free) else first
        occupied = np.vstack([occupied, (left, top, right, top + height)])
        picture[top : top + height, left:right] = patch


def side_by_side(pictures: Sequence[Picture], titles: Sequence[str]) -> Picture:
    """Put pictures of any sizes in a row, each under its title.

    Raises:
        ValueError: no picture, or another number of titles.
    """
    if not pictures or len(pictures) != len(titles):
        raise ValueError(f"{len(pictures)} pictures and {len(titles)} titles")
    size = max(_LEAST, round(max(picture.shape[0] for picture in pictures) / 32))
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


def fit(picture: Picture, side: int) -> Picture:
    """The picture, made smaller if it is wider or higher than `side` pixels."""
    if max(picture.shape[:2]) <= side:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return np.array(image)


def titled(picture: Picture, title: str, size: int) -> Picture:
    """The picture under a bar with a title, whose letters are `size` pixels high."""
    font = _font(size)
    bar = Image.new("RGB", (picture.shape[1], size * 2), _GROUND)
    text = _fitting(title, font, bar.width - size)
    ImageDraw.Draw(bar).text((size // 2, size // 3), text, fill=_LETTERS, font=font)
    return np.vstack([np.array(bar), picture])


@lru_cache(maxsize=64)
def _label(text: str, size: int, width: int, colour: Colour) -> Picture:
    """The text on its ground within a black rim, at most `width` pixels wide. Not to be changed."""
    font = _font(size)
    rim = rim_width(size // 12)
    edge = rim + round(size * _PADDING)
    line = _fitting(text, font, width - 2 * edge)
    left, top, right, bottom = font.getbbox(line)
    shape = (max(1, int(right - left)) + 2 * edge, max(1, int(bottom - top)) + 2 * edge)
    canvas = Image.new("RGB", shape, colour)
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, shape[0] - 1, shape[1] - 1), outline=BLACK, width=rim)
    pen.text((edge - left, edge - top), line, fill=BLACK, font=font)
    return np.array(canvas)


@lru_cache(maxsize=32)
def _font(size: int) -> Font:
    """Pillow's own font, whose letters are `size` pixels high."""
    return ImageFont.load_default(size)


def _fitting(text: str, font: Font, width: int) -> str:
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
