"""Boxes that do not fit their image or their outline, and what bounds an object."""

import numpy as np
import pytest

from roilab import via
from roilab.data import coordinates
from roilab.data.coordinates import ROUNDING, Box, box_fault, extent_of, iou

WIDTH, HEIGHT = 40, 30


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((3, 5, 13, 25), 1.0),
        ((8, 5, 18, 25), 1 / 3),
        ((3, 15, 13, 35), 1 / 3),
        ((3, 5, 13, 15), 1 / 2),
        ((13, 5, 23, 25), 0.0),  # they touch
        ((3, 25, 13, 45), 0.0),
        ((13, 25, 3, 5), 0.0),  # corners exchanged
    ],
)
def test_iou(other: Box, expected: float) -> None:
    box = (3, 5, 13, 25)
    assert iou(box, other) == iou(other, box) == pytest.approx(expected)


@pytest.mark.parametrize("side", range(4))
def test_a_box_may_be_one_pixel_larger_than_its_image_at_each_side(side: int) -> None:
    outwards = (-1, -1, 1, 1)[side]
    box = [0.0, 0.0, WIDTH, HEIGHT]
    box[side] += outwards * ROUNDING
    assert box_fault(tuple(box), None, WIDTH, HEIGHT) == ""
    box[side] += outwards * 0.5
    fault = box_fault(tuple(box), None, WIDTH, HEIGHT)
    assert fault == "reaches 1.5 pixels beyond the image of 40 x 30"


@pytest.mark.parametrize(
    ("box", "are_corners"),
    [
        ((10, 5, WIDTH + ROUNDING, HEIGHT), True),
        ((10, 5, WIDTH, HEIGHT + ROUNDING), True),
        ((10, 5, WIDTH + ROUNDING + 0.5, HEIGHT), False),
        ((10, 5, WIDTH, HEIGHT + ROUNDING + 0.5), False),
        ((WIDTH, 5, WIDTH, HEIGHT), False),
        ((10, HEIGHT, WIDTH, HEIGHT), False),
    ],
)
def test_corners_in_place_of_a_size_are_named(
    box: tuple[float, float, float, float], are_corners: bool
) -> None:
    """Four numbers that are corners of a box in the image, while their x + width is not."""
    stated = via.CocoAnnotation("7", "car", box, None, None, (), False)
    instance = via.Instance("car", (), None, (0,), coco=stated)
    fault = coordinates.stated_box_fault(instance, WIDTH, HEIGHT)
    assert "the bbox of annotation 7" in fault
    assert ("as if x0, y0, x1, y1" in fault) is are_corners


@pytest.mark.parametrize(
    "curve",
    [
        via.Circle(20.0, 12.0, 8.0),
        via.Ellipse(20.0, 12.0, 14.0, 4.0, 0.0),
        via.Ellipse(20.0, 12.0, 14.0, 4.0, np.pi / 6),
    ],
)
def test_the_extent_of_a_curve_is_that_of_its_polygon(curve: via.Shape) -> None:
    """So that the box is the one of the mask that is trained on."""
    square = via.Rect(1.0, 2.0, 3.0, 4.0)
    instance = via.Instance("car", (curve, square), None, (0,))
    (ring, _) = (np.array(polygon) for polygon in instance.polygons)
    x0, y0, x1, y1 = extent_of(instance)
    assert (x0, y0) == (1.0, 2.0)
    assert (x1, y1) == tuple(ring.max(axis=0))


def test_the_extent_of_keypoints_has_a_margin_of_their_larger_side() -> None:
    """A keypoint is a pixel, so that they reach to the far side of the last."""
    points = ((10.0, 10.0, 2), (29.0, 48.0, 1), (0.0, 0.0, 0))
    instance = via.Instance("person", (), points, (0,))
    end, margin = 2 * coordinates.HALF_PIXEL, 3.9
    expected = (10 - margin, 10 - margin, 29 + end + margin, 48 + end + margin)
    assert extent_of(instance) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0, 0, False),
        (WIDTH - 1, HEIGHT - 1, False),
        (WIDTH, 0, True),
        (0, HEIGHT, True),
        (-5, 0, True),
        (0, -5, True),
        (-4, -4, False),
    ],
)
def test_an_object_is_outside_where_nothing_of_it_is_in_the_image(
    x: float, y: float, expected: bool
) -> None:
    instance = via.Instance("car", (via.Rect(x, y, 5.0, 5.0),), None, (0,))
    assert coordinates.is_outside(instance, WIDTH, HEIGHT) is expected
