"""The JSON of VIA 1 and 2: exported annotations and projects. Their CSV holds the same objects."""

from collections.abc import Iterable, Iterator, Mapping
from sys import intern
from typing import get_args

from roilab.via import records
from roilab.via.formats.source import SourceFile, mapping
from roilab.via.geometry import InvalidShape, checked_shape, kind_of

# VIA's name of a kind of shape -> its class.
KINDS: Mapping[str, type[records.Shape]] = {kind_of(kind): kind for kind in get_args(records.Shape)}


def detect(source: SourceFile) -> records.Container | None:
    """The kind of a VIA 2 project, or of image entries as VIA 1 or 2 exports them."""
    if isinstance(source.top.get("_via_img_metadata"), dict):
        return records.Container.VIA2_PROJECT
    values = source.data if isinstance(source.data, list) else source.top.values()
    entries = [entry for entry in map(mapping, values) if {"filename", "regions"} <= entry.keys()]
    # Lists and objects of regions occur with both versions; only VIA 1 writes these two keys.
    if any("fileref" in entry or "base64_img_data" in entry for entry in entries):
        return records.Container.VIA1_JSON
    return records.Container.VIA2_JSON if entries else None


def parse(source: SourceFile, container: records.Container) -> records.Annotations:
    """Read a VIA 2 project, or what VIA 1 or 2 exported."""
    project = source.top if container is records.Container.VIA2_PROJECT else {}
    entries = project["_via_img_metadata"] if project else _by_key(source)
    problems: list[records.Problem] = []
    images = {}
    # Each entry is removed once it is read, so that a large file is not held twice.
    for key in list(entries):
        if image := _read_entry(key, entries.pop(key), problems, source.file):
            images[key] = image

    # In the order of the project's list; entries that it lacks come last.
    ordered: dict[str, records.ImageRecord] = {}
    ids = project.get("_via_image_id_list")
    for key in map(str, ids if isinstance(ids, list) else ()):
        if key in images:
            ordered[key] = images[key]
        else:
            message = "listed in _via_image_id_list but has no readable entry"
            remedy = "remove it from the list: VIA cannot open the project as it is"
            records.Reporter(problems, source.file, key).report("warning", message, remedy)

    path = mapping(mapping(project.get("_via_settings")).get("core")).get("default_filepath")
    declared = mapping(project.get("_via_attributes"))
    reporter = records.Reporter(problems, source.file)
    return records.Annotations(
        source.file,
        container,
        tuple((ordered | images).values()),
        region_attributes=_declarations(declared, "region", reporter),
        file_attributes=_declarations(declared, "file", reporter),
        default_path=path if isinstance(path, str) else "",
        problems=tuple(problems),
    )


def _by_key(source: SourceFile) -> dict[str, object]:
    """The values at the top level under keys; those of a list under VIA's."""
    if not isinstance(source.data, list):
        return source.top
    entries: dict[str, object] = {}
    for number, entry in enumerate(source.data):
        key = f"entry {number}"
        if isinstance(entry, dict) and "filename" in entry:
            key = f"{entry['filename']}{entry.get('size', -1)}"
        entries[key if key not in entries else f"{key} {number}"] = entry
    return entries


def _read_entry(
    key: str, entry: object, problems: list[records.Problem], file: str
) -> records.ImageRecord | None:
    data = mapping(entry)
    name = data.get("filename")
    reporter = records.Reporter(problems, file, name.strip() if isinstance(name, str) else "")
    size = size_of(data.get("size"))
    regions = _read_regions(data.get("regions"), reporter)
    return build_image(key, size, regions, [data.get("file_attributes")], reporter)


def build_image(
    key: str,
    size: int | None,
    regions: Iterable[records.Region | None],
    file_attributes: Iterable[object],
    reporter: records.Reporter,
) -> records.ImageRecord | None:
    """The record of the reporter's image; None, and a problem, if the image has no name.

    Equal regions are warned of: VIA appends what it imports, so that a second import doubles it.
    Of several values of an attribute, the last that can be read counts.
    """
    if not reporter.image:
        reporter = records.Reporter(reporter.problems, reporter.file, key)
        remedy = "give it a filename, or remove the entry"
        reporter.error("the image entry has no file name", remedy)
        return None
    usable = tuple(region for region in regions if region is not None)
    first: dict[records.Shape, records.Region] = {}
    copies = []
    for region in usable:
        earlier = first.setdefault(region.shape, region)
        if earlier is not region and earlier.attributes == region.attributes:
            copies.append(region)
    if copies:
        message = f"the same as region {first[copies[0].shape].index}"
        if len(copies) > 1:
            message += f", and {len(copies) - 1} more are the same as others"
        remedy = "delete one of the two in VIA: both are taken for objects"
        reporter.report("warning", message, remedy, copies[0].index)
    attributes: dict[str, records.Value] = {}
    for values in file_attributes:
        attributes |= read_values(values, "file_attributes", reporter)
    return records.ImageRecord(key, reporter.image, size, usable, attributes)


