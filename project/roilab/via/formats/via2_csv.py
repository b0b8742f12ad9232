"""The CSV files of VIA 1 and 2: a row for each region, whose cells hold VIA's JSON objects."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from roilab.errors import UserError
from roilab.text import counted
from roilab.via import records
from roilab.via.formats import via2_json
from roilab.via.formats.source import REMEDY_OF_REPEATED, SourceFile, load_json

_FILE_ATTRIBUTES = "file_attributes"
_SHAPE_ATTRIBUTES = "region_shape_attributes"
_REGION_ATTRIBUTES = "region_attributes"
COLUMNS = (
    "filename",
    "file_size",
    _FILE_ATTRIBUTES,
    "region_count",
    "region_id",
    _SHAPE_ATTRIBUTES,
    _REGION_ATTRIBUTES,
)
# Excel writes the separator of the country: a comma, a semicolon or a tab.
_SEPARATORS = ",;\t"
_HEADER = re.compile(rf'\s*"?(#?)filename"?\s*[{_SEPARATORS}]')
# A quoted cell may run over lines. One that never ends must not swallow the rest of the file.
_MOST_LINES = 100


def detect(source: SourceFile) -> records.Container | None:
    """The kind of a CSV by its header, which in VIA 1 begins with a #."""
    header = _HEADER.match(source.text)
    if header is None:
        return None
    return records.Container.VIA1_CSV if header[1] else records.Container.VIA2_CSV


@contextmanager
def long_cells() -> Iterator[None]:
    """Let the csv module read cells of any length: an outline can have 100,000 characters."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def nonempty_rows(
    lines: list[str], separator: str, columns: int
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, of so many columns or more, with the number of their first line.

    A cell may run over lines; but VIA does not quote file names, and where a line with an odd
    number of quotes is a row by itself (`5".jpg`), or no row with those that follow, it is read
    alone.
    """

    def cells(text: str, *, strict: bool) -> list[str]:
        # Where the csv module finds no cells, the text is the only one.
        try:
            return next(csv.reader([text], delimiter=separator, strict=strict), [])
        except csv.Error:
            return [text]

    at = 0
    while at < len(lines):
        row = lines[at]
        end = at + 1
        read = cells(row, strict=False)
        if row.count('"') % 2 and len(cells(row, strict=True)) < columns:
            while row.count('"') % 2 and end < min(len(lines), at + _MOST_LINES):
                row += "\n" + lines[end]
                end += 1
            joined = cells(row, strict=True)
            if len(joined) >= columns:
                read = joined
            else:
                end = at + 1
        if lines[at].strip():
            yield at + 1, read
        at = end


def lines_of(text: str) -> list[str]:
    """The lines of a text. Unlike str.splitlines, a separator inside a name ends none."""
    return re.split(r"\r\n|\r|\n", text)


@dataclass(slots=True)
class _ImageRows:
    """The rows of an image.

    Attributes:
        cell, attributes: the file attributes of its first row, as text and as data.
        stated: how many regions the first row states.
        differing: the lines that have other file attributes.
        count: how many rows are regions, also those that are refused.
        renumbered: how many of them have no number of their own.
        regions: index -> shape and attributes, as JSON data.
    """

    filename: str
    size: str
    cell: str
    attributes: object
    stated: str
    differing: list[int] = field(default_factory=list)
    count: int = 0
    renumbered: int = 0
    regions: dict[int, tuple[object, object]] = field(default_factory=dict)


def parse(source: SourceFile, container: records.Container) -> records.Annotations:
    """Read the CSV of VIA 1 or 2."""
    problems: list[records.Problem] = []
    with long_cells():
        by_name = _rows_by_image(source, problems)
    images: dict[str, records.ImageRecord | None] = {}
    for rows in by_name.values():
        key = records.image_key(rows.filename, rows.size, images)
        reporter = records.Reporter(problems, source.file, rows.filename)
        _warn_of_rows(rows, reporter)
        regions = (
            via2_json.read_region(index, *cells, reporter) for index, cells in rows.regions.items()
        )
        size = via2_json.size_of(rows.size)
        images[key] = via2_json.build_image(key, size, regions, [rows.attributes], reporter)
    usable = tuple(filter(None, images.values()))
    return records.Annotations(source.file, container, usable, {}, {}, problems=tuple(problems))


