"""The shapes VIA draws, in image pixels: x to the right, y down, origin at the top left corner."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
class Polygon:
    """Vertices of a ring; the first is not repeated at the end."""

    points: tuple[XY, ...]


@dataclass(frozen=True, slots=True)
class Polyline:
    """Vertices of an open line."""

    points: tuple[XY, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """The pixel that was clicked on: an index, not a position in the continuous plane."""

    cx: float
    cy: float


Area = Rect | Circle | Ellipse | Polygon | Polyline
Shape = Area | Point

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
    ring = open_ring(shape.points)
    return ring if encloses_area(ring) else ()


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
    points = outline(shape) if isinstance(shape, Rect) else shape.points
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs), min(ys), max(xs), max(ys))


def open_ring(points: Sequence[XY]) -> tuple[XY, ...]:
    """The vertices without the repetitions of the first one at the end (VIA 1 closes polygons)."""
    end = len(points)
    while end > 1 and points[end - 1] == points[0]:
        end -= 1
    return tuple(points[:end])


def encloses_area(ring: Sequence[XY]) -> bool:
    """Whether the vertices do not all lie on one line."""
    if not ring:
        return False
    x0, y0 = ring[0]
    # Seen from the first vertex, the farthest one gives the line best conditioned.
    x1, y1 = max(ring, key=lambda p: math.hypot(p[0] - x0, p[1] - y0))
    return any((x1 - x0) * (y - y0) != (y1 - y0) * (x - x0) for x, y in ring)


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
