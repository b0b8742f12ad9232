"""Records -> the JSON data of VIA 2, and a count of what it cannot hold."""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from roilab.errors import UserError
from roilab.text import counted
from roilab.via.geometry import InvalidShape, read_shape
from roilab.via.records import Annotations, Attribute, ImageRecord, Problem, Region, Value
from roilab.via.shapes import Circle, Ellipse, Point, Polygon, Polyline, Rect, Shape, why_flat


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


def image_key(filename: str, size: int | str | None) -> str:
    """The key under which VIA files an image; -1 stands for an unknown size."""
    return f"{filename}{-1 if size is None else size}"


def free_key(filename: str, size: int | str | None, taken: Container[str]) -> str:
    """`image_key`, or where another image has it ("a1", 2 and "a", 12), one that looks like it.

    VIA does not take its keys apart.
    """
    key = image_key(filename, size)
    while key in taken:
        key += "_"
    return key


def entries_of(annotations: Annotations) -> tuple[dict[str, Entry], list[Problem]]:
    """The image entries (`_via_img_metadata`) under VIA's own keys, and what they do not hold.

    Raises:
        UserError: two images have the same name and size, or a coordinate is not finite.
    """
    entries: dict[str, Entry] = {}
    writer = _Writer(annotations.file)
    known: set[tuple[str, int | None]] = set()
    for image in annotations.images:
        if (image.filename, image.size) in known:
            raise UserError(
                "two images have the same name and size: VIA cannot tell them apart",
                file=annotations.file,
                found=image.filename,
                expected="every image once, or files with different names",
                remedy="remove one of the two entries, or rename one of the files",
            )
        known.add((image.filename, image.size))
        entries[free_key(image.filename, image.size, entries)] = writer.entry(image)
    return entries, [*writer.problems, *writer.notes()]


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
    is_choice = attribute.type in _CHOICES or attribute.options or attribute.default_options
    if is_choice:
        declaration["options"] = dict(attribute.options)
        declaration["default_options"] = dict.fromkeys(attribute.default_options, True)
    if attribute.default_value or not is_choice:
        declaration["default_value"] = attribute.default_value
    return declaration


@dataclass(slots=True)
class _Writer:
    """Makes entries and counts what they do not hold."""

    file: str
    rounded: int = 0
    renumbered: int = 0
    crowds: int = 0
    problems: list[Problem] = field(default_factory=list)

    def entry(self, image: ImageRecord) -> Entry:
        self.crowds += len({id(region.coco) for region in image.crowds})
        self.renumbered += any(at != region.index for at, region in enumerate(image.regions))
        return {
            "filename": image.filename,
            "size": -1 if image.size is None else image.size,
            "regions": [self._region(region, image.filename) for region in image.regions],
            "file_attributes": _values(image.attributes),
        }

    def notes(self) -> list[Problem]:
        notes = []
        if self.crowds:
            message = f"{counted(self.crowds, 'crowd')} left out"
            remedy = "VIA has none; train from the COCO file to use them"
            notes.append(Problem("warning", message, remedy, self.file))
        if self.rounded:
            message = f"rounded to 3 decimals, which VIA keeps: {counted(self.rounded, 'region')}"
            notes.append(Problem("note", message, "", self.file))
        if self.renumbered:
            message = f"the regions of {counted(self.renumbered, 'image')} are numbered anew: VIA "
            message += "numbers regions by their place, those left out have none"
            notes.append(Problem("note", message, "", self.file))
        return notes

    def _region(self, region: Region, image: str) -> RegionData:
        exact = {key: _plain(value) for key, value in _shape(region.shape).items()}
        if not all(map(_is_finite, exact.values())):
            raise UserError(
                "a region has a coordinate that is not finite: JSON has no such number",
                file=self.file,
                key=f"{image}, region {region.index}",
                found=f"{region.shape!r:.80}",
                remedy="leave the region out",
            )
        shape = {key: _rounded(key, value) for key, value in exact.items()}
        found = _reads(exact)
        if shape != exact:
            # A shape so small that it would have no area, or a vertex less, keeps what it has.
            if not isinstance(found, str) and _reads(shape) == found:
                self.rounded += 1
            else:
                shape = exact
        if isinstance(found, str):
            message = f"the region cannot be read again: {found}"
            remedy = "leave it out, or mend it"
            self.problems.append(Problem("error", message, remedy, self.file, image, region.index))
        return {"shape_attributes": shape, "region_attributes": _values(region.attributes)}


def _shape(shape: Shape) -> dict[str, object]:
    """A shape in VIA's words, with all its decimals."""
    match shape:
        case Rect(x, y, width, height):
            return {"name": "rect", "x": x, "y": y, "width": width, "height": height}
        case Circle(cx, cy, r):
            return {"name": "circle", "cx": cx, "cy": cy, "r": r}
        case Ellipse(cx, cy, rx, ry, theta):
            return {"name": "ellipse", "cx": cx, "cy": cy, "rx": rx, "ry": ry, "theta": theta}
        case Polygon(xs, ys):
            return {"name": "polygon", "all_points_x": list(xs), "all_points_y": list(ys)}
        case Polyline(xs, ys):
            return {"name": "polyline", "all_points_x": list(xs), "all_points_y": list(ys)}
        case Point(cx, cy):
            return {"name": "point", "cx": cx, "cy": cy}


def _plain(value: object) -> object:
    """A value of `shape_attributes` as JSON takes it: a record may hold numpy's numbers."""
    if isinstance(value, list):
        return list(map(_plain, value))
    return value if isinstance(value, str | int) else float(value)  # type: ignore[arg-type]


def _is_finite(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_finite, value))
    # An integer may be too large for a float; it is finite none the less.
    return not isinstance(value, float) or math.isfinite(value)


def _rounded(key: str, value: object) -> object:
    """A value of `shape_attributes` with three decimals at most, and without where it has none."""
    if isinstance(value, list):
        return [_rounded(key, each) for each in value]
    # Three decimals of a radian would move the tip of a long ellipse by a pixel.
    if not isinstance(value, float) or key == "theta":
        return value
    short = round(value, 3)
    return int(short) if short.is_integer() else short


def _reads(shape: Mapping[str, object]) -> tuple[int, str] | str:
    """How many vertices a shape is read with (0 where it is no path) and why it has no area, if it
    has none; or why it is refused."""
    try:
        read = read_shape(shape)
    except InvalidShape as reason:
        return str(reason)
    return (len(read.xs), why_flat(read)) if isinstance(read, Polygon | Polyline) else (0, "")


def _values(values: Mapping[str, Value]) -> dict[str, object]:
    return {
        name: value if isinstance(value, str) else dict.fromkeys(value, True)
        for name, value in values.items()
    }