def size_of(value: object) -> int | None:
    """A file's length in bytes: a number, a text after a CSV import, -1 where VIA has none."""
    try:
        size = int(value) if isinstance(value, int | float | str) else -1
    except (ValueError, OverflowError):
        return None
    return size if size >= 0 else None


def is_index(text: str) -> bool:
    """Whether a text is a number as a list counts: no sign, no leading zero, not too long."""
    plain = text.isascii() and text.isdecimal() and len(text) < 10
    return plain and (text == "0" or not text.startswith("0"))


def _read_regions(data: object, reporter: records.Reporter) -> Iterator[records.Region | None]:
    """The regions of an image, None for one that cannot be used, which is reported.

    Their index is the place in a list, or the key in an object whose keys are all numbers.
    """
    if not isinstance(data, list | dict):
        message = "the image entry has no list of regions"
        reporter.error(message, "write [] where nothing is annotated")
        return
    numbered: Iterable[tuple[int, object]]
    if isinstance(data, list):
        numbered = enumerate(data)
    elif all(map(is_index, data)):
        numbered = ((int(key), region) for key, region in data.items())
    else:
        numbered = enumerate(data.values())
    for index, region in numbered:
        if isinstance(region, dict):
            shape = region.get("shape_attributes")
            attributes = region.get("region_attributes")
            yield read_region(index, shape, attributes, reporter)
        else:
            reporter.error("the region is not an object", "draw it again in VIA", index)


def read_region(
    index: int, shape: object, values: object, reporter: records.Reporter
) -> records.Region | None:
    """The region of its two JSON objects in a file; None, and a problem, if it is none."""
    try:
        checked = read_shape(shape)
    except InvalidShape as reason:
        reporter.error(str(reason), "draw the region again in VIA, or delete it", index)
        return None
    return records.Region(index, checked, read_values(values, "region_attributes", reporter, index))


def read_shape(data: object) -> records.Shape:
    """The shape of a region's `shape_attributes`.

    Raises:
        InvalidShape: no known shape, or numbers that do not make one.
    """
    if not isinstance(data, Mapping):
        raise InvalidShape("the region has no shape_attributes")
    name = data.get("name")
    name = name.strip() if isinstance(name, str) and name.strip() else "unknown"
    if name not in KINDS:
        raise unknown_shape(name)
    return checked_shape(KINDS[name], data)


def unknown_shape(name: str) -> InvalidShape:
    """The reason to refuse a shape that VIA does not draw."""
    return InvalidShape(f"unknown shape '{name}', expected one of {', '.join(KINDS)}")


def read_values(
    data: object, key: str, reporter: records.Reporter, region: int | None = None
) -> dict[str, records.Value]:
    """Attribute values of JSON data under a key. The empty name is skipped, as VIA does."""
    if not isinstance(data, dict | None):
        message = f"the attributes are no object but {data!r:.40}"
        reporter.error(message, "set the attributes again in VIA", region, key)
    values: dict[str, records.Value] = {}
    for name, raw in mapping(data).items():
        if not name:
            continue
        if isinstance(raw, str):
            # A class name occurs in thousands of regions: one copy of it is kept.
            values[name] = intern(raw.strip())
        elif isinstance(raw, dict):
            values[name] = _ticked(raw, name, reporter, region)
        elif isinstance(raw, list):
            remedy = "give one value, or use a checkbox"
            reporter.error("the value is a list", remedy, region, name)
        else:
            values[name] = value_text(raw)
    return values


def _ticked(
    raw: Mapping[str, object], name: str, reporter: records.Reporter, region: int | None = None
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


def read_options(data: object) -> dict[str, str]:
    """The options of a choice: id -> description."""
    return {value_text(key): value_text(value) for key, value in mapping(data).items()}


def _declarations(
    groups: Mapping[str, object], group: str, reporter: records.Reporter
) -> dict[str, records.Attribute]:
    """The declarations of a group ("region" or "file") in a project's `_via_attributes`."""
    attributes: dict[str, records.Attribute] = {}
    for name, data in mapping(groups.get(group)).items():
        if not isinstance(data, dict):
            message = f"the declaration of a {group} attribute is not an object"
            reporter.error(message, "declare the attribute again in VIA", attribute=name)
        elif name:
            attributes[name] = records.Attribute(
                name,
                value_text(data.get("type")) or "text",
                value_text(data.get("description")),
                read_options(data.get("options")),
                value_text(data.get("default_value")),
                _ticked(mapping(data.get("default_options")), name, reporter),
            )
    return attributes
