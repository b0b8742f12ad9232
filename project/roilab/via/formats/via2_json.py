"""The JSON of VIA 1 and 2: exported annotations and projects. Their CSV holds the same objects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from sys import intern

from roilab.via.formats.source import Reporter, SourceFile, mapping, warn_of_double_names
from roilab.via.geometry import InvalidShape, Numbered, Path, checked_path, checked_shape, kind_of
from roilab.via.records import (
    Annotations,
    Attribute,
    Circle,
    Container,
    Ellipse,
    ImageRecord,
    Point,
    Polygon,
    Polyline,
    Problem,
    Rect,
    Region,
    Shape,
    Value,
)

_PATHS: Mapping[str, type[Path]] = {kind_of(kind): kind for kind in (Polygon, Polyline)}
_NUMBERED: Mapping[str, type[Numbered]] = {
    kind_of(kind): kind for kind in (Rect, Circle, Ellipse, Point)
}
_SHAPES = ("rect", "circle", "ellipse", "polygon", "polyline", "point")


def detect(source: SourceFile) -> Container | None:
    """The kind of a VIA 2 project, or of image entries as VIA 1 or 2 exports them."""
    if isinstance(source.top.get("_via_img_metadata"), Mapping):
        return Container.VIA2_PROJECT
    values = source.data if isinstance(source.data, list) else source.top.values()
    entries = [v for v in values if isinstance(v, Mapping) and "filename" in v and "regions" in v]
    # Lists and objects of regions occur with both versions; only VIA 1 writes these two keys.
    if any("fileref" in entry or "base64_img_data" in entry for entry in entries):
        return Container.VIA1_JSON
    return Container.VIA2_JSON if entries else None


def parse(source: SourceFile, container: Container) -> Annotations:
    """Read a VIA 2 project, or what VIA 1 or 2 exported."""
    if container is Container.VIA2_PROJECT:
        return _parse_project(source)
    return _parse_entries(source, container, _by_key(source))


def _parse_project(source: SourceFile) -> Annotations:
    top = source.top
    annotations = _parse_entries(source, Container.VIA2_PROJECT, top["_via_img_metadata"])
    problems = list(annotations.problems)
    images = _in_order(source.file, annotations.images, top.get("_via_image_id_list"), problems)
    declared = mapping(top.get("_via_attributes"))
    reporter = Reporter(problems, source.file)
    region_attributes = _read_declarations(declared.get("region"), "region", reporter)
    file_attributes = _read_declarations(declared.get("file"), "file", reporter)
    path = mapping(mapping(top.get("_via_settings")).get("core")).get("default_filepath")
    return replace(
        annotations,
        images=images,
        region_attributes=region_attributes,
        file_attributes=file_attributes,
        default_path=path if isinstance(path, str) else "",
        problems=tuple(problems),
    )


def _by_key(source: SourceFile) -> Mapping[str, object]:
    """The values at the top level under keys; those of a list under VIA's."""
    if not isinstance(source.data, list):
        return source.top
    entries: dict[str, object] = {}
    for number, entry in enumerate(source.data):
        key = f"entry {number}"
        if isinstance(entry, Mapping) and "filename" in entry:
            key = f"{entry['filename']}{entry.get('size', -1)}"
        entries[key if key not in entries else f"{key} {number}"] = entry
    return entries


def _parse_entries(source: SourceFile, container: Container, entries: object) -> Annotations:
    """Read image entries, in their order.

    Args:
        entries: JSON data, `{key: {"filename", "size", "regions", "file_attributes"}}`. It is used
            up: each entry is removed once it is read, so that a large file is not held twice.
    """
    problems: list[Problem] = []
    images = []
    if isinstance(entries, dict):
        for key in list(entries):
            image = _read_entry(str(key), entries.pop(key), problems, source.file)
            if image is not None:
                images.append(image)
    warn_of_double_names(source.file, images, problems)
    return Annotations(source.file, container, tuple(images), {}, {}, problems=tuple(problems))


def _read_entry(key: str, entry: object, problems: list[Problem], file: str) -> ImageRecord | None:
    data = mapping(entry)
    filename = data.get("filename")
    if not isinstance(filename, str) or not filename.strip():
        report_nameless(Reporter(problems, file, key))
        return None
    reporter = Reporter(problems, file, filename.strip())
    numbered = _numbered(data.get("regions"), reporter)
    regions = (_read_region_object(index, region, reporter) for index, region in numbered)
    return build_image(key, data.get("size"), regions, data.get("file_attributes"), reporter)


def report_nameless(reporter: Reporter) -> None:
    """Report an image entry without a file name, which is left out."""
    reporter.error("the image entry has no file name", "give it a filename, or remove the entry")


def build_image(
    key: str,
    size: object,
    regions: Iterable[Region | None],
    attributes: object,
    reporter: Reporter,
) -> ImageRecord:
    """The record of an image.

    Args:
        size: in bytes: a number, after a CSV import a string, and -1 where VIA does not know it.
        regions: those of `read_region`.
        attributes: JSON data.
        reporter: of the image, with its file name.
    """
    usable = tuple(region for region in regions if region is not None)
    reporter.warn_of_copies(usable)
    values = read_values(attributes, "file_attributes", reporter)
    return ImageRecord(key, str(reporter.image), _size(size), usable, values)


def _size(value: object) -> int | None:
    try:
        size = int(value) if isinstance(value, int | float | str) else -1
    except (ValueError, OverflowError):
        return None
    return size if size >= 0 else None


