"""Shapes: checks of their numbers, outlines as polygons, boxes, areas, and points inside."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from roilab.via.records import XY, Area, Circle, Ellipse, Point, Polygon, Polyline, Rect, Shape

_NUMBERS = frozenset({int, float})
_LIMIT = 10_000_000  # no image is as wide; from about 10^16 on, half a pixel would be lost
_EXTENTS = ("width", "height", "r", "rx", "ry")
# VIA keeps three decimals: the cross product of two differences is a multiple of this doubled.
_LEAST_CROSS = 5e-7
# Parts of a pixel in which edges are compared exactly, as integers.
_UNITS = 1_000_000
# Fewer vertices than this make a small circle look like a diamond, whatever the tolerance says.
_MIN_CURVE_VERTICES = 12


class InvalidShape(Exception):
    """Numbers that make no shape. The message gives the reason, without a full stop."""


class LongInteger(str):
    """The digits of an integer too long to calculate with, as a JSON file may hold it."""

    __slots__ = ()


def kind_of(shape: Shape | type[Shape]) -> str:
    """VIA's name of a kind of shape, which is that of our class in lower case."""
    return (shape if isinstance(shape, type) else type(shape)).__name__.lower()


def checked_shape(kind: type[Shape], values: Mapping[str, object]) -> Shape:
    """A shape of the values of a file.

    Args:
        values: under the names of the record's fields, the lists of a path under VIA's; other keys
            are ignored.

    Raises:
        InvalidShape: a number is missing, not finite or too large, or the shape has no extent.
    """
    if issubclass(kind, Polygon | Polyline):
        return checked_path(kind, values.get("all_points_x"), values.get("all_points_y"))
    numbers: dict[str, float] = {}
    for name in kind.__slots__:
        value = values.get(name)
        if are_coordinates([value]):
            numbers[name] = value  # type: ignore[assignment] # a number
        elif value is not None:
            raise _invalid_number(value, name)
        elif name != "theta":
            raise InvalidShape(f"the {kind_of(kind)} has no '{name}'")
    extents = [numbers[name] for name in _EXTENTS if name in numbers]
    if min(extents, default=1) <= 0:
        sizes = " x ".join(f"{extent:g}" for extent in extents)
        raise InvalidShape(f"a {kind_of(kind)} without extent ({sizes})")
    return kind(**numbers)


def checked_path(kind: type[Polygon | Polyline], xs: object, ys: object) -> Polygon | Polyline:
    """A polygon, without the vertex that closes it, or a polyline.

    A polygon without area may be a path of keypoints: `build_instances` refuses it as an outline.

    Raises:
        InvalidShape: these are no lists of finite numbers, or too few vertices are distinct.
    """
    xs = _checked_list(kind, "all_points_x", xs)
    ys = _checked_list(kind, "all_points_y", ys)
    if len(xs) != len(ys):
        raise InvalidShape(f"{len(xs)} values in all_points_x and {len(ys)} in all_points_y")
    least = 2
    if kind is Polygon:
        xs, ys = open_ring(xs, ys)
        least = 3
    distinct = len(set(zip(xs, ys, strict=True)))
    if distinct < least:
        message = f"a {kind_of(kind)} of {distinct} distinct vertices, expected at least {least}"
        raise InvalidShape(message)
    return kind(tuple(xs), tuple(ys))


def are_coordinates(values: Sequence[object]) -> bool:
    """Whether all values are finite numbers that an image may hold."""
    # A file has millions of them: the usual case is settled without a loop in Python. A truth value
    # is an int to isinstance. min and max may step over a NaN; a sum does not.
    return not values or (
        _NUMBERS.issuperset(map(type, values))
        and min(values) >= -_LIMIT  # type: ignore[type-var, operator]
        and max(values) <= _LIMIT  # type: ignore[type-var, operator]
        and math.isfinite(sum(values))  # type: ignore[arg-type]
    )


def _checked_list(kind: type[Shape], name: str, values: object) -> Sequence[float]:
    if not isinstance(values, list):
        raise InvalidShape(f"the {kind_of(kind)} has no list '{name}'")
    if not are_coordinates(values):
        invalid = next(value for value in values if not are_coordinates([value]))
        raise _invalid_number(invalid, name)
    return values


def _invalid_number(value: object, name: str) -> InvalidShape:
    if isinstance(value, LongInteger):
        return InvalidShape(f"'{name}' holds a number of {len(value)} digits, wider than any image")
    if type(value) not in _NUMBERS:
        kinds: Mapping[type, str] = {list: "a list", dict: "an object", str: "text"}
        kind = kinds.get(type(value), repr(value))
        return InvalidShape(f"'{name}' holds {kind}, expected a number")
    if isinstance(value, float) and not math.isfinite(value):
        return InvalidShape(f"'{name}' holds a number that is not finite")
    return InvalidShape(f"'{name}' holds a number beyond {_LIMIT} pixels, wider than any image")


