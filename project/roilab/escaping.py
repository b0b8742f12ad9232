"""Escaping of names from files, so that terminals, tables and pages show them and obey nothing.

One function for each kind of place; jinja2 escapes HTML, and tabulate LaTeX. Files that are read
back (VIA, COCO, predictions) are not escaped: they keep every name to the byte.
"""

import re

# Control characters of terminals, marks that turn the direction of the text after them, and halves
# of surrogate pairs. Joiners stay, since names of many scripts and emoji have them.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE = re.compile("[\t\n]")
_MARKDOWN = re.compile(
    r"[\\`*\[\]<>~$]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)"
    r"|^[#+=-](?=[\s#=-]|$)|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)"
)
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def printable(text: str) -> str:
    """Text with control characters other than line breaks and tabs as codes: `\\x1b`."""
    return _CONTROL.sub(_code, text)


def one_line(text: str) -> str:
    """Text with all control characters as codes, also line breaks and tabs: `\\n`."""
    return _LINE.sub(_code, printable(text))


def escape_markdown(text: str) -> str:
    """Text without markup of Markdown, for a heading or a part of a paragraph."""
    return _MARKDOWN.sub(lambda match: f"\\{match[0]}", one_line(text))


def markdown_cell(text: str) -> str:
    """Text without markup of Markdown, for a cell of a table, which a bar would end."""
    return escape_markdown(text).replace("|", r"\|")


def escape_streamlit(text: str) -> str:
    """Text on one line without markup of Streamlit, which has more of it than Markdown."""
    return _PUNCTUATION.sub(r"\\\1", printable(" ".join(text.split())))


def csv_cell(text: str) -> str:
    """Text that spreadsheets do not evaluate as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _code(match: re.Match[str]) -> str:
    """A control character as Python writes it: `\\x1b`, `\\u202e`, `\\n`."""
    return repr(match[0])[1:-1]