def is_index(text: str) -> bool:
    """Whether a text is a number as a list counts: no sign, no leading zero, not too long."""
    plain = text.isascii() and text.isdecimal() and len(text) < 10
    return plain and (text == "0" or not text.startswith("0"))


def _numbered(regions: object, reporter: Reporter) -> list[tuple[int, object]]:
    """The regions of an image with their index: the place in a list, the key in an object."""
    if isinstance(regions, list):
        return list(enumerate(regions))
    if isinstance(regions, Mapping):
        if all(map(is_index, regions)):
            return [(int(key), data) for key, data in regions.items()]
        return list(enumerate(regions.values()))
    reporter.error("the image entry has no list of regions", "write [] where nothing is annotated")
    return []


def _read_region_object(index: int, data: object, reporter: Reporter) -> Region | None:
    if not isinstance(data, Mapping):
        reporter.error("the region is not an object", "draw it again in VIA", index)
        return None
    return read_region(index, data.get("shape_attributes"), data.get("region_attributes"), reporter)


def read_region(index: int, shape: object, values: object, reporter: Reporter) -> Region | None:
    """The region of `shape_attributes` and `region_attributes`; None, and a problem, if it is none.

    Args:
        shape, values: JSON data.
        reporter: of the image.
    """
    try:
        checked = read_shape(shape)
    except InvalidShape as reason:
        reporter.error(str(reason), "draw the region again in VIA, or delete it", index)
        return None
    return Region(index, checked, read_values(values, "region_attributes", reporter, index))


def read_shape(data: object) -> Shape:
    """The shape of a region's `shape_attributes`.

    Raises:
        InvalidShape: no known shape, or numbers that do not make one.
    """
    if not isinstance(data, Mapping):
        raise InvalidShape("the region has no shape_attributes")
    name = data.get("name")
    name = name.strip() if isinstance(name, str) and name.strip() else "unknown"
    if name in _PATHS:
        return checked_path(_PATHS[name], data.get("all_points_x"), data.get("all_points_y"))
    if name in _NUMBERED:
        return checked_shape(_NUMBERED[name], data)
    raise unknown_shape(name)


def unknown_shape(name: str) -> InvalidShape:
    """The reason to refuse a shape that VIA does not draw."""
    return InvalidShape(f"unknown shape '{name}', expected one of {', '.join(_SHAPES)}")


def read_values(
    data: object, key: str, reporter: Reporter, region: int | None = None
) -> dict[str, Value]:
    """Attribute values. The empty name is skipped, as VIA does.

    Args:
        data: JSON data.
        key: under which a file holds them.
    """
    values: dict[str, Value] = {}
    if not isinstance(data, Mapping):
        if data is not None:
            message = f"the attributes are no object but {data!r:.40}"
            reporter.error(message, "set the attributes again in VIA", region, key)
        return values
    for name, raw in data.items():
        if not name:
            continue
        if isinstance(raw, str):
            # A class name occurs in thousands of regions: one copy of it is kept.
            values[name] = intern(raw.strip())
        elif isinstance(raw, Mapping):
            values[name] = _ticked(raw, name, reporter, region)
        elif isinstance(raw, list):
            remedy = "give one value, or use a checkbox"
            reporter.error("the value is a list", remedy, region, name)
        else:
            values[name] = value_text(raw)
    return values


def _ticked(
    raw: Mapping[str, object], name: str, reporter: Reporter, region: int | None
) -> tuple[str, ...]:
    """The options of a checkbox that are ticked: VIA holds true, other programs 1 or "true"."""
    ticked = []
    for option, state in raw.items():
        word = value_text(state).lower()
        if word in ("true", "1"):
            ticked.append(value_text(option))
        elif word not in ("false", "0", ""):
            message = f"the option '{value_text(option)}' is neither ticked nor not: {state!r:.40}"
            reporter.error(message, "tick it again in VIA, or write true or false", region, name)
    return tuple(ticked)


def value_text(value: object) -> str:
    """A value as text, without the white space around it; numbers and truth values as in JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value).strip()


def _read_declarations(declared: object, group: str, reporter: Reporter) -> dict[str, Attribute]:
    """The declarations of a group ("region" or "file") in a project's `_via_attributes`."""
    attributes: dict[str, Attribute] = {}
    for name, data in mapping(declared).items():
        if not isinstance(data, Mapping):
            message = f"the declaration of a {group} attribute is not an object"
            reporter.error(message, "declare the attribute again in VIA", attribute=str(name))
        elif name:
            options = mapping(data.get("options"))
            attributes[name] = Attribute(
                name=name,
                type=value_text(data.get("type")) or "text",
                description=value_text(data.get("description")),
                options={value_text(key): value_text(value) for key, value in options.items()},
                default_value=value_text(data.get("default_value")),
                default_options=_ticked(mapping(data.get("default_options")), name, reporter, None),
            )
    return attributes


def _in_order(
    file: str, images: Sequence[ImageRecord], ids: object, problems: list[Problem]
) -> tuple[ImageRecord, ...]:
    """The images in the order of the project's id list, then those that it does not name."""
    if not isinstance(ids, list):
        return tuple(images)
    by_key = {image.key: image for image in images}
    ordered: dict[str, ImageRecord] = {}
    for key in map(str, ids):
        if key in by_key:
            ordered[key] = by_key[key]
        else:
            message = "listed in _via_image_id_list but has no readable entry"
            remedy = "remove it from the list: VIA cannot open the project as it is"
            problems.append(Problem("warning", message, remedy, file, key))
    return tuple((ordered | by_key).values())
