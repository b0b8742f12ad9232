"""Records -> a VIA 2 project that VIA 2.0.x opens."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from roilab.errors import UserError
from roilab.via.records import Attribute, ImageRecord, Region, Value
from roilab.via.shapes import XY, Circle, Ellipse, Point, Polygon, Polyline, Rect, Shape

# VIA saves this literal whatever its own version is, and never reads it.
_DATA_FORMAT_VERSION = "2.0.10"
_CHOICES = ("radio", "dropdown", "checkbox", "image")


def write_project(
    path: str | Path,
    images: Sequence[ImageRecord],
    region_attributes: Mapping[str, Attribute],
    file_attributes: Mapping[str, Attribute] | None = None,
    name: str = "via_project",
    default_path: str = "",
) -> None:
    """Write a VIA 2 project; the same arguments give the same bytes.

    The file appears whole or not at all. Images are filed under VIA's own key (name and size), not
    under their record's, and regions by their place. Coordinates keep three decimals, as in VIA.

    Args:
        images: in the order in which VIA shall show them.
        region_attributes, file_attributes: declarations; VIA takes others that occur for text.
        name: the project's name in VIA.
        default_path: what VIA puts before every file name to find the image, ending in a slash.

    Raises:
        UserError: two images have the same name and size, or the file cannot be written.
    """
    entries: dict[str, object] = {}
    for image in images:
        key = image_key(image.filename, image.size)
        if key in entries:
            raise UserError(
                "two images of a VIA project have the same name and size",
                file=path,
                found=image.filename,
                expected="every image once, or files with different names",
            )
        entries[key] = _entry(image)
    project = {
        "_via_settings": _settings(name, default_path),
        "_via_img_metadata": entries,
        "_via_attributes": {
            "region": {key: _declaration(each) for key, each in region_attributes.items()},
            "file": {key: _declaration(each) for key, each in (file_attributes or {}).items()},
        },
        "_via_data_format_version": _DATA_FORMAT_VERSION,
        "_via_image_id_list": list(entries),
    }
    text = json.dumps(project, allow_nan=False, separators=(",", ":"))
    _write_whole(Path(path), text.encode("ascii"))


def image_key(filename: str, size: int | None) -> str:
    """The key under which VIA files an image; -1 stands for an unknown size."""
    return f"{filename}{-1 if size is None else size}"


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


def _declaration(attribute: Attribute) -> dict[str, object]:
    declaration: dict[str, object] = {
        "type": attribute.type,
        "description": attribute.description,
    }
    if attribute.type in _CHOICES:
        declaration["options"] = dict(attribute.options)
        declaration["default_options"] = {}
    else:
        declaration["default_value"] = ""
    return declaration


def _entry(image: ImageRecord) -> dict[str, object]:
    return {
        "filename": image.filename,
        "size": -1 if image.size is None else image.size,
        "regions": [_region(region) for region in image.regions],
        "file_attributes": _values(image.attributes),
    }


def _region(region: Region) -> dict[str, object]:
    return {
        "shape_attributes": _shape(region.shape),
        "region_attributes": _values(region.attributes),
    }


def _values(values: Mapping[str, Value]) -> dict[str, object]:
    return {
        name: value if isinstance(value, str) else dict.fromkeys(value, True)
        for name, value in values.items()
    }


def _shape(shape: Shape) -> dict[str, object]:
    match shape:
        case Rect(x, y, width, height):
            return _named("rect", x=x, y=y, width=width, height=height)
        case Circle(cx, cy, r):
            return _named("circle", cx=cx, cy=cy, r=r)
        case Ellipse(cx, cy, rx, ry, theta):
            # Three decimals of a radian would move the tip of a long ellipse by a pixel.
            return _named("ellipse", cx=cx, cy=cy, rx=rx, ry=ry) | {"theta": theta}
        case Polygon(points):
            return _with_vertices("polygon", points)
        case Polyline(points):
            return _with_vertices("polyline", points)
        case Point(cx, cy):
            return _named("point", cx=cx, cy=cy)


def _named(name: str, **coordinates: float) -> dict[str, object]:
    return {"name": name, **{key: _number(value) for key, value in coordinates.items()}}


def _with_vertices(name: str, points: Sequence[XY]) -> dict[str, object]:
    return {
        "name": name,
        "all_points_x": [_number(x) for x, _ in points],
        "all_points_y": [_number(y) for _, y in points],
    }


def _number(value: float) -> float:
    rounded = round(float(value), 3)
    return int(rounded) if rounded.is_integer() else rounded


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError("cannot write the file", file=path, found=error.strerror) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
