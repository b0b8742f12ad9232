"""Instances drawn over an image."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from roilab.draw.colours import BLACK, Colour, Picture, colour_of, rim_of, side_of
from roilab.draw.keypoints import draw_crosses, draw_keypoints
from roilab.draw.labels import Labels
from roilab.draw.masks import Area, Mask, area_of, draw_area
from roilab.skeleton import Skeleton

Floats: TypeAlias = npt.NDArray[np.float64]
Colours: TypeAlias = Sequence[int] | npt.NDArray[np.int64]


def draw(
    image: Picture,
    *,
    boxes: npt.ArrayLike | None = None,
    masks: Sequence[Mask] | None = None,
    keypoints: npt.ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    colours: Colours | None = None,
    loose_points: npt.ArrayLike = (),
    skeleton: Skeleton | None = None,
    keypoint_threshold: float = 0.0,
    scale: int = 1,
) -> Picture:
    """Draw instances over an image. Every instance has a colour of its own.

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
        labels: N texts. An empty one is not drawn.
        colours: N numbers of colours in the palette, such as those of tracks, counted on from its
            start after its end; without them, an instance's place.
        loose_points: (P, 2), x y of points that belong to no instance, which become crosses.
        skeleton: links and sides of the keypoints; without it they are dots.
        keypoint_threshold: keypoints that are not seen better than that are not drawn.
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
    _check_counts(corners, masks, joints, labels, colours)
    count = 0 if joints is None or not len(joints) else joints.shape[1]
    if count and skeleton is not None and count != len(skeleton.keypoints):
        expected = f"the {len(skeleton.keypoints)} of skeleton '{skeleton.name}'"
        raise ValueError(f"keypoints: found {count}, expected {expected}")

    picture = _enlarged(image, scale)
    line = max(1, round(side_of(picture) / 300))
    areas = [area_of(mask, image.shape, scale) for mask in masks or ()]
    for place, area in enumerate(areas):
        draw_area(picture, area, _colour(colours, place), line)
    for place, box in enumerate(() if corners is None else corners):
        _draw_box(picture, box * scale, _colour(colours, place), line)
    if joints is not None and count:
        draw_keypoints(picture, joints, skeleton, keypoint_threshold, line, scale)
    draw_crosses(picture, np.asarray(loose_points, dtype=float).reshape(-1, 2), line, scale)
    anchors = _anchors(corners, areas, joints, keypoint_threshold, scale)
    written = Labels(picture)
    # Without anything to hold on to, labels are listed from the top left corner.
    for place, label in enumerate(labels or ()):
        if label:
            anchor = anchors[place] if anchors else (0, 0)
            written.add(label, anchor, _colour(colours, place))
    return picture


def _check_counts(*arrays: Sequence[object] | npt.NDArray[Any] | None) -> None:
    counts = [len(items) for items in arrays if items is not None]
    if len(set(counts)) > 1:
        raise ValueError(f"different numbers of instances: {counts}")


def _array(name: str, values: npt.ArrayLike | None, dimensions: int, last: int) -> Floats | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 and array.ndim < dimensions:
        return np.zeros((0,) * (dimensions - 1) + (last,))
    if array.ndim != dimensions or array.shape[-1] != last:
        shape = ", ".join([*"NK"[: dimensions - 1], str(last)])
        raise ValueError(f"{name}: found the shape {array.shape}, expected ({shape})")
    return array


def _colour(colours: Colours | None, place: int) -> Colour:
    return colour_of(place if colours is None else int(colours[place]))


def _enlarged(image: Picture, scale: int) -> Picture:
    if scale == 1:
        return np.array(image, order="C")
    height, width = image.shape[:2]
    size = (width * scale, height * scale)
    enlarged = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, dtype=np.uint8)


def _draw_box(picture: Picture, box: Floats, colour: Colour, line: int) -> None:
    """Four bars, the same number of pixels wide on all sides, which OpenCV's lines are not."""
    left, top, right, bottom = np.rint(np.clip(box, -(2**20), 2**20)).astype(int).tolist()
    outside, inside = line // 2, line - line // 2
    for rim, shade in ((rim_of(line), BLACK), (0, colour)):
        out, into = outside + rim, inside + rim
        for x0, y0, x1, y1 in (
            (left - out, top - out, right + out, top + into),
            (left - out, bottom - into, right + out, bottom + out),
            (left - out, top - out, left + into, bottom + out),
            (right - into, top - out, right + out, bottom + out),
        ):
            cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), shade, cv2.FILLED)


def _anchors(
    corners: Floats | None,
    areas: Sequence[Area],
    joints: Floats | None,
    threshold: float,
    scale: int,
) -> list[tuple[int, int]]:
    """Each instance's top left corner in the picture: of its box, else its mask, else points."""
    anchors = []
    points = [] if joints is None else [each[each[:, 2] > threshold, :2] * scale for each in joints]
    for box, area, point in zip_longest(() if corners is None else corners, areas, points):
        place = np.zeros(2)
        if box is not None:
            place = box[:2] * scale
        elif area is not None and area.pixels.any():
            place = np.array([area.left, area.top])
        elif point is not None and len(point):
            place = point.min(axis=0)
        anchors.append((int(place[0]), int(place[1])))
    return anchors