def _warn_of_rows(rows: _ImageRows, reporter: records.Reporter) -> None:
    """Warn where the rows of an image contradict each other."""
    if via2_json.is_index(rows.stated) and int(rows.stated) != rows.count:
        message = f"the file has {counted(rows.count, 'region')}, and states {rows.stated}"
        remedy = "see that no row was lost, export the file again from VIA"
        reporter.report("warning", message, remedy)
    if rows.renumbered:
        count = counted(rows.renumbered, "region has", "regions have")
        message = f"{count} no number of their own and got the next"
        reporter.report("warning", message, "number the regions of an image from 0")
    if rows.differing:
        count = counted(len(rows.differing), "row has", "rows have")
        message = (
            f"{count} other file_attributes than the image's first, which are not read; "
            f"line {rows.differing[0]} is the first"
        )
        remedy = "give all rows of an image the same file_attributes"
        reporter.report("warning", message, remedy)


def _rows_by_image(
    source: SourceFile, problems: list[records.Problem]
) -> dict[tuple[str, str], _ImageRows]:
    """The rows under the name and the size of their image, in the order of the file."""
    lines = lines_of(source.text)
    start = next(at for at, line in enumerate(lines) if line.strip())
    separator = _separator(source.file, lines[start])
    images: dict[tuple[str, str], _ImageRows] = {}
    for number, cells in nonempty_rows(lines[start + 1 :], separator, len(COLUMNS)):
        line = start + 1 + number
        if len(cells) < len(COLUMNS):
            message = f"line {line} has {len(cells)} cells, expected {len(COLUMNS)}"
            remedy = "correct the line, or export the file again from VIA"
            records.Reporter(problems, source.file).error(message, remedy)
            continue
        # VIA does not quote the name, so that its commas make more cells.
        *name, size, attributes, stated, index, shape, values = cells
        key = separator.join(name).strip(), size.strip()
        reporter = records.Reporter(problems, source.file, key[0], suffix=f" (line {line})")
        image = images.get(key)
        # The rows of an image repeat its attributes: the same text is parsed once.
        if image is None or attributes != image.cell:
            data = _json(attributes, _FILE_ATTRIBUTES, reporter)
            if image is None:
                image = images[key] = _ImageRows(*key, attributes, data, stated.strip())
            elif data not in (None, {}, image.attributes):
                image.differing.append(line)

        is_numbered = via2_json.is_index(index.strip()) and int(index) not in image.regions
        region = int(index) if is_numbered else max(image.regions, default=-1) + 1
        shape_data = _json(shape, _SHAPE_ATTRIBUTES, reporter, region)
        # The row of an image without regions has an empty shape.
        is_region = stated.strip() not in ("0", "") or shape_data != {}
        place = region if is_region else None
        value_data = _json(values, _REGION_ATTRIBUTES, reporter, place)
        image.count += is_region
        image.renumbered += is_region and not is_numbered
        if is_region and shape_data is not None and value_data is not None:
            image.regions[region] = (shape_data, value_data)
    return images


def _separator(file: str, header: str) -> str:
    for separator in _SEPARATORS:
        cells = next(csv.reader([header], delimiter=separator), [])
        if [cell.strip().lstrip("#") for cell in cells] == list(COLUMNS):
            return separator
    raise UserError(
        "the columns of the CSV are not those of VIA",
        file=file,
        key="line 1",
        found=header.strip(),
        expected=",".join(COLUMNS),
        remedy="export the file again from VIA",
    )


def _json(cell: str, column: str, reporter: records.Reporter, region: int | None = None) -> object:
    """The JSON value of a cell; an empty object for an empty one; None, and a problem, for none."""
    if not cell.strip():
        return {}
    try:
        data, repeated = load_json(cell)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        message = f"{column} is not JSON ({reason}): {cell[:60]}"
        remedy = "correct the cell, or read VIA's JSON of the same set"
        if cell.lstrip().startswith("{'"):
            remedy = "it is Python's notation: write the cell with json.dumps, not with str"
        reporter.error(message, remedy, region)
        return None
    for key in repeated:
        message = str(replace(key, path=(column, *key.path)))
        # The keys at the top of the other two columns are names of attributes.
        attribute = None if column == _SHAPE_ATTRIBUTES else str((*key.path, key.key)[0])
        reporter.error(message, REMEDY_OF_REPEATED, region, attribute)
    return {} if data is None else data
