"""A config file in Python: a leaf of a base, each value with its reason as a comment."""

import re
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

import black

from roilab.engine import config
from roilab.engine.config_keys import escaped
from roilab.errors import UserError
from roilab.escaping import one_line
from roilab.files import write_whole
from roilab.suggest.draft import Draft

_WIDTH = 100
_NAME = re.compile(r"[A-Za-z_]\w*")


def config_text(draft: Draft, title: str, remarks: Sequence[str]) -> str:
    """The config of a draft as Python.

    Args:
        title, remarks: the first line and the paragraphs of its docstring.
    """
    paragraphs = [_wrapped(one_line(text), "") for text in remarks]
    docstring = "\n\n".join([_wrapped(one_line(title), ""), *paragraphs])
    lines = [
        f'"""{_in_docstring(docstring)}\n"""',
        "from roilab.engine.config import base_config",
        *_base_lines(draft),
    ]
    for part in draft.parts:
        if part.reason:
            lines.append("\n" + _wrapped(one_line(part.reason), "# "))
        lines += [f"{_place(key)} = {escaped(value)!r}" for key, value in part.values.items()]
    return black.format_str("\n".join(lines), mode=black.Mode(line_length=_WIDTH))


def write_config(text: str, path: Path) -> None:
    """Write a config file, once it loads.

    Raises:
        UserError: it cannot be written, or it contradicts itself, as by what the user asked for.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "config.py"
        trial.write_text(text, encoding="utf-8")
        try:
            config.load_config(trial)
        except UserError as error:
            raise error.replace(file=None if error.file == trial else error.file) from error
    write_whole(path, text)


def _base_lines(draft: Draft) -> list[str]:
    names = sorted(str(name) for name in draft.cfg if _NAME.fullmatch(str(name)))
    lines = []
    argument = f"base_config({draft.base!r})"
    if draft.asked:
        overrides = "".join(f"    {text!r},\n" for text in draft.asked)
        lines.append(f"\n# As you asked.\n_asked = [\n{overrides}]")
        argument = f"base_config({draft.base!r}, _asked)"
    lines.append(f"\n_base = {argument}")
    for at in range(0, len(names), 3):
        some = names[at : at + 3]
        lines.append(f"{', '.join(some)} = {', '.join(f'_base.{name}' for name in some)}")
    return lines


def _place(key: str) -> str:
    """A dotted key as Python writes it: `dataloader.train.augmentations[0].max_size`."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", key)


def _wrapped(text: str, before: str) -> str:
    """A paragraph in lines, each after a sign of a comment; long words stay whole."""
    return textwrap.fill(
        text,
        _WIDTH - 1,
        initial_indent=before,
        subsequent_indent=before,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _in_docstring(text: str) -> str:
    """A text between three quotation marks, with none of its signs read as Python's."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
