"""Instances drawn over an image: masks and outlines, boxes, keypoints and links, labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from roilab.draw import palette
from roilab.draw.palette import BLACK, FADED, MIDDLE, PALETTE, Colour, Picture
from roilab.draw.sheets import draw_labels
from roilab.skeleton import Skeleton

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer[Any]]
Mask: TypeAlias = npt.NDArray[np.bool_] | Sequence[npt.ArrayLike]

# OpenCV's fixed point: coordinates are in 1/16 of a pixel.
BITS = 4
_OPACITY = 0.4  # of a mask's colour
# The radius of the dot of a keypoint that is hardly seen, and how much larger it is for one that is
# fully seen, in line widths.
_RADIUS = 0.9
_GROWTH = 1.1
# The radius of a ring, in those of the largest dot, and of its hole, in those of the ring.
_RING = 1.3
_HOLE = 0.6
_CROSS = 2.5  # how far the arms of a cross reach, in line widths
# In pixels: what is smaller and lies between pixels is as dark as its rim.
_LEAST_RADIUS = 1.5
_LEAST_WIDTH = 2
# A line is no wider than this share of the instance, so that dots of small ones stay apart.
_SHARE = 1 / 50


def draw_instances(
    image: Picture,
    *,
    boxes: npt.ArrayLike | None = None,
    masks: Sequence[Mask] | None = None,
    keypoints: npt.ArrayLike | None = None,
    occluded: npt.ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    colours: Sequence[int] | Ints | None = None,
    loose_points: npt.ArrayLike = (),
    skeleton: Skeleton | None = None,
    keypoint_threshold: float = 0.0,
    scale: int = 1,
) -> Picture:
    """Draw instances over an image, each in a colour of its own.

    Lines and letters grow with the picture, and have a rim that is seen on any ground.

    Args:
        image: HxWx3, uint8, RGB.
        boxes: (N, 4), x0 y0 x1 y1.
        masks: N masks, each HxW bool or a sequence of rings of (V, 2) vertices; [] for no mask.
        keypoints: (N, K, 3), x y and how well it is seen: 0 not, 1 fully, which is a model's score,
            or half of COCO's visibility. The better it is seen, the larger is its dot; a link is
            thin and grey by the weaker of its ends. NaN for none. Of a skeleton, the first side of
            its `swaps` is drawn light and warm, the second darker and cold, what has no partner
            white.
        occluded: (N, K), the keypoints that are drawn as large rings, not as dots.
        labels: N texts. An empty one is not drawn.
        colours: N numbers of colours in the palette, such as those of tracks, counted on from its
            start after its end; without them, an instance's place.
        loose_points: (P, 2), x y of points that belong to no instance, which become crosses.
        skeleton: links and sides of the keypoints; without it they are dots.
        keypoint_threshold: a keypoint is drawn where its third number exceeds it.
        scale: how many times larger the picture becomes, so that lines over small images are thin.

    Returns:
        A new picture, (H * scale)x(W * scale)x3, uint8, RGB.

    Raises:
        ValueError: an array has another form.
    """
    picture = _enlarged(image, scale)
    corners = _array("boxes", boxes, 2, 4)
    joints = _array("keypoints", keypoints, 3, 3)
    counts = [len(x) for x in (corners, masks, joints, labels, colours) if x is not None]
    if len(set(counts)) > 1:
        raise ValueError(f"different numbers of instances: {counts}")
    count = 0 if joints is None or not len(joints) else joints.shape[1]
    if count and skeleton is not None and count != len(skeleton.keypoints):
        expected = f"the {len(skeleton.keypoints)} of skeleton '{skeleton.name}'"
        raise ValueError(f"keypoints: found {count}, expected {expected}")

    line = max(1, round(palette.mean_side(picture) / 300))
    numbers = range(max(counts, default=0)) if colours is None else colours
    shades = [PALETTE[int(number) % len(PALETTE)] for number in numbers]
    areas = [area_of(mask, image.shape, scale) for mask in masks or ()]
    for area, shade in zip(areas, shades, strict=False):
        _draw_area(picture, area, shade, line)
    for box, shade in zip(() if corners is None else corners, shades, strict=False):
        _draw_box(picture, box * scale, shade, line)
    if joints is not None and count:
        _draw_keypoints(picture, joints, occluded, skeleton, keypoint_threshold, line, scale)
    _draw_crosses(picture, np.asarray(loose_points, dtype=float).reshape(-1, 2), line, scale)
    anchors = _anchors(corners, areas, joints, keypoint_threshold, scale)
    if labels is not None:
        # Without an anchor, labels are listed from the top left corner.
        draw_labels(picture, labels, anchors or [(0, 0)] * len(labels), shades)
    return picture


def _enlarged(image: Picture, scale: int) -> Picture:
    """A copy of the image, `scale` times as large."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image: found {image.shape} {image.dtype}, expected HxWx3 uint8")
    if scale < 1:
        raise ValueError(f"scale: found {scale}, expected 1 or more")
    picture = np.array(image, order="C")
    if scale == 1:
        return picture
    size = (image.shape[1] * scale, image.shape[0] * scale)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _array(name: str, values: npt.ArrayLike | None, dimensions: int, last: int) -> Floats | None:
    """The values as an array of `dimensions`, the last of the size `last`; None for none."""
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 and array.ndim < dimensions:
        return np.zeros((0,) * (dimensions - 1) + (last,))
    if array.ndim != dimensions or array.shape[-1] != last:
        shape = ", ".join([*"NK"[: dimensions - 1], str(last)])
        raise ValueError(f"{name}: found the shape {array.shape}, expected ({shape})")
    return array


