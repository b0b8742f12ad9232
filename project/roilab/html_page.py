"""Parts of HTML pages that stand alone: no network, no script; what is given is escaped."""

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape

from roilab.escaping import printable

STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --dim: #66727f; --ground: #ffffff;
        --line: #d9dfe5; --a: #2f6fb3; --b: #e08a1e; --c: #b8c2cc; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf0; --dim: #97a3af; --ground: #14191f; --line: #323c46;
          --a: #5b9bdf; --b: #eba04a; --c: #4a5560; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
h1, h2, p, figcaption { overflow-wrap: anywhere; }
p, figcaption { color: var(--dim); margin: .2rem 0 .8rem; }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1.2rem 0; }
.facts b { display: block; font-size: 1.6rem; font-weight: 600; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; }
.bars { display: grid; grid-template-columns: minmax(5rem, max-content) 1fr max-content;
        gap: .25rem .8rem; align-items: center; }
.bar { display: flex; height: 1.05rem; }
.bar i { display: block; } .bars span:nth-child(3n) { text-align: right; color: var(--dim); }
.a { background: var(--a); } .b { background: var(--b); } .c { background: var(--c); }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem; }
.wide { overflow-x: auto; }
figure { margin: 1rem 0; }
img, svg { max-width: 100%; height: auto; color: var(--ink); }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page, which can be written as UTF-8.

    Args:
        title: of the window, and the heading of the page.
        parts: HTML below the heading.
    """
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )
    # A name from a file may hold what is no character, such as half of an emoji, or turns the text.
    return printable(text)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """A table: None is a dash, whole numbers are grouped by thousands, others have one decimal."""
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(each)}</td>' for each in row)}</tr>\n" for row in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>\n{body}</table></div>'


def heat_map(corner: str, head: Sequence[str], rows: Iterable[tuple[str, Sequence[int]]]) -> str:
    """A table of counts, each tinted by its share of the largest.

    Args:
        corner: says what rows and columns are.
        head: names of the columns.
        rows: a name and its counts.
    """
    rows = list(rows)
    most = max((count for _, counts in rows for count in counts), default=0) or 1

    def cell(count: int) -> str:
        share = f"color-mix(in srgb, var(--a) {60 * count / most:.0f}%, transparent)"
        return f'<td style="background:{share}">{count:,}</td>'

    top = "".join(f"<th>{escape(name)}</th>" for name in (corner, *head))
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(map(cell, counts))}</tr>\n" for name, counts in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>\n{body}</table></div>'


def image(jpeg: bytes, alt: str) -> str:
    """A picture within the page; `alt` says what is in it."""
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}">'


def svg(figure_svg: str) -> str:
    """An SVG file's text as a part of a page: without what stands before its root element."""
    root = re.search(r"<svg\b", figure_svg)
    return figure_svg[root.start() if root else 0 :].strip()


def _cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return escape(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