def outline(shape: Area, tolerance: float = 0.5) -> tuple[XY, ...]:
    """The ring around a shape, in the frame of the shape's coordinates, nothing shifted.

    Args:
        shape: any shape but a point. A polyline counts as the ring that it outlines.
        tolerance: how far, in pixels, the ring of a circle or an ellipse may lie inside the curve.

    Returns:
        Vertices, the first not repeated at the end; () for a polyline that encloses nothing.
    """
    if isinstance(shape, Rect):
        left, top, right, bottom = bounds(shape)
        return ((left, top), (right, top), (right, bottom), (left, bottom))
    if isinstance(shape, Polygon | Polyline):
        xs, ys = open_ring(shape.xs, shape.ys)
        return tuple(zip(xs, ys, strict=True)) if encloses_area(xs, ys) else ()
    if isinstance(shape, Circle):
        shape = Ellipse(shape.cx, shape.cy, shape.r, shape.r)

    # A chord over the angle 2 pi / n leaves the unit circle by 1 - cos(pi / n); the ellipse is that
    # circle stretched, by at most its larger radius.
    radius = max(shape.rx, shape.ry)
    count = _MIN_CURVE_VERTICES
    if tolerance < radius:
        count = max(count, math.ceil(math.pi / math.acos(1 - tolerance / radius)))
    cos, sin = math.cos(shape.theta), math.sin(shape.theta)
    ring = []
    for step in range(count):
        angle = 2 * math.pi * step / count
        u, v = shape.rx * math.cos(angle), shape.ry * math.sin(angle)
        ring.append((shape.cx + u * cos - v * sin, shape.cy + u * sin + v * cos))
    return tuple(ring)


def why_flat(shape: Area) -> str:
    """The reason why a shape encloses no area, as a polygon may; "" if it encloses some."""
    if not isinstance(shape, Polygon | Polyline) or encloses_area(shape.xs, shape.ys):
        return ""
    is_line = on_one_line(shape.xs, shape.ys)
    return "all its vertices lie on one line" if is_line else "it goes all its way back"


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
        x, y = shape.cx, shape.cy
        return (x - half_width, y - half_height, x + half_width, y + half_height)
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
    """Whether a ring has an inside: a figure of eight does, a path there and back does not."""
    if on_one_line(xs, ys):
        return False
    # Only a ring that passes a corner twice can go all its way back.
    return len(set(zip(xs, ys, strict=True))) == len(xs) or not _goes_back(xs, ys)


def on_one_line(xs: Sequence[float], ys: Sequence[float]) -> bool:
    """Whether all vertices lie on one line, up to the rounding of coordinates."""
    x0, y0 = (xs[0], ys[0]) if xs else (0, 0)
    other = next((xy for xy in zip(xs, ys, strict=True) if xy != (x0, y0)), (x0, y0))
    dx, dy = other[0] - x0, other[1] - y0
    points = zip(xs, ys, strict=True)
    return all(abs(dx * (y - y0) - dy * (x - x0)) <= _LEAST_CROSS for x, y in points)


def _goes_back(xs: Sequence[float], ys: Sequence[float]) -> bool:
    """Whether every piece of a ring is passed as often in one direction as in the other.

    On the line that holds an edge, the edge adds a step up where it begins and one down where it
    ends, whatever its direction. The ring goes back where the steps cancel at every place.
    """
    ring = [(round(x * _UNITS), round(y * _UNITS)) for x, y in zip(xs, ys, strict=True)]
    steps: Counter[tuple[int, int, int, XY]] = Counter()
    for start, end in pairwise((*ring, ring[0])):
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.gcd(dx, dy)
        if length:
            # One direction for both ways along a line.
            if (dx, dy) < (0, 0):
                length = -length
            dx, dy = dx // length, dy // length
            offset = dx * start[1] - dy * start[0]
            steps[dx, dy, offset, start] += 1
            steps[dx, dy, offset, end] -= 1
    return not any(steps.values())


def area(ring: Sequence[XY]) -> float:
    """The area of a ring that does not cross itself, in square pixels."""
    edges = pairwise((*ring, *ring[:1]))
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges)) / 2


def contains(ring: Sequence[XY], point: XY) -> bool:
    """Whether a point lies in a ring (even-odd rule) or on its border."""
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in pairwise((*ring, *ring[:1])):
        side = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        in_box = min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1)
        if side == 0 and in_box:
            return True
        if (y0 > y) != (y1 > y) and (side > 0) == (y1 > y0):
            inside = not inside
    return inside
