"""The shapes VIA draws, in image pixels: x to the right, y down, origin at the top left corner."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

XY = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    """Top left corner and extent."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Circle:
    """Centre and radius."""

    cx: float
    cy: float
    r: float


@dataclass(frozen=True, slots=True)
class Ellipse:
    """`theta` in radians, clockwise on the screen (VIA 2.0.8 and later; else 0)."""

    cx: float
    cy: float
    rx: float
    ry: float
    theta: float = 0.0


@dataclass(frozen=True, slots=True)
class _Path:
    """The x and the y of vertices in two tuples, as VIA holds them.

    Two tuples of the numbers that were read take a sixth of the memory of a tuple of pairs.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    @classmethod
    def through(cls, points: Iterable[XY]) -> Self:
        """The path through the given vertices."""
        xs, ys = zip(*points, strict=True)
        return cls(xs, ys)

    @property
    def points(self) -> tuple[XY, ...]:
        """The vertices as pairs."""
        return tuple(zip(self.xs, self.ys, strict=True))


class Polygon(_Path):
    """A ring; its first vertex is not repeated at the end."""

    __slots__ = ()


class Polyline(_Path):
    """An open line."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Point:
    """The pixel that was clicked on: an index, not a position in the continuous plane."""

    cx: float
    cy: float


Area = Rect | Circle | Ellipse | Polygon | Polyline
Shape = Area | Point

# VIA keeps three decimals: the cross product of two differences is a multiple of this doubled.
_LEAST_CROSS = 5e-7
# Parts of a pixel in which edges are compared exactly, as integers.
_UNITS = 1_000_000
# Fewer vertices than this make a small circle look like a diamond, whatever the tolerance says.
_MIN_CURVE_VERTICES = 12


def outline(shape: Area, tolerance: float = 0.5) -> tuple[XY, ...]:
    """The ring around a shape, in the frame of the shape's coordinates, nothing shifted.

    Args:
        shape: any shape but a point. A polyline is taken as the ring it outlines.
        tolerance: how far, in pixels, the ring of a circle or an ellipse may lie inside the curve.

    Returns:
        Vertices, the first not repeated at the end; () for a polyline that encloses nothing.
    """
    if isinstance(shape, Rect):
        right, bottom = shape.x + shape.width, shape.y + shape.height
        return ((shape.x, shape.y), (right, shape.y), (right, bottom), (shape.x, bottom))
    if isinstance(shape, Circle):
        return _curve(Ellipse(shape.cx, shape.cy, shape.r, shape.r), tolerance)
    if isinstance(shape, Ellipse):
        return _curve(shape, tolerance)
    xs, ys = open_ring(shape.xs, shape.ys)
    return tuple(zip(xs, ys, strict=True)) if encloses_area(xs, ys) else ()


def why_flat(shape: Area) -> str:
    """The reason why a shape encloses no area, as a polygon may; "" if it encloses one."""
    if not isinstance(shape, _Path) or encloses_area(shape.xs, shape.ys):
        return ""
    if on_one_line(shape.xs, shape.ys):
        return "all its vertices lie on one line"
    return "it goes all its way back"


def bounds(shape: Shape) -> tuple[float, float, float, float]:
    """The smallest upright box around a shape: (x0, y0, x1, y1). A point's box has no extent."""
    if isinstance(shape, Point):
        return (shape.cx, shape.cy, shape.cx, shape.cy)
    if isinstance(shape, Circle):
        shape = Ellipse(shape.cx, shape.cy, shape.r, shape.r)
    if isinstance(shape, Ellipse):
        cos, sin = math.cos(shape.theta), math.sin(shape.theta)
        half_width = math.hypot(shape.rx * cos, shape.ry * sin)
        half_height = math.hypot(shape.rx * sin, shape.ry * cos)
        return (
            shape.cx - half_width,
            shape.cy - half_height,
            shape.cx + half_width,
            shape.cy + half_height,
        )
    if isinstance(shape, Rect):
        return (shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)
    return (min(shape.xs), min(shape.ys), max(shape.xs), max(shape.ys))


