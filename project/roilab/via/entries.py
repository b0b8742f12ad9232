"""Image entries, regions and attributes as every VIA JSON writes them -> records."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from sys import intern

from roilab.via.geometry import InvalidShape, read_shape
from roilab.via.records import Attribute, ImageRecord, Problem, Region, Value
from roilab.via.shapes import Shape

# The key under which a reader of another layout says what its file calls a region.
KNOWN_AS = "roilab:known as"


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in a file; problems there are added to `problems`.

    `known_as` is what the file calls a region, where that is not its index.
    """

    problems: list[Problem]
    file: str
    image: str | None = None
    known_as: str = ""

    def error(
        self, message: str, remedy: str, region: int | None = None, attribute: str | None = None
    ) -> None:
        message += f" ({self.known_as})" if self.known_as else ""
        self.problems.append(
            Problem("error", message, remedy, self.file, self.image, region, attribute)
        )

    def warning(self, message: str, remedy: str, region: int) -> None:
        self.problems.append(Problem("warning", message, remedy, self.file, self.image, region))


def read_images(file: str, entries: object, problems: list[Problem]) -> tuple[ImageRecord, ...]:
    """Read VIA's image entries, in their order.

    Args:
        file: the path for messages.
        entries: JSON data, `{key: {"filename", "size", "regions", "file_attributes"}}`. It is used
            up: each entry is removed when it was read, so that a large file is not held twice.
        problems: what is left out is reported here.
    """
    images = []
    if isinstance(entries, dict):
        for key in list(entries):
            image = _read_image(str(key), entries.pop(key), _Place(problems, file, str(key)))
            if image is not None:
                images.append(image)
    warn_of_double_names(file, images, problems)
    return tuple(images)


def warn_of_double_names(file: str, images: Sequence[ImageRecord], problems: list[Problem]) -> None:
    """Warn of entries that have one file name and size."""
    for (filename, size), count in Counter((each.filename, each.size) for each in images).items():
        if count > 1:
            known = "" if size is None else f" and {size} bytes"
            message = f"{count} entries have this file name{known}; they are read as {count} images"
            remedy = "make them one: what only one of them holds is background in the others"
            problems.append(Problem("warning", message, remedy, file, filename))


def read_attributes(
    file: str, declared: object, kind: str, problems: list[Problem]
) -> dict[str, Attribute]:
    """Read the declarations of a kind ("region" or "file") from a project's `_via_attributes`."""
    place = _Place(problems, file)
    attributes: dict[str, Attribute] = {}
    group = declared.get(kind) if isinstance(declared, Mapping) else None
    for name, data in group.items() if isinstance(group, Mapping) else ():
        if not isinstance(data, Mapping):
            message = f"the declaration of a {kind} attribute is not an object"
            place.error(message, "declare the attribute again in VIA", attribute=str(name))
        elif name:
            options, defaults = data.get("options"), data.get("default_options")
            attributes[name] = Attribute(
                name=name,
                type=_text(data.get("type")) or "text",
                description=_text(data.get("description")),
                options={_text(key): _text(value) for key, value in options.items()}
                if isinstance(options, Mapping)
                else {},
                default_value=_text(data.get("default_value")),
                default_options=_ticked(defaults, name, place, None)
                if isinstance(defaults, Mapping)
                else (),
            )
    return attributes


def _read_image(key: str, entry: object, place: _Place) -> ImageRecord | None:
    filename = entry.get("filename") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(filename, str) or not filename.strip():
        place.error("the image entry has no file name", "give it a filename, or remove the entry")
        return None
    place = _Place(place.problems, place.file, filename.strip())
    return ImageRecord(
        key=key,
        filename=filename.strip(),
        size=_size(entry.get("size")),
        regions=_read_regions(entry.get("regions"), place),
        attributes=_read_values(entry, "file_attributes", place, None),
    )


