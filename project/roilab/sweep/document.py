"""A document of sections as Markdown, and as one HTML page that stands alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tabulate import tabulate

from roilab import escaping, html_page
from roilab.errors import UserError
from roilab.files import write_whole


@dataclass(frozen=True)
class Section:
    """A heading, and what is below it in this order; what is empty is left out.

    Attributes:
        text: paragraphs, in which code stands between `marks`.
        head, rows: a table of text.
        plots: SVG files by name, without the suffix.
        pictures: JPEG files and their captions by name, without the suffix.
    """

    title: str
    text: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    plots: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)


def markdown(title: str, sections: Sequence[Section]) -> str:
    """With plots and pictures as links to where `write_files` leaves them."""
    parts = [f"# {escaping.escape_markdown(title)}"]
    for section in sections:
        if section.title:
            parts.append(f"## {escaping.escape_markdown(section.title)}")
        parts += map(_escaped, section.text)
        if section.rows:
            parts.append(_table(section))
        parts += [f"![{name}](plots/{name}.svg)" for name in section.plots]
        for name, (_, caption) in section.pictures.items():
            parts += [f"![{name}](pictures/{name}.jpg)", escaping.escape_markdown(caption)]
    return "\n\n".join(parts) + "\n"


def document_page(title: str, sections: Sequence[Section]) -> str:
    """With plots and pictures in it."""
    parts = []
    for section in sections:
        if section.title:
            parts.append(f"<h2>{escape(section.title)}</h2>")
        parts += [f"<p>{_marked(paragraph)}</p>" for paragraph in section.text]
        if section.rows:
            parts.append(html_page.html_table(section.head, section.rows))
        parts += [html_page.svg(plot) for plot in section.plots.values()]
        for jpeg, caption in section.pictures.values():
            shown = html_page.image(jpeg, caption)
            parts.append(f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>")
    return html_page.document(title, parts)


def _escaped(paragraph: str) -> str:
    """A paragraph as Markdown: its code marks are markup, and nothing else in it."""
    parts = re.split(r"(`[^`]*`)", paragraph)
    return "".join(
        escaping.one_line(part) if at % 2 else escaping.escape_markdown(part)
        for at, part in enumerate(parts)
    )


def _marked(paragraph: str) -> str:
    """Markdown's code marks as HTML's."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(paragraph))


def latex(sections: Sequence[Section]) -> str:
    """The tables alone, for the booktabs package."""
    parts = []
    for section in sections:
        if section.rows:
            lines = [
                " & ".join(map(escaping.escape_latex, row)) for row in (section.head, *section.rows)
            ]
            head, *rows = (f"{line} \\\\" for line in lines)
            body = (r"\toprule", head, r"\midrule", *rows, r"\bottomrule")
            columns = "l" * len(section.head)
            table = (rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}")
            parts.append("\n".join([f"% {escaping.escape_latex(section.title)}", *table]))
    return "\n\n".join(parts) + "\n"


def write_files(folder: Path, sections: Sequence[Section]) -> None:
    """The plots and pictures of the Markdown, in folders that hold nothing else afterwards."""
    plots = {f"{name}.svg": plot.encode() for each in sections for name, plot in each.plots.items()}
    pictures = {
        f"{name}.jpg": jpeg for each in sections for name, (jpeg, _) in each.pictures.items()
    }
    for place, files in (("plots", plots), ("pictures", pictures)):
        if (folder / place).is_symlink():  # what is elsewhere is not to be deleted
            raise UserError(
                "the folder of the report is a link", file=folder / place, remedy="delete the link"
            )
        (folder / place).mkdir(parents=True, exist_ok=True)
        for path in (folder / place).iterdir():
            if path.name not in files:
                path.unlink()
        for name, content in files.items():
            write_whole(folder / place / name, content)


def _table(section: Section) -> str:
    rows = [list(map(_cell, row)) for row in section.rows]
    head = list(map(_cell, section.head))
    sides = ["right" if _is_numeric(column) else "left" for column in zip(*rows, strict=True)]
    return tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=sides)


def _cell(text: str) -> str:
    return text if _is_numeric([text]) else escaping.markdown_cell(text)


def _is_numeric(column: Sequence[str]) -> bool:
    return all(re.match(r"[-+]?\d|-?$", cell) for cell in column)
