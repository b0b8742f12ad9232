"""The CSV files of VIA 1 and 2, translated to the image entries of a VIA 2 project."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from roilab.errors import UserError
from roilab.via.document import Document
from roilab.via.entries import is_index, read_images
from roilab.via.records import Annotations, Container, Problem

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


def rows_of(lines: list[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its first line, from 1."""
    at = 0
    while at < len(lines):
        end = at + 1
        row = lines[at]
        while row.count('"') % 2 and end < min(len(lines), at + _MOST_LINES):
            row += "\n" + lines[end]
            end += 1
        if row.count('"') % 2:
            end, row = at + 1, lines[at]
        if row.strip():
            try:
                yield at + 1, next(csv.reader([row], delimiter=separator), [])
            except csv.Error:
                yield at + 1, [row]
        at = end


def lines_of(text: str) -> list[str]:
    """The lines of a text. Unlike str.splitlines, a separator inside a name ends none."""
    return re.split(r"\r\n|\r|\n", text)


@dataclass(slots=True)
class _Image:
    """What the rows of an image hold."""

    filename: str
    size: str
    attributes: object
    stated: str
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
            message = f"{image.stated} regions are stated, and the file has {image.rows}"
            remedy = "see that no row was lost, export the file again from VIA"
            problems.append(Problem("warning", message, remedy, file, image.filename))
        if image.renumbered:
            message = f"{image.renumbered} regions have no number of their own: they got the next"
            remedy = "number the regions of an image from 0"
            problems.append(Problem("warning", message, remedy, file, image.filename))
    entries = {
        key: {
            "filename": image.filename,
            "size": image.size,
            "file_attributes": image.attributes,
            "regions": image.regions,
        }
        for key, image in images.items()
    }
    records = read_images(file, entries, problems)
    return Annotations(file, container, records, {}, {}, problems=tuple(problems))


def _images(document: Document, problems: list[Problem]) -> dict[str, _Image]:
    lines = lines_of(document.text)
    start = next(at for at, line in enumerate(lines) if line.strip())
    separator = _separator(document.file, lines[start])
    images: dict[str, _Image] = {}
    for number, cells in rows_of(lines[start + 1 :], separator):
        line = start + 1 + number
        if len(cells) < len(_COLUMNS):
            message = f"line {line} has {len(cells)} cells, expected {len(_COLUMNS)}"
            remedy = "mend the line, or export the file again from VIA"
            problems.append(Problem("error", message, remedy, document.file))
            continue
        # VIA does not quote the name, so that its commas make more cells.
        *name, size, attributes, stated, region, shape, values = cells
        filename, size = separator.join(name).strip(), size.strip()
        image = images.get(filename + size)
        if image is None:
            data = _json(attributes, "file_attributes")
            image = images[filename + size] = _Image(filename, size, {}, stated.strip())
            if isinstance(data, Problem):
                problems.append(_at(data, document.file, filename, None, line))
            else:
                image.attributes = data
        image_problems = _add_region(image, stated, region, shape, values)
        problems += [
            _at(each, document.file, filename, each.region, line) for each in image_problems
        ]
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


def _add_region(image: _Image, stated: str, region: str, shape: str, values: str) -> list[Problem]:
    """Add the region of a row to its image; a row of an image without regions adds none."""
    shape_data, value_data = (
        _json(cell, column) for cell, column in ((shape, _COLUMNS[5]), (values, _COLUMNS[6]))
    )
    if stated.strip() in ("0", "") and shape_data == {}:
        return []
    image.rows += 1
    number = region.strip()
    if not is_index(number) or number in image.regions:
        image.renumbered += 1
        number = str(max(map(int, image.regions), default=-1) + 1)
    problems = []
    for data in (shape_data, value_data):
        if isinstance(data, Problem):
            problems.append(_at(data, "", image.filename, int(number), None))
    if not isinstance(shape_data, Problem) and not isinstance(value_data, Problem):
        image.regions[number] = {
            "shape_attributes": shape_data,
            "region_attributes": value_data,
        }
    return problems


def _json(cell: str, column: str) -> object:
    """The JSON value of a cell; an empty object for an empty one; a problem for anything else."""
    if not cell.strip():
        return {}
    try:
        return json.loads(cell)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        message = f"{column} is not JSON ({reason}): {cell[:60]}"
        return Problem("error", message, "mend the cell, or read VIA's JSON of the same set", "")


def _at(problem: Problem, file: str, image: str, region: int | None, line: int | None) -> Problem:
    message = problem.message if line is None else f"{problem.message} (line {line})"
    return Problem(problem.severity, message, problem.remedy, file, image, region)
