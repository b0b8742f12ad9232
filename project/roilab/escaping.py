"""Text of files as it is shown to people: a name does nothing but stand there.

What people open is escaped, by one function for each kind of place; HTML by `html.escape`. Files
that are read back (VIA, COCO, predictions) are not: they keep every name to the byte.
"""

import re

# What a terminal obeys, what turns the direction of the text after it, and what is no character.
# A joiner is left, since names of many scripts and emoji have it.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE = re.compile("[\t\n]")
_MARKDOWN = re.compile(
    r"[\\`*\[\]<>~$]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)"
    r"|^[#+=-](?=[\s#=-]|$)|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)"
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    **{each: f"\\{each}" for each in "{}&%$#_"},
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def printable(text: str) -> str:
    """Text without control characters, but for line breaks and tabs: they are seen as `\\x1b`."""
    return _CONTROL.sub(_code, text)


def one_line(text: str) -> str:
    """The same, in which line breaks and tabs are seen as well: `\\n`."""
    return _LINE.sub(lambda found: repr(found[0])[1:-1], printable(text))


def escape_markdown(text: str) -> str:
    """Text in which Markdown finds no markup, for a heading or a part of a paragraph."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", one_line(text))


def markdown_cell(text: str) -> str:
    """The same for a cell of a table, which a bar would end."""
    return escape_markdown(text).replace("|", r"\|")


def escape_latex(text: str) -> str:
    """Text in which LaTeX finds no command."""
    return "".join(_LATEX.get(char, char) for char in one_line(text))


def csv_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _code(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
