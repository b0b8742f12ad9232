"""VIA's `shape_attributes` -> shapes; what cannot be a shape is refused with its reason."""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from roilab.via.shapes import (
    XY,
    Circle,
    Ellipse,
    Point,
    Polygon,
    Polyline,
    Rect,
    Shape,
    encloses_area,
    open_ring,
)

Data = Mapping[str, object]
S = TypeVar("S", Rect, Circle, Ellipse)


class Refused(Exception):
    """A shape that cannot be used. The message says why, without a full stop."""


def shape_name(data: object) -> str:
    """VIA's name of a shape, or "unknown" where there is none."""
    name = data.get("name") if isinstance(data, Mapping) else None
    return name.strip() if isinstance(name, str) and name.strip() else "unknown"


def read_shape(data: object) -> Shape:
    """Build a shape from a region's `shape_attributes`.

    Raises:
        Refused: no known shape, a coordinate is missing or not finite, or the shape has no extent.
    """
    if not isinstance(data, Mapping):
        raise Refused("the region has no shape_attributes")
    name = shape_name(data)
    if name not in _READERS:
        raise Refused(f"unknown shape '{name}', expected one of {', '.join(_READERS)}")
    return _READERS[name](data)


def _rect(data: Data) -> Rect:
    rect = Rect(*(_number(data, key) for key in ("x", "y", "width", "height")))
    return _extended(rect, "rect", rect.width, rect.height)


def _circle(data: Data) -> Circle:
    circle = Circle(*(_number(data, key) for key in ("cx", "cy", "r")))
    return _extended(circle, "circle", circle.r)


def _ellipse(data: Data) -> Ellipse:
    theta = _number(data, "theta") if data.get("theta") is not None else 0.0
    cx, cy, rx, ry = (_number(data, key) for key in ("cx", "cy", "rx", "ry"))
    ellipse = Ellipse(cx, cy, rx, ry, theta)
    return _extended(ellipse, "ellipse", ellipse.rx, ellipse.ry)


def _polygon(data: Data) -> Polygon:
    ring = open_ring(_vertices(data))
    if len(set(ring)) < 3:
        raise Refused(f"a polygon of {len(set(ring))} distinct vertices, expected at least 3")
    if not encloses_area(ring):
        raise Refused("all vertices of the polygon lie on one line")
    return Polygon(ring)


def _polyline(data: Data) -> Polyline:
    points = _vertices(data)
    if len(set(points)) < 2:
        raise Refused(f"a polyline of {len(set(points))} distinct vertices, expected at least 2")
    return Polyline(points)


def _point(data: Data) -> Point:
    return Point(_number(data, "cx"), _number(data, "cy"))


_READERS: Mapping[str, Callable[[Data], Shape]] = {
    "rect": _rect,
    "circle": _circle,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "polyline": _polyline,
    "point": _point,
}


def _extended(shape: S, name: str, *extents: float) -> S:
    if min(extents) <= 0:
        sizes = " x ".join(f"{extent:g}" for extent in extents)
        raise Refused(f"a {name} without extent ({sizes})")
    return shape


def _number(data: Data, key: str) -> float:
    if data.get(key) is None:
        raise Refused(f"the {shape_name(data)} has no '{key}'")
    return _finite(data[key], key)


def _vertices(data: Data) -> tuple[XY, ...]:
    columns = []
    for key in ("all_points_x", "all_points_y"):
        values = data.get(key)
        if not isinstance(values, list):
            raise Refused(f"the {shape_name(data)} has no list '{key}'")
        columns.append([_finite(value, key) for value in values])
    xs, ys = columns
    if len(xs) != len(ys):
        raise Refused(f"{len(xs)} values in all_points_x and {len(ys)} in all_points_y")
    return tuple(zip(xs, ys, strict=True))


def _finite(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"'{key}' holds {value!r}, expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Refused(f"'{key}' holds a number that is not finite")
    return number