def _anchors(
    corners: Floats | None,
    areas: Sequence["Area"],
    joints: Floats | None,
    threshold: float,
    scale: int,
) -> list[tuple[int, int]]:
    """Each instance's top left corner in the picture: of its box, else its mask, else points."""
    anchors = []
    points: list[Floats] = []
    if joints is not None:
        points = [row[row[:, 2] > threshold, :2] * scale for row in joints]
    for box, area, point in zip_longest(() if corners is None else corners, areas, points):
        left, top = 0.0, 0.0
        if box is not None:
            left, top = box[:2] * scale
        elif area is not None and area.pixels.any():
            left, top = area.left, area.top
        elif point is not None and len(point):
            left, top = point.min(axis=0)
        anchors.append((int(left), int(top)))
    return anchors


def subpixel(points: Floats, scale: float) -> npt.NDArray[np.int32]:
    """Continuous coordinates -> OpenCV's: fixed point, with (0, 0) in the middle of a pixel."""
    # OpenCV keeps fixed point in 32 bits; a point so far outside is not seen anyway.
    fixed = np.clip((points * scale - 0.5) * (1 << BITS), -(2**28), 2**28)
    return np.rint(fixed).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Area:
    """The part of a picture that a mask covers: `pixels` of 0 and 1 from column `left`, row `top`
    on. Without a pixel where the mask is empty or lies outside."""

    left: int = 0
    top: int = 0
    pixels: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))


def area_of(mask: Mask, shape: tuple[int, ...], scale: int) -> Area:
    """A mask or rings over an image of a shape, in the picture `scale` times larger.

    Raises:
        ValueError: the mask has another size.
    """
    height, width = shape[:2]
    if isinstance(mask, np.ndarray) and mask.dtype == np.bool_:
        if mask.shape != (height, width):
            raise ValueError(f"mask: found the shape {mask.shape}, expected {(height, width)}")
        left, top, wide, high = cv2.boundingRect(mask.view(np.uint8))
        pixels = mask[top : top + high, left : left + wide].view(np.uint8)
        if scale > 1 and pixels.size:
            # Edges stay where they are, and steps of single pixels become slopes.
            size = (wide * scale, high * scale)
            smooth = cv2.resize(pixels * np.uint8(254), size, interpolation=cv2.INTER_LINEAR)
            pixels = np.asarray(cv2.threshold(smooth, 126, 1, cv2.THRESH_BINARY)[1], np.uint8)
        return Area(left * scale, top * scale, pixels)
    rings = [subpixel(np.asarray(ring, float).reshape(-1, 2), scale) for ring in mask]
    vertices = np.concatenate([np.zeros((0, 2), np.int32), *rings])
    if not len(vertices):
        return Area()
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


def _draw_area(picture: Picture, area: Area, colour: Colour, line: int) -> None:
    """Tint an area and outline it; the rim lies outside, where it does not darken small masks."""
    if not area.pixels.size:
        return
    thin = max(1, line // 2)
    rim = palette.rim_width(thin) + thin // 2
    high, wide = area.pixels.shape
    # The area and the rim around it, as far as they are in the picture.
    left, top = max(0, area.left - rim), max(0, area.top - rim)
    part = picture[top : area.top + high + rim, left : area.left + wide + rim]
    pixels = np.zeros(part.shape[:2], np.uint8)
    pixels[area.top - top :, area.left - left :][:high, :wide] = area.pixels
    # The tinted picture, by a table of all values of a byte for each channel.
    shades = np.arange(256)[:, None] * (1 - _OPACITY) + np.array(colour) * _OPACITY
    tinted = cv2.LUT(part, np.rint(shades).astype(np.uint8)[None])
    around = cv2.dilate(pixels, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8))
    cv2.subtract(part, part, part, mask=around)  # black, as every rim
    cv2.copyTo(tinted, pixels, part)
    contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, contours, -1, colour, thin, cv2.LINE_AA, offset=(left, top))


