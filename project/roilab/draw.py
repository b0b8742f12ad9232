"""Pictures of instances, from arrays and a skeleton. No torch, no Detectron2.

Coordinates are continuous: the pixel of column c and row r covers [c, c + 1) x [r, r + 1).
"""

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from roilab.skeleton import Skeleton

Picture: TypeAlias = npt.NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]
Ring: TypeAlias = npt.ArrayLike
Mask: TypeAlias = npt.NDArray[np.bool_] | Sequence[Ring]
# A label's or a title's rectangle in the picture: x0, y0, x1, y1.
_Span: TypeAlias = tuple[int, int, int, int]

# Hues that differ for most colour-blind readers too, in an order that keeps neighbours apart.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 190, 130),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (110, 120, 255),
    (160, 220, 60),
    (255, 110, 110),
    (0, 200, 210),
)
_FIRST_SIDE: Colour = (255, 120, 20)
_SECOND_SIDE: Colour = (40, 150, 255)
_MIDDLE: Colour = (240, 240, 240)
_DARK: Colour = (24, 24, 24)
_MASK_OPACITY = 0.4
_SUBPIXEL_BITS = 4


def draw(
    image: Picture,
    *,
    boxes: npt.ArrayLike | None = None,
    masks: Sequence[Mask] | None = None,
    keypoints: npt.ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    skeleton: Skeleton | None = None,
    keypoint_threshold: float = 0.0,
    scale: int = 1,
) -> Picture:
    """Draw instances over an image. Every instance has a colour of its own, by its place.

    Args:
        image: HxWx3, uint8, RGB.
        boxes: (N, 4), x0 y0 x1 y1.
        masks: N masks, each HxW bool or a sequence of rings of (V, 2) vertices; [] for no mask.
        keypoints: (N, K, 3), x y and a score or a visibility. Of a skeleton, the first side of its
            `swaps` is drawn warm, the second cold, what has no partner white.
        labels: N texts. An empty one is not drawn.
        skeleton: links and sides of the keypoints; without it they are dots.
        keypoint_threshold: keypoints whose score or visibility is not above it are not drawn.
        scale: how many times larger the picture becomes, so that lines over small images are thin.

    Returns:
        A new picture, (H * scale)x(W * scale)x3, uint8, RGB.

    Raises:
        ValueError: an array has another form than said here.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image: found {image.shape} {image.dtype}, expected HxWx3 uint8")
    if scale < 1:
        raise ValueError(f"scale: found {scale}, expected 1 or more")
    corners = _array("boxes", boxes, 2, 4)
    joints = _array("keypoints", keypoints, 3, 3)
    given = [items for items in (corners, masks, joints, labels) if items is not None]
    if len({len(items) for items in given}) > 1:
        raise ValueError(f"different numbers of instances: {[len(items) for items in given]}")
    count = 0 if joints is None or not len(joints) else joints.shape[1]
    if count and skeleton is not None and count != len(skeleton.keypoints):
        expected = f"the {len(skeleton.keypoints)} of skeleton '{skeleton.name}'"
        raise ValueError(f"keypoints: found {count}, expected {expected}")

    picture = _enlarged(image, scale)
    line = max(1, round(max(picture.shape[:2]) / 360))
    areas = [_filled(mask, image.shape[:2], scale) for mask in masks or ()]
    for colour, area in _coloured(areas):
        _draw_mask(picture, area, colour, line)
    for colour, box in _coloured([] if corners is None else list(corners)):
        _draw_box(picture, box, colour, line, scale)
    for joint in [] if joints is None else joints:
        _draw_keypoints(picture, joint, skeleton, keypoint_threshold, line, scale)
    anchors = _anchors(corners, areas, joints, keypoint_threshold, scale)
    return _draw_labels(picture, labels or (), anchors)


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
    sheet = np.full(shape, _DARK, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        high, wide = picture.shape[:2]
        top = gap + row * (height + gap) + (height - high) // 2
        left = gap + column * (width + gap) + (width - wide) // 2
        sheet[top : top + high, left : left + wide] = picture
    return sheet


def _array(
    name: str, values: npt.ArrayLike | None, dimensions: int, last: int
) -> npt.NDArray[np.float64] | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 and array.ndim < dimensions:
        return np.zeros((0,) * (dimensions - 1) + (last,))
    if array.ndim != dimensions or array.shape[-1] != last:
        shape = ", ".join([*"NK"[: dimensions - 1], str(last)])
        raise ValueError(f"{name}: found the shape {array.shape}, expected ({shape})")
    return array


def _coloured(items: Sequence[Any]) -> Iterator[tuple[Colour, Any]]:
    for place, item in enumerate(items):
        yield PALETTE[place % len(PALETTE)], item


def _enlarged(image: Picture, scale: int) -> Picture:
    if scale == 1:
        return np.array(image, order="C")
    height, width = image.shape[:2]
    size = (width * scale, height * scale)
    enlarged = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, dtype=np.uint8)


def _filled(mask: Mask, size: tuple[int, ...], scale: int) -> npt.NDArray[np.uint8]:
    """A mask or rings as a picture of 0 and 1 in the enlarged size."""
    height, width = size
    if isinstance(mask, np.ndarray) and mask.dtype == np.bool_:
        if mask.shape != (height, width):
            raise ValueError(f"mask: found the shape {mask.shape}, expected {(height, width)}")
        return mask.repeat(scale, axis=0).repeat(scale, axis=1).view(np.uint8)
    area = np.zeros((height * scale, width * scale), dtype=np.uint8)
    for ring in mask:
        vertices = _subpixel(np.asarray(ring, dtype=np.float64).reshape(-1, 2), scale)
        # One ring at a time: together, what two rings share would count as a hole.
        if len(vertices):
            cv2.fillPoly(area, [vertices], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return area


def _subpixel(points: npt.NDArray[np.float64], scale: int) -> npt.NDArray[np.int32]:
    """Continuous coordinates -> OpenCV's: fixed point, with (0, 0) in the middle of a pixel."""
    # OpenCV keeps fixed point in 32 bits; what lies so far outside is not seen anyway.
    fixed = np.clip((points * scale - 0.5) * (1 << _SUBPIXEL_BITS), -(2**28), 2**28)
    return np.rint(fixed).astype(np.int32)


