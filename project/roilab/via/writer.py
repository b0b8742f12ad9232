"""Records -> files that VIA 2.0.x opens or imports.

Each writer returns a problem for what its kind of file cannot hold: a note where that changes
nothing of the annotations, a warning where something is not written. The same records give the same
bytes, and a file appears whole or not at all.

No kind of file holds the records' own keys (images are filed under VIA's), gaps in the numbers of
regions, and more than three decimals of a coordinate, unless the region would be none without them.
A region that the reader would refuse is written and is an error among the problems.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from roilab.errors import UserError
from roilab.files import write_whole
from roilab.text import counted
from roilab.via import records
from roilab.via.formats.via2_csv import COLUMNS
from roilab.via.formats.via2_json import read_shape
from roilab.via.geometry import InvalidShape, kind_of, why_flat

# VIA saves this literal whatever its own version is, and never reads it.
_DATA_FORMAT_VERSION = "2.0.10"
# VIA's own defaults, in JSON.
_USER_INTERFACE = """
{"annotation_editor_height": 25, "annotation_editor_fontsize": 0.8, "leftsidebar_width": 18,
 "image_grid": {"img_height": 80, "rshape_fill": "none", "rshape_fill_opacity": 0.3,
  "rshape_stroke": "yellow", "rshape_stroke_width": 2, "show_region_shape": true,
  "show_image_policy": "all"},
 "image": {"region_label": "__via_region_id__", "region_color": "__via_default_region_color__",
  "region_label_font": "10px Sans", "on_image_annotation_editor_placement": "NEAR_REGION"}}"""
_CHOICES = ("radio", "dropdown", "checkbox", "image")

# An image entry (`filename`, `size`, `regions`, `file_attributes`) in VIA's words.
Entry = dict[str, Any]
Problems = tuple[records.Problem, ...]


def write_project(
    path: str | Path, annotations: records.Annotations, name: str = "via_project"
) -> Problems:
    """Write a VIA 2 project ("Open project"). It holds all that every kind of file holds, and the
    declarations of attributes with their defaults and the default path.

    Args:
        name: the project's name in VIA.

    Raises:
        UserError: two images have the same name and size, a coordinate is not finite, or the file
            cannot be written.
    """
    entries, reporter = _entries_of(annotations)
    # VIA reads `project.name` and `core.default_filepath` unconditionally.
    core = {"buffer_size": 18, "filepath": {}, "default_filepath": annotations.default_path}
    settings = {"ui": json.loads(_USER_INTERFACE), "core": core, "project": {"name": name}}
    project = {
        "_via_settings": settings,
        "_via_img_metadata": entries,
        "_via_attributes": {
            "region": _declarations(annotations.region_attributes),
            "file": _declarations(annotations.file_attributes),
        },
        "_via_data_format_version": _DATA_FORMAT_VERSION,
        "_via_image_id_list": list(entries),
    }
    write_whole(path, _json(project))
    return tuple(reporter.problems)


def write_json(path: str | Path, annotations: records.Annotations) -> Problems:
    """Write a VIA 2 JSON ("Import annotations").

    It does not hold the declarations of attributes (types, descriptions, options, defaults) and not
    the project's default path.

    Raises:
        UserError: as by `write_project`.
    """
    entries, reporter = _entries_of(annotations)
    write_whole(path, _json(entries))
    _warn_of_lost_declarations(annotations, reporter)
    return tuple(reporter.problems)


def write_csv(path: str | Path, annotations: records.Annotations) -> Problems:
    """Write a VIA 2 CSV ("Import annotations").

    It does not hold the declarations of attributes, not the project's default path, and no image
    whose name has a line break or is no Unicode. VIA itself passes over the rows of a name with a
    comma or a quotation mark.

    Raises:
        UserError: as by `write_project`.
    """
    entries, reporter = _entries_of(annotations)
    lines = [",".join(COLUMNS)]
    for entry in entries.values():
        name = entry["filename"]
        regions = entry["regions"]
        of_image = replace(reporter, image=name)
        # JSON can hold half of a surrogate pair, and UTF-8 cannot.
        if set("\r\n") & set(name) or any("\ud800" <= letter <= "\udfff" for letter in name):
            message = "not written: the name of the image has a line break, or is no Unicode"
            of_image.error(message, "rename the image")
            continue
        if set(',"') & set(name):
            message = "VIA cannot import the rows of a name with a comma or a quotation mark"
            of_image.report("warning", message, "rename the image, or write a project")
            name = _quoted(name)
        attributes = _quoted(_json(entry["file_attributes"]))
        start = f"{name},{entry['size']},{attributes},{len(regions)}"
        # An image without regions has one row, with empty objects.
        for number, region in enumerate(regions or [{}]):
            shape = _quoted(_json(region.get("shape_attributes", {})))
            values = _quoted(_json(region.get("region_attributes", {})))
            lines.append(f"{start},{number},{shape},{values}")
    write_whole(path, "\n".join(lines) + "\n")
    _warn_of_lost_declarations(annotations, reporter)
    return tuple(reporter.problems)


WRITERS: Mapping[str, Callable[[str | Path, records.Annotations], Problems]] = {
    "via": write_project,
    "via-json": write_json,
    "via-csv": write_csv,
}


def with_declarations(annotations: records.Annotations) -> records.Annotations:
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
    declared: Mapping[str, records.Attribute], occurring: Iterable[Mapping[str, records.Value]]
) -> dict[str, records.Attribute]:
    """The attributes that are declared or occur, with all values of choices as options."""
    completed = dict(declared)
    by_name: dict[str, dict[str, None]] = {}  # the values of each attribute, in their order
    for attributes in occurring:
        for name, value in attributes.items():
            is_text = isinstance(value, str)
            completed.setdefault(name, records.Attribute(name, "text" if is_text else "checkbox"))
            values = (value,) if isinstance(value, str) else value
            by_name.setdefault(name, {}).update(dict.fromkeys(values))
    for name, values_of_name in by_name.items():
        attribute = completed[name]
        new = {text: text for text in values_of_name if text and text not in attribute.options}
        if new and attribute.type in _CHOICES:
            completed[name] = replace(attribute, options={**attribute.options, **new})
    return completed


def _declarations(declared: Mapping[str, records.Attribute]) -> dict[str, dict[str, object]]:
    declarations = {}
    for name, attribute in declared.items():
        declaration: dict[str, object] = {"type": attribute.type}
        declaration["description"] = attribute.description
        # An attribute of text may have options in a file: they are kept.
        is_choice = attribute.type in _CHOICES or attribute.options or attribute.default_options
        if is_choice:
            declaration["options"] = dict(attribute.options)
            declaration["default_options"] = dict.fromkeys(attribute.default_options, True)
        if attribute.default_value or not is_choice:
            declaration["default_value"] = attribute.default_value
        declarations[name] = declaration
    return declarations


def _entries_of(annotations: records.Annotations) -> tuple[dict[str, Entry], records.Reporter]:
    """The image entries (`_via_img_metadata`) under VIA's own keys, and what they do not hold."""
    reporter = records.Reporter([], annotations.file)
    entries: dict[str, Entry] = {}
    known: set[tuple[str, int | None]] = set()
    crowds = rounded = renumbered = 0
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
        regions = []
        for region in image.regions:
            shape, is_rounded = _written_shape(region, replace(reporter, image=image.filename))
            attributes = _values(region.attributes)
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
            rounded += is_rounded
        entries[records.image_key(image.filename, image.size, entries)] = {
            "filename": image.filename,
            "size": -1 if image.size is None else image.size,
            "regions": regions,
            "file_attributes": _values(image.attributes),
        }
        crowds += len({id(region.coco) for region in image.crowds})
        renumbered += any(at != region.index for at, region in enumerate(image.regions))
    if crowds:
        remedy = "VIA has none; train from the annotations as they were to use them"
        reporter.report("warning", f"{counted(crowds, 'crowd')} left out", remedy)
    if rounded:
        message = f"rounded to 3 decimals, which VIA keeps: {counted(rounded, 'region')}"
        reporter.report("note", message, "")
    if renumbered:
        message = (
            f"the regions of {counted(renumbered, 'image')} are numbered anew: "
            "VIA numbers regions by their place, those left out have none"
        )
        reporter.report("note", message, "")
    return entries, reporter


