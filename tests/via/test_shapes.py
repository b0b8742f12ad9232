"""Outlines against the true curves, bounds, and what lies inside."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab.via.geometry import area, bounds, contains, encloses_area, open_ring, outline
from roilab.via.records import Circle, Ellipse, Point, Polygon, Polyline, Rect

SQUARE = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0))


def test_rect_outline_and_bounds() -> None:
    rect = Rect(2, 3, 10, 5)
    assert outline(rect) == ((2, 3), (12, 3), (12, 8), (2, 8))
    assert bounds(rect) == (2, 3, 12, 8)


@given(rx=st.floats(0.5, 2000), ry=st.floats(0.5, 2000), theta=st.floats(-7, 7, allow_nan=False))
def test_ellipse_outline_stays_within_half_a_pixel(rx: float, ry: float, theta: float) -> None:
    ellipse = Ellipse(100, 50, rx, ry, theta)
    ring = outline(ellipse)
    cos, sin = math.cos(theta), math.sin(theta)
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        for x, y in ((x0, y0), ((x0 + x1) / 2, (y0 + y1) / 2)):
            u, v = x - 100, y - 50
            u, v = u * cos + v * sin, -u * sin + v * cos
            radius = math.hypot(u / rx, v / ry)
            # The nearest point of the curve is no farther than the one in the same direction.
            assert math.hypot(u, v) * abs(1 / radius - 1) <= 0.5 + 1e-6


def test_theta_turns_clockwise_on_the_screen() -> None:
    x, y = max(outline(Ellipse(0, 0, 10, 1, math.radians(30))), key=lambda p: p[0])
    assert (x, y) == pytest.approx((10 * math.cos(math.pi / 6), 5), abs=0.3)


@given(rx=st.floats(1, 500), ry=st.floats(1, 500), theta=st.floats(-7, 7))
def test_bounds_of_an_ellipse_hold_its_outline(rx: float, ry: float, theta: float) -> None:
    ellipse = Ellipse(3, 4, rx, ry, theta)
    x0, y0, x1, y1 = bounds(ellipse)
    ring = outline(ellipse, tolerance=0.01)
    assert x0 == pytest.approx(min(x for x, _ in ring), abs=0.02)
    assert y0 == pytest.approx(min(y for _, y in ring), abs=0.02)
    assert x1 == pytest.approx(max(x for x, _ in ring), abs=0.02)
    assert y1 == pytest.approx(max(y for _, y in ring), abs=0.02)


def test_circle_is_an_ellipse() -> None:
    assert outline(Circle(5, 6, 20)) == outline(Ellipse(5, 6, 20, 20))
    assert bounds(Circle(5, 6, 20)) == pytest.approx((-15, -14, 25, 26))


def test_polyline_is_taken_as_the_ring_it_outlines() -> None:
    assert outline(Polyline.through((*SQUARE, SQUARE[0]))) == SQUARE
    assert outline(Polyline.through(SQUARE[:2])) == ()
    assert outline(Polyline.through(((0, 0), (1, 1), (5, 5)))) == ()


def test_bounds_of_the_others() -> None:
    assert bounds(Polygon.through(SQUARE)) == (0, 0, 4, 4)
    assert bounds(Point(7, 8)) == (7, 8, 7, 8)


@pytest.mark.parametrize("repeats", [0, 1, 2])
def test_open_ring(repeats: int) -> None:
    xs, ys = zip(*SQUARE, strict=True)
    closed = (*xs, *[xs[0]] * repeats), (*ys, *[ys[0]] * repeats)
    assert open_ring(*closed) == (xs, ys)


def test_encloses_area() -> None:
    assert encloses_area(*zip(*SQUARE, strict=True))
    assert not encloses_area([0, 2, 1], [0, 2, 1])
    assert not encloses_area([0, 0.1, 0.3], [0, 0.1, 0.3])
    assert not encloses_area([3, 3], [3, 3])
    assert not encloses_area([], [])


def test_a_thin_sliver_encloses_area() -> None:
    assert encloses_area([0, 1000, 500], [0, 0, 0.001])


def test_kinds_of_path_differ() -> None:
    assert Polygon.through(SQUARE) == Polygon.through(SQUARE)
    assert Polygon.through(SQUARE) != Polyline.through(SQUARE)
    assert repr(Polyline((0, 1), (2, 3))) == "Polyline(xs=(0, 1), ys=(2, 3))"


def test_area() -> None:
    assert area(SQUARE) == area(SQUARE[::-1]) == 16


@pytest.mark.parametrize(
    ("point", "inside"),
    [((2, 2), True), ((0, 2), True), ((4, 4), True), ((5, 2), False), ((-1, 0), False)],
)
def test_contains(point: tuple[float, float], inside: bool) -> None:
    assert contains(SQUARE, point) is inside
    assert contains(SQUARE[::-1], point) is inside


def test_contains_knows_a_notch() -> None:
    notched = ((0, 0), (10, 0), (10, 10), (5, 3), (0, 10))
    assert not contains(notched, (5, 8))
    assert contains(notched, (1, 5))


@pytest.mark.parametrize(
    ("ring", "has_inside"),
    [
        ([(0, 0), (10, 0), (10, 10), (10, 0)], False),
        ([(0, 0), (0.1, 0.2), (7, 0.3), (0.1, 0.2)], False),
        # A T, its bar passed in one stroke on the way and in two on the way back.
        ([(0, 0), (10, 0), (5, 0), (5, 7), (5, 0)], False),
        ([(0, 0), (9, 0), (9, 9), (0, 0), (9, 9), (9, 0)], False),  # around and back around
        ([(0, 0), (10, 10), (0, 10), (10, 0)], True),  # a figure of eight: its signed area is 0
        ([(5, 5), (0, 0), (0, 10), (5, 5), (10, 10), (10, 0)], True),  # the same, with a vertex
        ([(0, 0), (10, 0), (10, 10), (10, 0), (5, 0.001)], True),
        ([(0, 0), (9, 0), (9, 9), (0, 0), (9, 0), (9, 9)], True),  # around twice
        ([(0, 0), (4, 0), (4, 4), (4, 4), (0, 4)], True),  # a vertex clicked twice
    ],
)
def test_a_ring_that_goes_back_has_no_inside(
    ring: list[tuple[float, float]], has_inside: bool
) -> None:
    for start in range(len(ring)):
        xs, ys = zip(*ring[start:], *ring[:start], strict=True)
        assert encloses_area(xs, ys) is has_inside
        assert encloses_area(xs[::-1], ys[::-1]) is has_inside


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=9),
    st.data(),
)
def test_any_way_out_and_back_has_no_inside(
    way: list[tuple[int, int]], data: st.DataObject
) -> None:
    ring = [(x / 1000, y / 1000) for x, y in [*way, *way[-2:0:-1]]]
    start = data.draw(st.integers(0, len(ring) - 1))
    xs, ys = zip(*ring[start:], *ring[:start], strict=True)
    assert not encloses_area(xs, ys)
