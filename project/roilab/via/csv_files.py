"""The CSV files of VIA 1 and 2, translated to the image entries of a VIA 2 project."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from roilab.errors import UserError
from roilab.text import counted
from roilab.via.entries import is_index, read_images
from roilab.via.layout import free_key
from roilab.via.records import Annotations, Container, Problem
from roilab.via.source_file import Document
from roilab.via.strict_json import REMEDY_OF_REPEATED, load_json

_COLUMNS = (
    "filename",
    "file_size",
    "file_attributes",
    "region_count",
    "region_id",
    "region_shape_attributes",
    "region_attributes",
)
# Excel writes the separator of the country: a comma, a semicolon or a tab.
_SEPARATORS = ",;\t"
_HEADER = re.compile(rf'\s*"?(#?)filename"?\s*[{_SEPARATORS}]')
# A quoted cell may run over lines. One that never ends shall not swallow the rest of the file.
_MOST_LINES = 100


def is_csv1(document: Document) -> bool:
    """Whether the header is that of VIA 1, which begins with a #."""
    found = _HEADER.match(document.text)
    return found is not None and found[1] == "#"


def is_csv2(document: Document) -> bool:
    """Whether the header is that of VIA 2."""
    found = _HEADER.match(document.text)
    return found is not None and found[1] == ""


def parse_csv1(document: Document) -> Annotations:
    """Read the CSV of VIA 1."""
    return _parse(document, Container.VIA1_CSV)


def parse_csv2(document: Document) -> Annotations:
    """Read the CSV of VIA 2."""
    return _parse(document, Container.VIA2_CSV)


@contextmanager
def long_cells() -> Iterator[None]:
    """Let the csv module read cells of any length: an outline can have 100,000 characters."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def rows_of(lines: list[str], separator: str, columns: int) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its first line, from 1.

    A cell may run over lines; but VIA does not quote file names, and where a line with an odd
    number of quotes is a row by itself (`5".jpg`), or is none with those that follow, it is taken
    alone.

    Args:
        columns: how many cells a row has at least.
    """
    at = 0
    while at < len(lines):
        end = at + 1
        row = lines[at]
        cells = _cells(row, separator, strict=False)
        if row.count('"') % 2 and not _is_row(row, separator, columns):
            while row.count('"') % 2 and end < min(len(lines), at + _MOST_LINES):
                row += "\n" + lines[end]
                end += 1
            if _is_row(row, separator, columns):
                cells = _cells(row, separator, strict=True)
            else:
                end = at + 1
        if lines[at].strip():
            yield at + 1, cells
        at = end


def _is_row(text: str, separator: str, columns: int) -> bool:
    return len(_cells(text, separator, strict=True)) >= columns


def _cells(text: str, separator: str, *, strict: bool) -> list[str]:
    """The cells of a text; where the csv module finds none, the text as the only one."""
    try:
        return next(csv.reader([text], delimiter=separator, strict=strict), [])
    except csv.Error:
        return [text]


def lines_of(text: str) -> list[str]:
    """The lines of a text. Unlike str.splitlines, a separator inside a name ends none."""
    return re.split(r"\r\n|\r|\n", text)


@dataclass(slots=True)
class _Image:
    """The rows of an image.

    Attributes:
        cell, attributes: the file attributes of its first row, as text and as data.
        others: the lines that have other ones.
        stated: how many regions the first row states.
    """

    filename: str
    size: str
    cell: str
    attributes: object
    stated: str
    others: list[int] = field(default_factory=list)
    rows: int = 0
    renumbered: int = 0
    regions: dict[str, object] = field(default_factory=dict)


def _parse(document: Document, container: Container) -> Annotations:
    file = document.file
    problems: list[Problem] = []
    with long_cells():
        images = _images(document, problems)
    for image in images.values():
        if is_index(image.stated) and int(image.stated) != image.rows:
            message = f"the file has {counted(image.rows, 'region')}, and states {image.stated}"
            remedy = "see that no row was lost, export the file again from VIA"
            problems.append(Problem("warning", message, remedy, file, image.filename))
        if image.renumbered:
            count = counted(image.renumbered, "region has", "regions have")
            message = f"{count} no number of their own and got the next"
            remedy = "number the regions of an image from 0"
            problems.append(Problem("warning", message, remedy, file, image.filename))
        if image.others:
            message = (
                f"{counted(len(image.others), 'row has', 'rows have')} other file_attributes than "
                f"the image's first, which are not read; line {image.others[0]} is the first"
            )
            remedy = "give all rows of an image the same file_attributes"
            problems.append(Problem("warning", message, remedy, file, image.filename))
    entries: dict[str, object] = {}
    for image in images.values():
        entries[free_key(image.filename, image.size, entries)] = {
            "filename": image.filename,
            "size": image.size,
            "file_attributes": image.attributes,
            "regions": image.regions,
        }
    records = read_images(file, entries, problems)
    return Annotations(file, container, records, {}, {}, problems=tuple(problems))