def _draw_mask(picture: Picture, area: npt.NDArray[np.uint8], colour: Colour, line: int) -> None:
    inside = area.astype(bool)
    blended = picture[inside] * (1 - _MASK_OPACITY) + np.array(colour) * _MASK_OPACITY
    picture[inside] = np.rint(blended).astype(np.uint8)
    contours, _ = cv2.findContours(area, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, max(1, line // 2), cv2.LINE_AA)


def _draw_box(
    picture: Picture, box: npt.NDArray[np.float64], colour: Colour, line: int, scale: int
) -> None:
    # Whole pixels keep an upright line sharp; the last pixel inside is one less than the edge.
    left, top, right, bottom = np.rint(np.clip(box * scale, -(2**20), 2**20)).astype(int).tolist()
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, line)


def _draw_keypoints(
    picture: Picture,
    joints: npt.NDArray[np.float64],
    skeleton: Skeleton | None,
    threshold: float,
    line: int,
    scale: int,
) -> None:
    """Links under dots. `joints`: (K, 3)."""
    seen = joints[:, 2] > threshold
    places = [tuple(place) for place in _subpixel(joints[:, :2], scale).tolist()]
    colours = _joint_colours(skeleton, len(joints))
    for start, end in skeleton.link_indices if skeleton is not None else ():
        if seen[start] and seen[end]:
            colour = colours[start] if colours[start] == colours[end] else _MIDDLE
            for width, shade in ((line + 2, _DARK), (line, colour)):
                ends = (places[start], places[end])
                cv2.line(picture, *ends, shade, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    radius = (line + 1) << _SUBPIXEL_BITS
    for place, colour in ((places[k], colours[k]) for k in range(len(joints)) if seen[k]):
        rim = radius + (1 << _SUBPIXEL_BITS)
        cv2.circle(picture, place, rim, _DARK, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.circle(picture, place, radius, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _joint_colours(skeleton: Skeleton | None, count: int) -> list[Colour]:
    colours = [_MIDDLE] * count
    if skeleton is None:
        return colours
    for first, second in skeleton.swaps:
        colours[skeleton.keypoints.index(first)] = _FIRST_SIDE
        colours[skeleton.keypoints.index(second)] = _SECOND_SIDE
    return colours


def _anchors(
    corners: npt.NDArray[np.float64] | None,
    areas: Sequence[npt.NDArray[np.uint8]],
    joints: npt.NDArray[np.float64] | None,
    threshold: float,
    scale: int,
) -> list[tuple[int, int]]:
    """Each instance's top left corner in the picture: of its box, else its mask, else points."""
    anchors = []
    boxes = [] if corners is None else [box[:2] * scale for box in corners]
    points = [] if joints is None else [each[each[:, 2] > threshold, :2] * scale for each in joints]
    for box, area, point in zip_longest(boxes, areas, points):
        place = np.zeros(2) if box is None else box
        if box is None and area is not None and area.any():
            place = np.array([area.any(axis=0).argmax(), area.any(axis=1).argmax()])
        elif box is None and point is not None and len(point):
            place = point.min(axis=0)
        anchors.append((int(place[0]), int(place[1])))
    return anchors


def _draw_labels(
    picture: Picture, labels: Sequence[str], anchors: Sequence[tuple[int, int]]
) -> Picture:
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(max(11, round(max(picture.shape[:2]) / 48)))
    taken: list[_Span] = []
    # Without anything to hold on to, labels are listed from the top left corner.
    for place, label in enumerate(labels):
        if not label:
            continue
        text = _fitting(label, font, canvas.width - 4)
        left, top, right, bottom = font.getbbox(text)
        width, height = int(right - left) + 4, int(bottom - top) + 4
        x, y = anchors[place] if place < len(anchors) else (0, 0)
        span = _free_span(x, y, (width, height), canvas.size, taken)
        taken.append(span)
        colour = PALETTE[place % len(PALETTE)]
        pen.rectangle((span[0], span[1], span[2] - 1, span[3] - 1), fill=colour)
        pen.text((span[0] + 2 - left, span[1] + 2 - top), text, fill=_ink(colour), font=font)
    return np.array(canvas)


def _free_span(
    x: int, y: int, size: tuple[int, int], limits: tuple[int, int], taken: Sequence[_Span]
) -> _Span:
    """A place near (x, y) inside the picture: above it, else the next one below that is free."""
    width, height = size
    left = max(0, min(x, limits[0] - width))
    first = max(0, min(y - height, limits[1] - height))
    for top in range(first, max(first, limits[1] - height) + 1, max(1, height)):
        span = (left, top, left + width, top + height)
        if not any(_overlap(span, other) for other in taken):
            return span
    return (left, first, left + width, first + height)


def _overlap(a: _Span, b: _Span) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def titled(picture: Picture, title: str, size: int) -> Picture:
    """The picture under a bar with a title, whose letters are `size` pixels high."""
    font = ImageFont.load_default(size)
    bar = Image.new("RGB", (picture.shape[1], size * 2), _DARK)
    text = _fitting(title, font, bar.width - size)
    ImageDraw.Draw(bar).text((size // 2, size // 3), text, fill=_MIDDLE, font=font)
    return np.vstack([np.array(bar), picture])


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
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


def _ink(ground: Colour) -> Colour:
    """Black or white, whichever reads better (luma of ITU-R BT.601)."""
    red, green, blue = ground
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else (255, 255, 255)