def open_ring(xs: Sequence[float], ys: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """The vertices without the repetitions of the first one at the end (VIA 1 closes polygons)."""
    end = len(xs)
    while end > 1 and xs[end - 1] == xs[0] and ys[end - 1] == ys[0]:
        end -= 1
    return (xs, ys) if end == len(xs) else (xs[:end], ys[:end])


def encloses_area(xs: Sequence[float], ys: Sequence[float]) -> bool:
    """Whether a ring has an inside: a figure of eight has one, a way out and back has none."""
    if on_one_line(xs, ys):
        return False
    # Only a ring that passes a corner twice can go all its way back.
    return len(set(zip(xs, ys, strict=True))) == len(xs) or not _goes_back(xs, ys)


def on_one_line(xs: Sequence[float], ys: Sequence[float]) -> bool:
    """Whether all vertices lie on one line, up to the rounding of coordinates."""
    if not xs:
        return True
    x0, y0 = xs[0], ys[0]
    for x1, y1 in zip(xs, ys, strict=True):
        if x1 != x0 or y1 != y0:
            dx, dy = x1 - x0, y1 - y0
            break
    else:
        return True
    return all(
        abs(dx * (y - y0) - dy * (x - x0)) <= _LEAST_CROSS for x, y in zip(xs, ys, strict=True)
    )


def _goes_back(xs: Sequence[float], ys: Sequence[float]) -> bool:
    """Whether every piece of a ring is passed as often in one direction as in the other.

    On the line that holds an edge, the edge adds a step up where it begins and one down where it
    ends, whatever its direction is. All is undone where the steps cancel at every place.
    """
    ring = [(round(x * _UNITS), round(y * _UNITS)) for x, y in zip(xs, ys, strict=True)]
    steps: Counter[tuple[int, int, int, XY]] = Counter()
    for start, end in zip(ring, (*ring[1:], ring[0]), strict=True):
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.gcd(dx, dy)
        if length:
            # One direction for both ways along a line.
            length = -length if (dx, dy) < (0, 0) else length
            dx, dy = dx // length, dy // length
            offset = dx * start[1] - dy * start[0]
            steps[dx, dy, offset, start] += 1
            steps[dx, dy, offset, end] -= 1
    return not any(steps.values())


def area(ring: Sequence[XY]) -> float:
    """The area of a ring that does not cross itself, in square pixels."""
    following = (*ring[1:], *ring[:1])
    doubled = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, following, strict=True))
    return abs(doubled) / 2


def contains(ring: Sequence[XY], point: XY) -> bool:
    """Whether a point lies in a ring (even-odd rule) or on its border."""
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in zip(ring, (*ring[1:], *ring[:1]), strict=True):
        side = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        in_box = min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1)
        if side == 0 and in_box:
            return True
        if (y0 > y) != (y1 > y) and (side > 0) == (y1 > y0):
            inside = not inside
    return inside


def _curve(ellipse: Ellipse, tolerance: float) -> tuple[XY, ...]:
    """Vertices on the ellipse, at equal steps of its parameter.

    A chord over the angle 2 pi / n leaves the unit circle by 1 - cos(pi / n); the ellipse is that
    circle stretched, by at most its larger radius.
    """
    radius = max(ellipse.rx, ellipse.ry)
    count = _MIN_CURVE_VERTICES
    if tolerance < radius:
        count = max(count, math.ceil(math.pi / math.acos(1 - tolerance / radius)))
    cos, sin = math.cos(ellipse.theta), math.sin(ellipse.theta)
    ring = []
    for step in range(count):
        angle = 2 * math.pi * step / count
        u, v = ellipse.rx * math.cos(angle), ellipse.ry * math.sin(angle)
        ring.append((ellipse.cx + u * cos - v * sin, ellipse.cy + u * sin + v * cos))
    return tuple(ring)