def _images(document: Document, problems: list[Problem]) -> dict[tuple[str, str], _Image]:
    lines = lines_of(document.text)
    start = next(at for at, line in enumerate(lines) if line.strip())
    separator = _separator(document.file, lines[start])
    images: dict[tuple[str, str], _Image] = {}
    for number, cells in rows_of(lines[start + 1 :], separator, len(_COLUMNS)):
        line = start + 1 + number
        if len(cells) < len(_COLUMNS):
            message = f"line {line} has {len(cells)} cells, expected {len(_COLUMNS)}"
            remedy = "mend the line, or export the file again from VIA"
            problems.append(Problem("error", message, remedy, document.file))
            continue
        # VIA does not quote the name, so that its commas make more cells.
        *name, size, attributes, stated, region, shape, values = cells
        filename, size = separator.join(name).strip(), size.strip()
        found: list[Problem] = []
        image = images.get((filename, size))
        # The rows of an image repeat its attributes: the same text is parsed once.
        if image is None or attributes != image.cell:
            data = _json(attributes, _COLUMNS[2], found)
            if image is None:
                image = _Image(filename, size, attributes, data, stated.strip())
                images[filename, size] = image
            elif data not in (None, {}, image.attributes):
                image.others.append(line)
        _add_region(image, stated, region, shape, values, found)
        for each in found:
            message = f"{each.message} (line {line})"
            problems.append(replace(each, message=message, file=document.file, image=filename))
    return images


def _separator(file: str, header: str) -> str:
    for separator in _SEPARATORS:
        cells = next(csv.reader([header], delimiter=separator), [])
        if [cell.strip().lstrip("#") for cell in cells] == list(_COLUMNS):
            return separator
    raise UserError(
        "the columns of the CSV are not those of VIA",
        file=file,
        key="line 1",
        found=header.strip(),
        expected=",".join(_COLUMNS),
        remedy="export the file again from VIA",
    )


def _add_region(
    image: _Image, stated: str, region: str, shape: str, values: str, problems: list[Problem]
) -> None:
    """Add the region of a row to its image; a row of an image without regions adds none."""
    found: list[Problem] = []
    shape_data, value_data = (
        _json(cell, column, found) for cell, column in ((shape, _COLUMNS[5]), (values, _COLUMNS[6]))
    )
    if stated.strip() in ("0", "") and shape_data == {}:
        problems += found
        return
    image.rows += 1
    number = region.strip()
    if not is_index(number) or number in image.regions:
        image.renumbered += 1
        number = str(max(map(int, image.regions), default=-1) + 1)
    problems += [replace(each, region=int(number)) for each in found]
    if shape_data is not None and value_data is not None:
        image.regions[number] = {
            "shape_attributes": shape_data,
            "region_attributes": value_data,
        }


def _json(cell: str, column: str, problems: list[Problem]) -> object:
    """The JSON value of a cell; an empty object for an empty one; None, and a problem, for none.

    The problem has no place yet.
    """
    if not cell.strip():
        return {}
    try:
        data, repeated = load_json(cell)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        message = f"{column} is not JSON ({reason}): {cell[:60]}"
        remedy = "mend the cell, or read VIA's JSON of the same set"
        if cell.lstrip().startswith("{'"):
            remedy = "it is Python's notation: write the cell with json.dumps, not with str"
        problems.append(Problem("error", message, remedy, ""))
        return None
    for each in repeated:
        message = f"{replace(each, path=(column, *each.path))}; only the last is read"
        attribute = str((*each.path, each.key)[0]) if column != _COLUMNS[5] else None
        problems.append(Problem("error", message, REMEDY_OF_REPEATED, "", attribute=attribute))
    return {} if data is None else data
