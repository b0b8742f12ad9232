"""A VIA file of any supported kind -> `Annotations`."""

import json
from collections.abc import Mapping
from pathlib import Path

from roilab.errors import UserError
from roilab.via.containers import FORMATS, Document, find_format
from roilab.via.records import Annotations


def read(path: str | Path) -> Annotations:
    """Read a VIA 1 JSON, a VIA 2 JSON or a VIA 2 project, told apart by content, never by name.

    Regions that cannot be used are left out, each with an error among the result's `problems`.
    White space around values and file names is removed, numbers become text, a checkbox becomes the
    ids that are ticked, and the vertex that closes a polygon is dropped.

    Raises:
        UserError: the file cannot be read, is not JSON, or is none of the known containers.
    """
    document = _load(Path(path))
    format = find_format(document)
    if format is None:
        raise UserError(
            "not a VIA file of a kind that can be read",
            file=path,
            found=_looks_like(document),
            expected=" or ".join(format.container for format in FORMATS),
            remedy="in VIA 2, save the project, or export the annotations as JSON",
        )
    return format.parse(document)


def _load(path: Path) -> Document:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            "cannot read the annotation file", file=path, found=error.strerror or error
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            "the annotation file is not UTF-8 text",
            file=path,
            found=f"the byte 0x{error.object[error.start]:02x} at position {error.start}",
            expected="a JSON file as VIA saves it",
        ) from error
    if not text.lstrip().startswith(("{", "[")):
        return Document(str(path), text, None)
    try:
        return Document(str(path), text, json.loads(text))
    except json.JSONDecodeError as error:
        raise UserError(
            "the annotation file is not valid JSON",
            file=path,
            found=f"{error.msg} at line {error.lineno}, column {error.colno}",
            remedy="save it again from VIA, or mend the line by hand",
        ) from error
    except (RecursionError, ValueError) as error:
        raise UserError("the annotation file is not usable JSON", file=path, found=error) from error


def _looks_like(document: Document) -> str:
    """What a document that nothing recognises seems to be, for the message."""
    if document.data is None:
        return _text_looks_like(document.text)
    if isinstance(document.data, list):
        return "a JSON list, perhaps COCO results"
    top = document.top
    if not top:
        return "an empty JSON object"
    if "images" in top and "annotations" in top:
        info = top.get("info")
        by_via = isinstance(info, Mapping) and "VIA" in str(info.get("description"))
        return "a COCO file exported by VIA" if by_via else "a COCO file"
    if {"project", "file", "metadata"} <= set(top):
        return "a VIA 3 project"
    if set(top) <= {"region", "file"}:
        return "a VIA attributes file, which holds no annotations"
    return f"a JSON object with the keys {', '.join(map(repr, list(top)[:5]))}"


def _text_looks_like(text: str) -> str:
    if not text.strip():
        return "an empty file"
    first = text.lstrip().splitlines()[0]
    if first.startswith("# Exported using VGG Image Annotator"):
        return "a VIA 3 CSV"
    if first.lstrip("#").startswith("filename,"):
        return f"a VIA {1 if first.startswith('#') else 2} CSV"
    return "a CSV" if first.count(",") >= 2 else "text that is not JSON"
