"""Pixel indices and continuous coordinates; boxes: of instances, within the image, their faults."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from roilab import via

Box = tuple[float, float, float, float]
HALF_PIXEL = 0.5
# Room around the keypoints of an object that has no outline, as a share of their extent: joints lie
# inside the body, so their own bounding box would cut it.
KEYPOINT_BOX_MARGIN = 0.1
# A box that has less than this in common with its outline is not the box of it.
LEAST_IOU = 0.5
# Boxes that include their last pixel are one larger: that is no mistake worth a word.
ROUNDING = 1.0


def to_continuous(keypoints: Sequence[Sequence[float]]) -> list[float]:
    """K triples (x, y, v) in pixel indices -> 3K numbers in Detectron2's continuous frame.

    Unlabelled keypoints (v = 0) stay (0, 0, 0).
    """
    return [
        number
        for x, y, v in keypoints
        for number in ((x + HALF_PIXEL, y + HALF_PIXEL, int(v)) if v else (0.0, 0.0, 0))
    ]


def to_pixel_index(keypoints: Sequence[float] | npt.NDArray[np.floating]) -> list[float]:
    """3K numbers in the continuous frame -> 3K numbers in pixel indices, as COCO json holds them.

    The third of each triple, a visibility or a score, is kept. Ground truth with v = 0 stays zero.
    """
    triples: npt.NDArray[np.float64] = np.array(keypoints, dtype=float).reshape(-1, 3)
    shifted = triples[triples[:, 2] != 0, :2] - HALF_PIXEL
    # Without the noise of the shift there and back: 0.1 + 0.5 - 0.5 is no 0.1.
    triples[triples[:, 2] != 0, :2] = shifted.round(9)
    return [float(value) for value in triples.ravel()]


def box_of(instance: via.Instance, width: int, height: int) -> list[float]:
    """Box (x0, y0, x1, y1) of an instance within its image: the one that models are trained on.

    It is that of the COCO annotation if there is one and something of it lies in the image; else it
    bounds the outlines, else the labelled keypoints with a margin.
    """
    own = own_box(instance, width, height)
    return list(_clipped(own or extent_of(instance), width, height))


def own_box(instance: via.Instance, width: int, height: int) -> Box | None:
    """Box (x0, y0, x1, y1) as the file states it; None where it states none within the image."""
    box = _stated(instance)
    return box if box is not None and _has_area(_clipped(box, width, height)) else None


def _stated(instance: via.Instance) -> Box | None:
    """Box (x0, y0, x1, y1) of the COCO annotation, also outside the image; None for none."""
    if instance.coco is None or instance.coco.box is None:
        return None
    x, y, width, height = instance.coco.box
    return x, y, x + width, y + height


def extent_of(instance: via.Instance) -> Box:
    """The box (x0, y0, x1, y1) around outlines, curves within half a pixel; else keypoints."""
    plain = via.Polygon | via.Polyline | via.Rect
    if instance.outlines and all(isinstance(shape, plain) for shape in instance.outlines):
        x0s, y0s, x1s, y1s = zip(*map(via.bounds, instance.outlines), strict=True)
        return min(x0s), min(y0s), max(x1s), max(y1s)
    if instance.outlines:
        points = np.concatenate([np.asarray(ring, dtype=float) for ring in instance.polygons])
        low, high = points.min(axis=0), points.max(axis=0)
    else:
        points = np.array([(x, y) for x, y, v in instance.keypoints or () if v])
        low, high = points.min(axis=0), points.max(axis=0) + 2 * HALF_PIXEL
        margin = KEYPOINT_BOX_MARGIN * (high - low).max()
        low, high = low - margin, high + margin
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def is_outside(instance: via.Instance, width: int, height: int) -> bool:
    """Whether nothing is left of an instance that is cut to its image."""
    return not _has_area(_clipped(extent_of(instance), width, height))


def box_fault(box: Box, outline: Box | None, width: int, height: int) -> str:
    """The fault of a box (x0, y0, x1, y1) of an object in an image; "" for a sound box.

    Args:
        outline: the box around the object's outline; None where it has none.
    """
    if outline is not None:
        overlap = iou(box, outline)
        if overlap < LEAST_IOU:
            return f"has an IoU of {overlap:.2f} with its outline"
    out = max(-box[0], -box[1], box[2] - width, box[3] - height)
    if out <= ROUNDING:
        return ""
    return f"reaches {out:g} pixels beyond the image of {width} x {height}"


def stated_box_fault(instance: via.Instance, width: int, height: int) -> str:
    """The fault of the box that a COCO file states for an object; "" for a sound box."""
    coco = instance.coco
    box = _stated(instance)
    if coco is None or coco.box is None or box is None:
        return ""
    outline = extent_of(instance) if coco.mask is not None else None
    fault = box_fault(box, outline, width, height)
    if not fault:
        return ""
    # Whether the four numbers make sense as two corners, which some programs write.
    if outline is not None:
        has_corners = iou(coco.box, outline) > max(iou(box, outline), LEAST_IOU)
    else:
        x, y, right, bottom = coco.box
        has_corners = x < right <= width + ROUNDING and y < bottom <= height + ROUNDING
    reason = ", as if x0, y0, x1, y1 stood there" if has_corners else ""
    numbers = ", ".join(f"{number:g}" for number in coco.box)
    return f"the bbox of annotation {coco.id} ({numbers}) {fault}{reason}"


def _clipped(box: Box, width: int, height: int) -> Box:
    x0, y0, x1, y1 = (
        float(min(max(value, 0), limit))
        for value, limit in zip(box, (width, height, width, height), strict=True)
    )
    return x0, y0, x1, y1


def _has_area(box: Box) -> bool:
    return box[0] < box[2] and box[1] < box[3]


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0 where one has no area, as with exchanged corners."""
    corner = max(one[0], other[0]), max(one[1], other[1])
    shared = (*corner, min(one[2], other[2]), min(one[3], other[3]))
    if not (_has_area(one) and _has_area(other) and _has_area(shared)):
        return 0.0
    common = _area(shared)
    return common / (_area(one) + _area(other) - common)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
