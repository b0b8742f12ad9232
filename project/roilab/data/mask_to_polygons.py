"""Masks as polygons along the borders of pixels; COCO's run lengths, and files that hold them."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as mask_utils

from roilab import via
from roilab.data.cityscapes import is_cityscapes, read_cityscapes

Ring = list[float]
# Directions of a border, clockwise on the screen, the mask to the right: x and y steps.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
# Bounds of an encoded mask, which is decoded whole: of a side, and of all pixels.
_MOST_SIDE = 1 << 20
_MOST_PIXELS = 1 << 28


def rings_of(mask: npt.NDArray[np.bool_], tolerance: float = 0.0) -> tuple[list[Ring], int]:
    """The polygons of a mask: its outer borders along the edges of pixels.

    Pixels that touch only at a corner belong to different polygons.

    Args:
        mask: H x W.
        tolerance: largest distance of a ring from the border, in pixels, to have fewer vertices.

    Returns:
        Rings x0, y0, x1, y1, ..., the largest first, and the number of pixels in holes.
    """
    rings: list[tuple[float, Ring]] = []
    holes = 0.0
    for loop in _borders(mask):
        points = np.array(loop, dtype=np.float32)
        area = cv2.contourArea(points, oriented=True)
        if area < 0:  # around a hole
            holes -= area
            continue
        ring = points
        if tolerance > 0:
            fewer = np.asarray(cv2.approxPolyDP(points, tolerance, closed=True), np.float32)
            if len(fewer) > 2:
                ring = fewer
        rings.append((area, ring.astype(float).ravel().tolist()))
    rings.sort(key=lambda pair: -pair[0])
    return [ring for _, ring in rings], round(holes)


def rings_without_holes(mask: npt.NDArray[np.bool_]) -> list[Ring]:
    """Polygons that hold exactly the pixels of a mask, which is cut in two through each hole.

    Args:
        mask: H x W.

    Returns:
        Rings x0, y0, x1, y1, ... along the edges of pixels, in no order.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return []
    corner = np.array([columns[0], rows[0]], np.float32)
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    loops = [np.array(loop, np.float32) + corner for loop in _borders(part)]
    hole = next((loop for loop in loops if cv2.contourArea(loop, oriented=True) < 0), None)
    if hole is None:
        return [loop.ravel().tolist() for loop in loops]
    # The hole then lies at an edge of both parts or, where it is a column wide, of the right one.
    cut = int(hole[:, 0].min() + hole[:, 0].max()) // 2
    sides = mask.copy(), mask.copy()
    sides[0][:, cut:] = sides[1][:, :cut] = False
    return [ring for side in sides for ring in rings_without_holes(side)]


def rings_of_rle(segmentation: Mapping[str, object]) -> tuple[list[Ring], int]:
    """The rings of a mask in COCO's run-length encoding, compressed or not; see `rings_of`.

    Raises:
        ValueError: the encoding is not sound.
    """
    return rings_of(mask_utils.decode(compressed(segmentation)).astype(bool))


def box_of_rle(segmentation: Mapping[str, object]) -> tuple[list[Ring], int]:
    """The box around a mask in COCO's run-length encoding as a ring, none for an empty mask; and 0.

    Raises:
        ValueError: the encoding is not sound.
    """
    rle = compressed(segmentation)
    if not mask_utils.area(rle):  # of which pycocotools may return any box
        return [], 0
    x, y, width, height = map(float, mask_utils.toBbox(rle))
    return [[x, y, x + width, y, x + width, y + height, x, y + height]], 0


def read_annotations(path: str | Path, *, strict: bool = False) -> via.Annotations:
    """`via.read`, with run-length encoded masks as polygons; also of a folder of Cityscapes."""
    if is_cityscapes(path):
        return read_cityscapes(path, rings_of_rle)
    return via.read(path, strict=strict, rings_of_rle=rings_of_rle)


def compressed(segmentation: Mapping[str, object]) -> dict[str, object]:
    """A mask in COCO's run-length encoding, checked and compressed: its size, its counts as bytes.

    Args:
        segmentation: with its counts as a list of lengths, or as text.

    Raises:
        ValueError: the encoding is not sound.
    """
    size = segmentation.get("size")
    counts = segmentation.get("counts")
    if not (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and 0 < side <= _MOST_SIDE for side in size)
        and size[0] * size[1] <= _MOST_PIXELS
    ):
        raise ValueError(f"its size is {size!r:.40}, expected [height, width]")
    height, width = size
    if isinstance(counts, list):
        if not all(type(length) is int and length >= 0 for length in counts):
            raise ValueError("its counts are no lengths")
        if sum(counts) != height * width:
            raise ValueError(f"its counts cover {sum(counts)} of {height * width} pixels")
        return dict(mask_utils.frPyObjects(dict(segmentation), height, width))
    if not isinstance(counts, str) or not covers(counts, height * width):
        raise ValueError("its counts do not cover the mask")
    return {"size": size, "counts": counts.encode("ascii")}


def covers(counts: str, pixels: int) -> bool:
    """Whether compressed counts sum to so many pixels; pycocotools reads beyond the end of others.

    Each count is a signed number in groups of five bits, the lowest first; from the third on it is
    the difference to the one before the last (maskApi.c, rleFrString).
    """
    lengths: list[int] = []
    value = shift = 0
    more = False
    for letter in counts:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            return False
        value |= (bits & 31) << shift
        shift += 5
        more = bool(bits & 32)
        if not more:
            if bits & 16:
                value -= 1 << shift
            if len(lengths) > 2:
                value += lengths[-2]
            if value < 0:
                return False
            lengths.append(value)
            value = shift = 0
    return not more and sum(lengths) == pixels


def _borders(mask: npt.NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Closed loops of corners along the border, clockwise around the mask, else around holes."""
    padded = np.pad(mask.astype(bool), 1)
    inside = padded[1:-1, 1:-1]
    # Direction -> where a border starts: the pixel above, right of, below or left of is outside.
    outside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))
    # Corner -> the directions of the borders that start at it, two where pixels touch at a corner.
    leaving: dict[tuple[int, int], list[int]] = {}
    for direction, (beyond, (dx, dy)) in enumerate(zip(outside, corners, strict=True)):
        ys, xs = np.nonzero(inside & ~beyond)
        for corner in zip((xs + dx).tolist(), (ys + dy).tolist(), strict=True):
            leaving.setdefault(corner, []).append(direction)

    remaining = {
        (corner, direction) for corner, directions in leaving.items() for direction in directions
    }
    loops = []
    while remaining:
        edge = next(iter(remaining))
        loop = []
        while edge in remaining:
            remaining.remove(edge)
            (x, y), direction = edge
            dx, dy = _STEPS[direction]
            corner = (x + dx, y + dy)
            # Where two pixels touch at a corner, the border turns right and stays at its own.
            right = (direction + 1) % 4
            following = right if right in leaving[corner] else leaving[corner][0]
            if following != direction:
                loop.append(corner)
            edge = (corner, following)
        loops.append(loop)
    return loops
