"""Records -> files that VIA 2.0.x opens or imports.

Each writer returns a problem for what its kind of file cannot hold: a note where that changes
nothing of the annotations, a warning where something is not written. The same records give the same
bytes, and a file appears whole or not at all.

No kind of file holds the records' own keys (images are filed under VIA's), gaps in the numbers of
regions, and more than three decimals of a coordinate, unless the region would be none without them.
A region that the reader would refuse is written and is an error among the problems.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from roilab.errors import UserError
from roilab.files import write_whole
from roilab.text import counted
from roilab.via.formats.via2_csv import COLUMNS
from roilab.via.formats.via2_json import read_shape
from roilab.via.geometry import InvalidShape, kind_of, why_flat
from roilab.via.records import (
    Annotations,
    Attribute,
    ImageRecord,
    Polygon,
    Polyline,
    Problem,
    Region,
    Shape,
    Value,
    image_key,
)

# VIA saves this literal whatever its own version is, and never reads it.
_DATA_FORMAT_VERSION = "2.0.10"
_CHOICES = ("radio", "dropdown", "checkbox", "image")


# An image entry (`filename`, `size`, `regions`, `file_attributes`) in VIA's words.
Entry = dict[str, Any]


def write_project(
    path: str | Path, annotations: Annotations, name: str = "via_project"
) -> tuple[Problem, ...]:
    """Write a VIA 2 project ("Open project"). It holds all that every kind of file holds, and the
    declarations of attributes with their defaults and the default path.

    Args:
        name: the project's name in VIA.

    Raises:
        UserError: two images have the same name and size, a coordinate is not finite, or the file
            cannot be written.
    """
    entries, problems = _entries_of(annotations)
    project = {
        "_via_settings": _settings(name, annotations.default_path),
        "_via_img_metadata": entries,
        "_via_attributes": {
            group: {name: _declaration(attribute) for name, attribute in declared.items()}
            for group, declared in (
                ("region", annotations.region_attributes),
                ("file", annotations.file_attributes),
            )
        },
        "_via_data_format_version": _DATA_FORMAT_VERSION,
        "_via_image_id_list": list(entries),
    }
    write_whole(path, _json(project))
    return tuple(problems)


def write_json(path: str | Path, annotations: Annotations) -> tuple[Problem, ...]:
    """Write a VIA 2 JSON ("Import annotations").

    It does not hold the declarations of attributes (types, descriptions, options, defaults) and not
    the project's default path.

    Raises:
        UserError: as by `write_project`.
    """
    entries, problems = _entries_of(annotations)
    write_whole(path, _json(entries))
    return (*problems, *_lost_declarations(annotations))


def write_csv(path: str | Path, annotations: Annotations) -> tuple[Problem, ...]:
    """Write a VIA 2 CSV ("Import annotations").

    It does not hold the declarations of attributes, not the project's default path, and no image
    whose name has a line break or is no Unicode. VIA itself passes over the rows of a name with a
    comma or a quotation mark.

    Raises:
        UserError: as by `write_project`.
    """
    entries, problems = _entries_of(annotations)
    lines = [",".join(COLUMNS)]
    for entry in entries.values():
        filename = entry["filename"]
        if set("\r\n") & set(filename) or not _is_unicode(filename):
            message = "not written: the name of the image has a line break, or is no Unicode"
            problems.append(
                Problem("error", message, "rename the image", annotations.file, filename)
            )
            continue
        if "," in filename or '"' in filename:
            message = "VIA cannot import the rows of a name with a comma or a quotation mark"
            remedy = "rename the image, or write a project"
            problems.append(Problem("warning", message, remedy, annotations.file, filename))
        lines += _csv_rows(entry)
    write_whole(path, "\n".join(lines) + "\n")
    return (*problems, *_lost_declarations(annotations))


WRITERS: Mapping[str, Callable[[str | Path, Annotations], tuple[Problem, ...]]] = {
    "via": write_project,
    "via-json": write_json,
    "via-csv": write_csv,
}


def with_declarations(annotations: Annotations) -> Annotations:
    """Declare the attributes that occur undeclared, so that VIA shows them.

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
    by_name: dict[str, dict[str, None]] = {}
    for attributes in occurring:
        for name, value in attributes.items():
            kind, values = ("text", (value,)) if isinstance(value, str) else ("checkbox", value)
            completed.setdefault(name, Attribute(name, kind))
            by_name.setdefault(name, {}).update(dict.fromkeys(values))
    for name, occurs in by_name.items():
        attribute = completed[name]
        new = {value: value for value in occurs if value and value not in attribute.options}
        if new and attribute.type in _CHOICES:
            completed[name] = replace(attribute, options={**attribute.options, **new})
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


def _entries_of(annotations: Annotations) -> tuple[dict[str, Entry], list[Problem]]:
    """The image entries (`_via_img_metadata`) under VIA's own keys, and what they do not hold."""
    entries: dict[str, Entry] = {}
    builder = _EntryBuilder(annotations.file)
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
        entries[image_key(image.filename, image.size, entries)] = builder.entry(image)
    return entries, [*builder.problems, *builder.notes()]


