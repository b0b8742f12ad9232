"""VIA's `shape_attributes` -> shapes; what cannot be a shape is refused with its reason."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard, TypeVar

from roilab.via.shapes import (
    Circle,
    Ellipse,
    Point,
    Polygon,
    Polyline,
    Rect,
    Shape,
    open_ring,
)
from roilab.via.strict_json import LongInteger

Data = Mapping[str, object]
S = TypeVar("S", Rect, Circle, Ellipse)

_NUMBERS = frozenset({int, float})
_LIMIT = 10_000_000  # no image is as wide; from about 10^16 on, half a pixel would be lost


class InvalidShape(Exception):
    """A shape that cannot be used. The message says why, without a full stop."""


def shape_name(data: object) -> str:
    """VIA's name of a shape, or "unknown" where there is none."""
    name = data.get("name") if isinstance(data, Mapping) else None
    return name.strip() if isinstance(name, str) and name.strip() else "unknown"


def read_shape(data: object) -> Shape:
    """Build a shape from a region's `shape_attributes`.

    Args:
        data: JSON data; or the reason why a reader of another layout could make none.

    Raises:
        Refused: no known shape, a coordinate is missing or not finite, or the shape has no extent.
    """
    if isinstance(data, InvalidShape):
        raise data
    if not isinstance(data, Mapping):
        raise InvalidShape("the region has no shape_attributes")
    name = shape_name(data)
    if name not in _READERS:
        raise InvalidShape(f"unknown shape '{name}', expected one of {', '.join(_READERS)}")
    return _READERS[name](data)


def are_coordinates(values: Sequence[object]) -> bool:
    """Whether all values are finite numbers that an image may hold."""
    # A file has millions of them: the usual case is settled without a loop in Python. min and max
    # may step over a NaN; a sum does not.
    return not values or (
        _NUMBERS.issuperset(map(type, values))
        and min(values) >= -_LIMIT  # type: ignore[type-var, operator]
        and max(values) <= _LIMIT  # type: ignore[type-var, operator]
        and math.isfinite(sum(values))  # type: ignore[arg-type]
    )


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
    xs, ys = open_ring(*_vertices(data))
    # One without area may be a path of keypoints: `label` knows, and refuses it as an outline.
    distinct = len(set(zip(xs, ys, strict=True)))
    if distinct < 3:
        raise InvalidShape(f"a polygon of {distinct} distinct vertices, expected at least 3")
    return Polygon(tuple(xs), tuple(ys))


def _polyline(data: Data) -> Polyline:
    xs, ys = _vertices(data)
    distinct = len(set(zip(xs, ys, strict=True)))
    if distinct < 2:
        raise InvalidShape(f"a polyline of {distinct} distinct vertices, expected at least 2")
    return Polyline(xs, ys)


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
        raise InvalidShape(f"a {name} without extent ({sizes})")
    return shape


def _number(data: Data, key: str) -> float:
    value = data.get(key)
    if value is None:
        raise InvalidShape(f"the {shape_name(data)} has no '{key}'")
    if not _is_sound(value):
        raise _bad_number(value, key)
    return value


def _vertices(data: Data) -> tuple[tuple[float, ...], tuple[float, ...]]:
    xs, ys = (_coordinates(data, key) for key in ("all_points_x", "all_points_y"))
    if len(xs) != len(ys):
        raise InvalidShape(f"{len(xs)} values in all_points_x and {len(ys)} in all_points_y")
    return xs, ys


def _coordinates(data: Data, key: str) -> tuple[float, ...]:
    values = data.get(key)
    if not isinstance(values, list):
        raise InvalidShape(f"the {shape_name(data)} has no list '{key}'")
    if not are_coordinates(values):
        raise next(_bad_number(value, key) for value in values if not _is_sound(value))
    return tuple(values)


def _is_sound(value: object) -> TypeGuard[float]:
    # A truth value is an int to isinstance; NaN is no greater and no less than anything.
    return type(value) in _NUMBERS and -_LIMIT <= value <= _LIMIT  # type: ignore[operator]


def _bad_number(value: object, key: str) -> InvalidShape:
    if type(value) not in _NUMBERS:
        if isinstance(value, LongInteger):
            return InvalidShape(
                f"'{key}' holds a number of {len(value)} digits, wider than any image"
            )
        kinds: Mapping[type, str] = {list: "a list", dict: "an object", str: "text"}
        kind = kinds.get(type(value), repr(value))
        return InvalidShape(f"'{key}' holds {kind}, expected a number")
    if isinstance(value, float) and not math.isfinite(value):
        return InvalidShape(f"'{key}' holds a number that is not finite")
    return InvalidShape(f"'{key}' holds a number beyond {_LIMIT} pixels, wider than any image")