def _written_shape(
    region: records.Region, reporter: records.Reporter
) -> tuple[dict[str, object], bool]:
    """The `shape_attributes` of a region, and whether its numbers are rounded."""
    exact = _shape_attributes(region.shape)
    try:
        _json(exact)
    except ValueError:
        raise UserError(
            "a region has a coordinate that is not finite: JSON has no such number",
            file=reporter.file,
            key=f"{reporter.image}, region {region.index}",
            found=f"{region.shape!r:.80}",
            remedy="leave the region out",
        ) from None
    short = {key: _rounded(key, value) for key, value in exact.items()}
    reading = _reading(exact)
    fault = reading[-1]
    if fault:
        message = f"the region cannot be read again: {fault}"
        reporter.error(message, "leave it out, or correct it", region.index)
    if short == exact:
        return short, False
    # A shape so small that it would have no area, or a vertex less, keeps all its decimals.
    if fault or _reading(short) != reading:
        return exact, False
    return short, True


def _shape_attributes(shape: records.Shape) -> dict[str, object]:
    """A shape in VIA's words, with all its decimals."""
    values: dict[str, Any]
    if isinstance(shape, records.Polygon | records.Polyline):
        values = {"all_points_x": list(shape.xs), "all_points_y": list(shape.ys)}
    else:
        values = {entry.name: getattr(shape, entry.name) for entry in fields(shape)}
    return {"name": kind_of(shape), **{key: _plain(value) for key, value in values.items()}}


def _plain(value: object) -> object:
    """A value of `shape_attributes` as JSON takes it: a record may hold numpy's numbers."""
    if isinstance(value, list):
        return list(map(_plain, value))
    return value if isinstance(value, int) else float(value)  # type: ignore[arg-type]


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
    if isinstance(shape, records.Polygon | records.Polyline):
        return len(shape.xs), why_flat(shape), ""
    return 0, "", ""


def _values(values: Mapping[str, records.Value]) -> dict[str, object]:
    return {
        name: value if isinstance(value, str) else dict.fromkeys(value, True)
        for name, value in values.items()
    }


def _json(data: object) -> str:
    # ASCII only: half of an emoji, which JavaScript may save, is no UTF-8.
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _warn_of_lost_declarations(
    annotations: records.Annotations, reporter: records.Reporter
) -> None:
    """Warn of declarations and the default path, which only a project holds."""
    declared = [*annotations.region_attributes.values(), *annotations.file_attributes.values()]
    if declared:
        names = ", ".join(repr(attribute.name) for attribute in declared)
        message = f"declarations of attributes are not written: {names}"
        texts = [pair for attribute in declared for pair in attribute.options.items()]
        if any(text not in ("", option) for option, text in texts):
            message += "; values are option ids, whose descriptions are lost"
        reporter.report("warning", message, "write a project, which holds them")
    if annotations.default_path:
        message = f"the default path is not written: {annotations.default_path}"
        reporter.report("warning", message, "write a project, which holds it")