def is_index(text: str) -> bool:
    """Whether a text is a number as a list counts: no sign, no leading zero, not too long."""
    plain = text.isascii() and text.isdecimal() and len(text) < 10
    return plain and (text == "0" or not text.startswith("0"))


def _size(value: object) -> int | None:
    """VIA writes a number, after a CSV import a string, and -1 where it does not know."""
    try:
        size = int(value) if isinstance(value, int | float | str) else -1
    except (ValueError, OverflowError):
        return None
    return size if size >= 0 else None


def _read_regions(regions: object, place: _Place) -> tuple[Region, ...]:
    found = []
    for index, data in _numbered(regions, place):
        if not isinstance(data, Mapping):
            place.error("the region is not an object", "draw it again in VIA", index)
            continue
        where = replace(place, known_as=str(data[KNOWN_AS])) if KNOWN_AS in data else place
        try:
            shape = read_shape(data.get("shape_attributes"))
        except InvalidShape as reason:
            where.error(str(reason), "draw the region again in VIA, or delete it", index)
            continue
        values = _read_values(data, "region_attributes", where, index)
        found.append(Region(index, shape, values))
    _warn_of_copies(found, place)
    return tuple(found)


def _warn_of_copies(regions: Sequence[Region], place: _Place) -> None:
    """VIA appends what it imports: a file that was imported twice has every region twice."""
    first: dict[Shape, Region] = {}
    copies = [
        region
        for region in regions
        if first.setdefault(region.shape, region) is not region
        and first[region.shape].attributes == region.attributes
    ]
    if copies:
        original = first[copies[0].shape].index
        message = f"the same as region {original}"
        if len(copies) > 1:
            message += f", and {len(copies) - 1} more are the same as others"
        remedy = "delete one of the two in VIA: both are taken for objects"
        place.warning(message, remedy, copies[0].index)


def _numbered(regions: object, place: _Place) -> list[tuple[int, object]]:
    """The regions of an image with their index: the place in a list, the key in an object."""
    if isinstance(regions, list):
        return list(enumerate(regions))
    if isinstance(regions, Mapping):
        if all(map(is_index, regions)):
            return [(int(key), data) for key, data in regions.items()]
        return list(enumerate(regions.values()))
    place.error("the image entry has no list of regions", "write [] where nothing is annotated")
    return []


def _read_values(
    holder: Mapping[str, object], key: str, place: _Place, region: int | None
) -> dict[str, Value]:
    """Attribute values. The empty name is skipped, as VIA does."""
    values: dict[str, Value] = {}
    data = holder.get(key)
    if not isinstance(data, Mapping):
        if data is not None:
            message = f"the attributes are no object but {data!r:.40}"
            place.error(message, "set the attributes again in VIA", region, key)
        return values
    for name, raw in data.items():
        if not name:
            continue
        if isinstance(raw, str):
            # A class name occurs in thousands of regions: one copy of it is kept.
            values[name] = intern(raw.strip())
        elif isinstance(raw, Mapping):
            values[name] = _ticked(raw, name, place, region)
        elif isinstance(raw, list):
            remedy = "give one value, or use a checkbox"
            place.error("the value is a list", remedy, region, name)
        else:
            values[name] = _text(raw)
    return values


def _ticked(
    raw: Mapping[str, object], name: str, place: _Place, region: int | None
) -> tuple[str, ...]:
    """The options of a checkbox that are ticked: VIA holds true, other programs 1 or "true"."""
    ticked = []
    for option, state in raw.items():
        word = _text(state).lower()
        if word in ("true", "1"):
            ticked.append(_text(option))
        elif word not in ("false", "0", ""):
            message = f"the option '{_text(option)}' is neither ticked nor not: {state!r:.40}"
            place.error(message, "tick it again in VIA, or write true or false", region, name)
    return tuple(ticked)


def _text(value: object) -> str:
    """A value as text, without the white space around it; numbers and truth values as in JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value).strip()
