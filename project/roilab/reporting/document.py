"""Documents of sections: as Markdown, as LaTeX tables, and as one HTML page that stands alone.

The page needs no network and no script. All text is escaped for the format that it is written in.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from tabulate import tabulate

from roilab.errors import UserError
from roilab.escaping import escape_markdown, markdown_cell, one_line, printable
from roilab.files import write_whole

Cell = str | float | None
_PLOTS, _PICTURES = "plots", "pictures"  # folders beside the Markdown


@dataclass(frozen=True)
class Table:
    """A table. None is a dash, whole numbers have separators of thousands, others one decimal.

    Attributes:
        look: in HTML, where the first column holds names: "heat" tints counts by their share of
            the largest; "bars" draws up to three counts a row as the parts of a bar; "facts"
            shows one number a row in large type.
        folded: a line in place of the table, which opens it in HTML; empty: it is open.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    look: Literal["table", "heat", "bars", "facts"] = "table"
    folded: str = ""

    @property
    def largest(self) -> float:
        """The largest count, or of bars the largest sum of the counts of a row; or 1."""
        counts = [[cell for cell in row[1:] if isinstance(cell, int | float)] for row in self.rows]
        combine = sum if self.look == "bars" else max
        return max((combine(row) for row in counts if row), default=0) or 1

    @property
    def sides(self) -> list[str]:
        """The side that each column is aligned to: "right" for numbers."""
        columns = [[number(row[index]) for row in self.rows] for index in range(len(self.head))]
        return [
            "right" if all(re.match(r"[-+]?\d|-?$", cell) for cell in column) else "left"
            for column in columns
        ]


@dataclass(frozen=True)
class Plot:
    """A plot as SVG text; `name` is its file's, without the suffix."""

    name: str
    svg: str


@dataclass(frozen=True)
class Picture:
    """A JPEG file with its caption; `alt` describes it where the caption does not."""

    name: str
    jpeg: bytes
    caption: str
    alt: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, if any, paragraphs with code between `marks`, and tables, plots and pictures."""

    title: str
    text: str | Sequence[str] = ()
    parts: Sequence[Table | Plot | Picture] = ()

    @property
    def paragraphs(self) -> Sequence[str]:
        """The paragraphs that hold text."""
        text = [self.text] if isinstance(self.text, str) else self.text
        return [paragraph for paragraph in text if paragraph]


def to_html(title: str, sections: Sequence[Section]) -> str:
    """A whole page with its plots and pictures inside, which can be written as UTF-8."""
    page = _environment().get_template("page.html.jinja").render(title=title, sections=sections)
    # A name from a file may hold half of an emoji, or turn the direction of the text.
    return printable(page)


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Markdown with links to the plots and pictures where `write_attachments` writes them."""
    blocks = [f"# {escape_markdown(title)}"]
    for section in sections:
        if section.title:
            blocks.append(f"## {escape_markdown(section.title)}")
        blocks += map(_markdown_paragraph, section.paragraphs)
        for part in section.parts:
            if isinstance(part, Plot):
                blocks.append(f"![{part.name}]({_PLOTS}/{part.name}.svg)")
            elif isinstance(part, Picture):
                blocks.append(f"![{part.name}]({_PICTURES}/{part.name}.jpg)")
                blocks.append(escape_markdown(part.caption))
            elif part.rows:
                blocks.append(markdown_table(part, "pipe"))
    return "\n\n".join(blocks) + "\n"


def to_latex(sections: Sequence[Section]) -> str:
    """The tables alone, for the booktabs package."""
    tables = []
    for section in sections:
        for part in section.parts:
            if isinstance(part, Table) and part.rows:
                rows = [[one_line(number(cell)) for cell in row] for row in (part.head, *part.rows)]
                text = tabulate(rows, "firstrow", "latex_booktabs", disable_numparse=True)
                tables.append(f"% {one_line(section.title)}\n" + text.replace("±", r"$\pm$"))
    return "\n\n".join(tables) + "\n"


def write_attachments(folder: Path, sections: Sequence[Section]) -> None:
    """Write the plots and pictures of the Markdown into folders that hold nothing else afterwards.

    Raises:
        UserError: one of the folders is a link, whose files elsewhere would be deleted.
    """
    parts = [part for section in sections for part in section.parts]
    plots = {f"{part.name}.svg": part.svg.encode() for part in parts if isinstance(part, Plot)}
    pictures = {f"{part.name}.jpg": part.jpeg for part in parts if isinstance(part, Picture)}
    for name, files in ((_PLOTS, plots), (_PICTURES, pictures)):
        place = folder / name
        if place.is_symlink():
            message = "the folder of the report is a link"
            raise UserError(message, file=place, remedy="delete the link")
        place.mkdir(parents=True, exist_ok=True)
        for path in place.iterdir():
            if path.name not in files:
                path.unlink()
        for file, content in files.items():
            write_whole(place / file, content)


def markdown_table(table: Table, style: str) -> str:
    """A Markdown table whose columns of numbers are aligned to the right.

    Of tabulate's styles, "pipe" is for a renderer, and "github" reads better in a terminal.
    """
    cells = [map(number, row) for row in table.rows]
    rows = [[cell if cell == "-" else markdown_cell(cell) for cell in row] for row in cells]
    head = list(map(markdown_cell, table.head))
    sides = table.sides if rows else None
    return tabulate(rows, head, tablefmt=style, disable_numparse=True, colalign=sides)


def number(value: Cell) -> str:
    """The text of a table's cell."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def decimal(value: float | None, digits: int = 1, scale: float = 1) -> str:
    """The text of a scaled number with these digits after the point; None is a dash."""
    return "-" if value is None else f"{scale * value:.{digits}f}"


def _markdown_paragraph(paragraph: str) -> str:
    """A paragraph in which code marks are the only markup."""
    parts = re.split(r"(`[^`]*`)", paragraph)
    parts[::2] = map(escape_markdown, parts[::2])
    parts[1::2] = map(one_line, parts[1::2])
    return "".join(parts)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number,
        "code_marks": lambda text: Markup(
            re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text)))
        ),
        "base64": lambda picture: base64.b64encode(picture.jpeg).decode("ascii"),
        # Without what stands before the root element in a file.
        "inline_svg": lambda plot: Markup(plot.svg[max(0, plot.svg.find("<svg")) :].strip()),
    }
    return environment