@dataclass(slots=True)
class _EntryBuilder:
    """Builds image entries and counts what they do not hold."""

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

    def _region(self, region: Region, image: str) -> dict[str, object]:
        exact = _shape_attributes(region.shape)
        if not all(map(_is_finite, exact.values())):
            raise UserError(
                "a region has a coordinate that is not finite: JSON has no such number",
                file=self.file,
                key=f"{image}, region {region.index}",
                found=f"{region.shape!r:.80}",
                remedy="leave the region out",
            )
        shape = {key: _rounded(key, value) for key, value in exact.items()}
        reading = _reading(exact)
        fault = reading[-1]
        # A shape so small that it would have no area, or a vertex less, keeps all its decimals.
        if shape != exact and (fault or _reading(shape) != reading):
            shape = exact
        self.rounded += shape != exact
        if fault:
            message = f"the region cannot be read again: {fault}"
            remedy = "leave it out, or correct it"
            self.problems.append(Problem("error", message, remedy, self.file, image, region.index))
        return {"shape_attributes": shape, "region_attributes": _values(region.attributes)}


def _shape_attributes(shape: Shape) -> dict[str, object]:
    """A shape in VIA's words, with all its decimals."""
    values = {entry.name: getattr(shape, entry.name) for entry in fields(shape)}
    if isinstance(shape, Polygon | Polyline):
        values = {"all_points_x": list(shape.xs), "all_points_y": list(shape.ys)}
    return {"name": kind_of(shape), **{key: _plain(value) for key, value in values.items()}}


def _plain(value: object) -> object:
    """A value of `shape_attributes` as JSON takes it: a record may hold numpy's numbers."""
    if isinstance(value, list):
        return list(map(_plain, value))
    return value if isinstance(value, int) else float(value)  # type: ignore[arg-type]


def _is_finite(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_finite, value))
    # An integer may be too large for a float; it is finite none the less.
    return not isinstance(value, float) or math.isfinite(value)


def _rounded(key: str, value: object) -> object:
    """A value of `shape_attributes` with at most three decimals, a whole number without any."""
    if isinstance(value, list):
        return [_rounded(key, number) for number in value]
    # Three decimals of a radian would move the tip of a long ellipse by a pixel.
    if not isinstance(value, float) or key == "theta":
        return value
    short = round(value, 3)
    return int(short) if short.is_integer() else short


def _reading(data: Mapping[str, object]) -> tuple[int, str, str]:
    """Number of vertices a shape is read with (0 where it is no path), why it has no area, and why
    it is refused; "" where it is not.
    """
    try:
        shape = read_shape(data)
    except InvalidShape as reason:
        return 0, "", str(reason)
    if isinstance(shape, Polygon | Polyline):
        return len(shape.xs), why_flat(shape), ""
    return 0, "", ""


def _values(values: Mapping[str, Value]) -> dict[str, object]:
    return {
        name: value if isinstance(value, str) else dict.fromkeys(value, True)
        for name, value in values.items()
    }


def _json(data: object) -> str:
    # ASCII only: half of an emoji, which JavaScript may save, is no UTF-8.
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def _csv_rows(entry: Entry) -> list[str]:
    """The CSV rows of an image: one a region, or one with empty objects."""
    regions = entry["regions"]
    name = entry["filename"]
    if set(',"') & set(name):
        name = '"' + name.replace('"', '""') + '"'
    start = f"{name},{entry['size']},{_quoted(entry['file_attributes'])},{len(regions)}"
    if not regions:
        return [f"{start},0,{_quoted({})},{_quoted({})}"]
    return [
        f"{start},{number},{_quoted(region['shape_attributes'])},"
        f"{_quoted(region['region_attributes'])}"
        for number, region in enumerate(regions)
    ]


def _is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _quoted(data: object) -> str:
    return '"' + _json(data).replace('"', '""') + '"'


def _lost_declarations(annotations: Annotations) -> list[Problem]:
    """Warnings about declarations and the default path, which only a project holds."""
    problems = []
    declared = [*annotations.region_attributes.values(), *annotations.file_attributes.values()]
    if declared:
        names = ", ".join(repr(attribute.name) for attribute in declared)
        message = f"declarations of attributes are not written: {names}"
        described = any(
            text not in ("", option)
            for attribute in declared
            for option, text in attribute.options.items()
        )
        if described:
            message += "; values are option ids, whose descriptions are lost"
        remedy = "write a project, which holds them"
        problems.append(Problem("warning", message, remedy, annotations.file))
    if annotations.default_path:
        message = f"the default path is not written: {annotations.default_path}"
        remedy = "write a project, which holds it"
        problems.append(Problem("warning", message, remedy, annotations.file))
    return problems


def _settings(name: str, default_path: str) -> dict[str, object]:
    """VIA's own defaults. VIA reads `project.name` and `core.default_filepath` unconditionally."""
    return {
        "ui": {
            "annotation_editor_height": 25,
            "annotation_editor_fontsize": 0.8,
            "leftsidebar_width": 18,
            "image_grid": {
                "img_height": 80,
                "rshape_fill": "none",
                "rshape_fill_opacity": 0.3,
                "rshape_stroke": "yellow",
                "rshape_stroke_width": 2,
                "show_region_shape": True,
                "show_image_policy": "all",
            },
            "image": {
                "region_label": "__via_region_id__",
                "region_color": "__via_default_region_color__",
                "region_label_font": "10px Sans",
                "on_image_annotation_editor_placement": "NEAR_REGION",
            },
        },
        "core": {"buffer_size": 18, "filepath": {}, "default_filepath": default_path},
        "project": {"name": name},
    }
