"""Records -> files that VIA 2.0.x opens or imports.

Each writer returns a problem for what its kind of file cannot hold: a note where that changes
nothing of the annotations, a warning where something is not written. The same records give the same
bytes, and a file appears whole or not at all.

What no kind of file holds: the records' own keys (images are filed under VIA's, name and size, with
a mark behind where two would have the same), gaps in the numbers of regions, and more than three
decimals of a coordinate, unless the region would be none without them. A region that the reader
would refuse is written and is an error among the problems.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from roilab.files import write_whole
from roilab.via.layout import Entry, declarations_of, entries_of
from roilab.via.records import Annotations, Problem

# VIA saves this literal whatever its own version is, and never reads it.
_DATA_FORMAT_VERSION = "2.0.10"
_CSV_HEADER = (
    "filename,file_size,file_attributes,region_count,region_id,"
    "region_shape_attributes,region_attributes"
)


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
    entries, problems = entries_of(annotations)
    project = {
        "_via_settings": _settings(name, annotations.default_path),
        "_via_img_metadata": entries,
        "_via_attributes": {
            "region": declarations_of(annotations.region_attributes),
            "file": declarations_of(annotations.file_attributes),
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
        UserError: two images have the same name and size, a coordinate is not finite, or the file
            cannot be written.
    """
    entries, problems = entries_of(annotations)
    write_whole(path, _json(entries))
    return (*problems, *_without_declarations(annotations))


def write_csv(path: str | Path, annotations: Annotations) -> tuple[Problem, ...]:
    """Write a VIA 2 CSV ("Import annotations").

    It does not hold the declarations of attributes, not the project's default path, and no image
    whose name has a line break or is no Unicode. VIA itself passes over the rows of a name with a
    comma or a quotation mark.

    Raises:
        UserError: two images have the same name and size, a coordinate is not finite, or the file
            cannot be written.
    """
    entries, problems = entries_of(annotations)
    lines = [_CSV_HEADER]
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
        lines += _rows(entry)
    write_whole(path, "\n".join(lines) + "\n")
    return (*problems, *_without_declarations(annotations))


WRITERS: Mapping[str, Callable[[str | Path, Annotations], tuple[Problem, ...]]] = {
    "via": write_project,
    "via-json": write_json,
    "via-csv": write_csv,
}


def _json(data: object) -> str:
    # ASCII only: half of an emoji, which JavaScript may save, is no UTF-8.
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def _rows(entry: Entry) -> list[str]:
    """The CSV rows of an image: one a region, or one with empty objects."""
    regions = entry["regions"]
    name = entry["filename"]
    if set(',"') & set(name):
        name = '"' + name.replace('"', '""') + '"'
    start = f"{name},{entry['size']},{_quoted(entry['file_attributes'])}"
    start += f",{len(regions)}"
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


def _without_declarations(annotations: Annotations) -> list[Problem]:
    problems = []
    declared = [*annotations.region_attributes.values(), *annotations.file_attributes.values()]
    if declared:
        names = ", ".join(repr(attribute.name) for attribute in declared)
        message = f"declarations of attributes are not written: {names}"
        described = any(
            text not in ("", option) for each in declared for option, text in each.options.items()
        )
        remedy = "write a project, which holds them"
        if described:
            message += "; values are option ids, whose descriptions are lost"
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