def _draw_box(picture: Picture, box: Floats, colour: Colour, line: int) -> None:
    """Four bars, the same number of pixels wide on all sides, which OpenCV's lines are not."""
    left, top, right, bottom = np.rint(np.clip(box, -(2**20), 2**20)).astype(int).tolist()
    outside, inside = line // 2, line - line // 2
    for rim, shade in ((palette.rim_width(line), BLACK), (0, colour)):
        out, into = outside + rim, inside + rim
        for x0, y0, x1, y1 in (
            (left - out, top - out, right + out, top + into),
            (left - out, bottom - into, right + out, bottom + out),
            (left - out, top - out, left + into, bottom + out),
            (right - into, top - out, right + out, bottom + out),
        ):
            cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), shade, cv2.FILLED)


def _draw_keypoints(
    picture: Picture,
    joints: Floats,
    occluded: npt.ArrayLike | None,
    skeleton: Skeleton | None,
    threshold: float,
    line: int,
    scale: int,
) -> None:
    """Links under dots and rings, an instance after the other, as `draw_instances` takes them."""
    seen = joints[..., 2] > threshold
    rings = np.asarray(np.zeros_like(seen) if occluded is None else occluded, bool)
    joints = np.nan_to_num(joints)
    places = subpixel(joints[..., :2], scale)
    strengths = np.clip(joints[..., 2], 0, 1)
    # Of all keypoints, seen or not: two eyes alone do not make a small person.
    extents = np.ptp(joints[..., :2], axis=1).max(axis=1) * scale
    colours = palette.side_colours(skeleton, joints.shape[1])
    links = np.array(skeleton.link_indices if skeleton is not None else (), int).reshape(-1, 2)
    parts = zip(places, strengths, rings, seen, extents, strict=True)
    for place, strength, is_ring, shown, extent in parts:
        if not shown.any():
            continue
        width = max(1, min(line, round(extent * _SHARE))) if extent else line
        rim = palette.rim_width(width)

        # The links of which both ends are drawn.
        whole = links[shown[links].all(axis=1)]
        # A link has the strength of its weaker end, and the colour of its ends.
        weaker = strength[whole].min(axis=1)
        first, second = colours[whole].swapaxes(0, 1)
        joined = np.where((first == second).all(axis=1, keepdims=True), first, MIDDLE)
        shades = np.array(FADED) + (joined - np.array(FADED)) * np.sqrt(weaker)[:, None]
        widths = np.maximum(_LEAST_WIDTH, np.ceil(width * (1 + weaker) / 2)).astype(int)
        lines = list(zip(place[whole].tolist(), widths.tolist(), shades.tolist(), strict=True))
        for (start, end), wide, _ in lines:
            cv2.line(picture, start, end, BLACK, wide + 2 * rim, cv2.LINE_AA, BITS)
        for (start, end), wide, shade in lines:
            cv2.line(picture, start, end, shade, wide, cv2.LINE_AA, BITS)

        sizes = np.where(is_ring, 1, strength)[shown]
        radii = np.maximum(_LEAST_RADIUS, width * (_RADIUS + _GROWTH * sizes))
        radii[is_ring[shown]] *= _RING
        inner = np.rint(radii * (1 << BITS)).astype(int)
        holes = np.where(is_ring[shown], inner * _HOLE, 0).astype(int)
        dots = (place[shown].tolist(), inner.tolist(), holes.tolist(), colours[shown].tolist())
        for middle, radius, hole, colour in zip(*dots, strict=True):
            outer = radius + (rim << BITS)
            cv2.circle(picture, middle, outer, BLACK, cv2.FILLED, cv2.LINE_AA, BITS)
            cv2.circle(picture, middle, radius, colour, cv2.FILLED, cv2.LINE_AA, BITS)
            if hole:
                cv2.circle(picture, middle, hole, BLACK, cv2.FILLED, cv2.LINE_AA, BITS)


def _draw_crosses(picture: Picture, points: Floats, line: int, scale: int) -> None:
    """White crosses with a black rim, over the (P, 2) points."""
    reach = round((_CROSS * line + 1) * (1 << BITS))
    for colour, width in ((BLACK, line + 2 * palette.rim_width(line)), (MIDDLE, line)):
        for place in subpixel(points, scale):
            for arm in np.array([[reach, reach], [reach, -reach]]):
                ends = (place - arm).tolist(), (place + arm).tolist()
                cv2.line(picture, *ends, colour, width, cv2.LINE_AA, BITS)
