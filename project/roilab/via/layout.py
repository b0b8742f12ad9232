"""Records -> the JSON data of VIA 2, and a count of what it cannot hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from roilab.errors import UserError
from roilab.via.records import Annotations, Attribute, ImageRecord, Problem, Region, Value
from roilab.via.shapes import Circle, Ellipse, Point, Polygon, Polyline, Rect, Shape


class RegionData(TypedDict):
    """A region in VIA's words."""

    shape_attributes: dict[str, object]
    region_attributes: dict[str, object]


class Entry(TypedDict):
    """An image entry in VIA's words."""

    filename: str
    size: int
    regions: list[RegionData]
    file_attributes: dict[str, object]


_CHOICES = ("radio", "dropdown", "checkbox", "image")


def image_key(filename: str, size: int | None) -> str:
    """The key under which VIA files an image; -1 stands for an unknown size."""
    return f"{filename}{-1 if size is None else size}"


def entries_of(annotations: Annotations) -> tuple[dict[str, Entry], list[Problem]]:
    """The image entries (`_via_img_metadata`) under VIA's own keys, and notes of what is changed.

    Raises:
        UserError: two images have the same name and size.
    """
    entries: dict[str, Entry] = {}
    writer = _Writer()
    for image in annotations.images:
        key = image_key(image.filename, image.size)
        if key in entries:
            raise UserError(
                "two images have the same name and size: VIA cannot tell them apart",
                file=annotations.file,
                found=image.filename,
                expected="every image once, or files with different names",
            )
        entries[key] = writer.entry(image)
    return entries, writer.notes(annotations.file)


def declarations_of(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, object]]:
    """A kind's part of `_via_attributes`."""
    return {name: _declaration(attribute) for name, attribute in attributes.items()}


def with_declarations(annotations: Annotations) -> Annotations:
    """Declare what occurs undeclared, so that VIA shows it.

    An attribute becomes a checkbox where its values are ticks, else text; a value that is no option
    of a declared choice becomes one.
    """
    regions = [region.attributes for image in annotations.images for region in image.regions]
    files = [image.attributes for image in annotations.images]
    return replace(
        annotations,
        region_attributes=_completed(annotations.region_attributes, regions),
        file_attributes=_completed(annotations.file_attributes, files),
    )


def _completed(
    declared: Mapping[str, Attribute], occurring: Sequence[Mapping[str, Value]]
) -> dict[str, Attribute]:
    completed = dict(declared)
    found: dict[str, dict[str, None]] = {}
    for values in occurring:
        for name, value in values.items():
            if name not in completed:
                kind = "text" if isinstance(value, str) else "checkbox"
                completed[name] = Attribute(name, kind)
            each = (value,) if isinstance(value, str) else value
            found.setdefault(name, {}).update(dict.fromkeys(each))
    for name, occurs in found.items():
        attribute = completed[name]
        new = [value for value in occurs if value and value not in attribute.options]
        if new and attribute.type in _CHOICES:
            options = {**attribute.options, **{value: value for value in new}}
            completed[name] = replace(attribute, options=options)
    return completed


def _declaration(attribute: Attribute) -> dict[str, object]:
    declaration: dict[str, object] = {
        "type": attribute.type,
        "description": attribute.description,
    }
    if attribute.type in _CHOICES or attribute.options:
        declaration["options"] = dict(attribute.options)
        declaration["default_options"] = {}
    else:
        declaration["default_value"] = ""
    return declaration


@dataclass(slots=True)
class _Writer:
    """Makes entries and counts what they do not hold."""

    rounded: int = 0
    renumbered: int = 0
    _is_rounded: bool = field(default=False)

    def entry(self, image: ImageRecord) -> Entry:
        self.renumbered += any(at != region.index for at, region in enumerate(image.regions))
        return {
            "filename": image.filename,
            "size": -1 if image.size is None else image.size,
            "regions": [self._region(region) for region in image.regions],
            "file_attributes": _values(image.attributes),
        }

    def notes(self, file: str) -> list[Problem]:
        notes = []
        if self.rounded:
            message = f"{self.rounded} regions have coordinates that were rounded to 3 decimals"
            notes.append(Problem("note", message, "VIA keeps no more", file))
        if self.renumbered:
            message = f"the regions of {self.renumbered} images are numbered anew"
            remedy = "VIA numbers regions by their place, those left out have none"
            notes.append(Problem("note", message, remedy, file))
        return notes

    def _region(self, region: Region) -> RegionData:
        self._is_rounded = False
        shape = self._shape(region.shape)
        self.rounded += self._is_rounded
        return {"shape_attributes": shape, "region_attributes": _values(region.attributes)}

    def _shape(self, shape: Shape) -> dict[str, object]:
        match shape:
            case Rect(x, y, width, height):
                return self._named("rect", x=x, y=y, width=width, height=height)
            case Circle(cx, cy, r):
                return self._named("circle", cx=cx, cy=cy, r=r)
            case Ellipse(cx, cy, rx, ry, theta):
                # Three decimals of a radian would move the tip of a long ellipse by a pixel.
                return self._named("ellipse", cx=cx, cy=cy, rx=rx, ry=ry) | {"theta": theta}
            case Polygon(xs, ys):
                return self._path("polygon", xs, ys)
            case Polyline(xs, ys):
                return self._path("polyline", xs, ys)
            case Point(cx, cy):
                return self._named("point", cx=cx, cy=cy)

    def _named(self, name: str, **coordinates: float) -> dict[str, object]:
        return {"name": name, **{key: self._number(value) for key, value in coordinates.items()}}

    def _path(self, name: str, xs: Sequence[float], ys: Sequence[float]) -> dict[str, object]:
        return {
            "name": name,
            "all_points_x": list(map(self._number, xs)),
            "all_points_y": list(map(self._number, ys)),
        }

    def _number(self, value: float) -> float:
        rounded = round(float(value), 3)
        self._is_rounded |= rounded != value
        return int(rounded) if rounded.is_integer() else rounded


def _values(values: Mapping[str, Value]) -> dict[str, object]:
    return {
        name: value if isinstance(value, str) else dict.fromkeys(value, True)
        for name, value in values.items()
    }
