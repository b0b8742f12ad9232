"""A VIA file of any kind -> `Annotations`."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from roilab.errors import UserError
from roilab.files import read_bytes
from roilab.via.format_detection import FORMATS, find_format
from roilab.via.gc_pause import collector_paused
from roilab.via.raise_on_errors import refuse_errors
from roilab.via.records import Annotations, Problem
from roilab.via.source_file import Document, RingsOfRle
from roilab.via.strict_json import REMEDY_OF_REPEATED, Repeated, load_json


def read(
    path: str | Path,
    *,
    strict: bool = False,
    rings_of_rle: RingsOfRle | None = None,
    keypoints_as_points: bool = True,
) -> Annotations:
    """Read a file of any kind of `Container`, recognised by content, never by name.

    Regions that cannot be used are left out, each with an error among the result's `problems`.
    White space around values and file names is removed, numbers become text, a checkbox becomes the
    ids that are ticked, and the vertex that closes a polygon is dropped.

    Args:
        strict: an error among the problems is raised.
        rings_of_rle: what makes polygons of COCO's run-length encoded masks; without it, an
            annotation that has such a mask is left out, which is an error.
        keypoints_as_points: whether keypoints of a COCO annotation that has an outline or a box
            become regions of their own, which takes time; `label` does not need them.

    Raises:
        UserError: the file cannot be read or is none of the known containers; or it has errors and
            is read strictly.
    """
    with collector_paused():
        document = _load(Path(path), rings_of_rle, keypoints_as_points)
        repeated = [_at(document.file, document.data, each) for each in document.repeated]
        format = find_format(document)
        if format is None:
            raise _unknown(document)
        annotations = format.parse(document)
    annotations = replace(annotations, problems=(*repeated, *annotations.problems))
    if strict:
        refuse_errors(annotations.problems)
    return annotations


def _load(path: Path, rings_of_rle: RingsOfRle | None, keypoints_as_points: bool) -> Document:
    content = read_bytes(
        path,
        what="the annotation file",
        remedy="see that the path is right, and that it is a file that you may read",
    )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            "the annotation file is not UTF-8 text",
            file=path,
            found=f"the byte 0x{error.object[error.start]:02x} at position {error.start}",
            expected="a file as VIA saves it",
            remedy="save it as UTF-8 where another program wrote it",
        ) from error
    if not text.lstrip().startswith(("{", "[")):
        return Document(str(path), text, None)
    try:
        data, repeated = load_json(text)
    except json.JSONDecodeError as error:
        raise UserError(
            "the annotation file is not valid JSON",
            file=path,
            found=f"{error.msg} at line {error.lineno}, column {error.colno}",
            remedy="save it again from VIA, or mend the line by hand",
        ) from error
    except (RecursionError, ValueError) as error:
        raise UserError(
            "the annotation file is not usable JSON",
            file=path,
            found=error,
            remedy="save it again from VIA",
        ) from error
    return Document(str(path), "", data, repeated, rings_of_rle, keypoints_as_points)


def _at(file: str, data: object, repeated: Repeated) -> Problem:
    """The problem of a repeated key, with the image, region and attribute where it is in one."""
    image: str | None = None
    region: int | None = None
    attribute: str | None = None
    value = data
    before: str | int = ""
    for step in (*repeated.path, repeated.key):
        if before == "regions" and isinstance(step, int):
            region = step
        elif before in ("region_attributes", "file_attributes"):
            attribute = str(step)
        value = value[step]  # type: ignore[index]
        name = value.get("filename") if isinstance(value, Mapping) else None
        image = name.strip() if isinstance(name, str) else image
        before = step
    return Problem(
        severity="error",
        message=f"{repeated}; only the last is read",
        remedy=REMEDY_OF_REPEATED,
        file=file,
        image=image,
        region=region,
        attribute=attribute,
    )


def _unknown(document: Document) -> UserError:
    if document.top and set(document.top) <= {"region", "file"}:
        return UserError(
            "a VIA attributes file: it declares attributes and holds no annotations",
            file=document.file,
            remedy="in VIA, save the project, which holds both, or export the annotations",
        )
    if _are_results(document.data):
        return UserError(
            "COCO results: they name no images and no classes",
            file=document.file,
            remedy="give the COCO file that they belong to, with them as its 'annotations'",
        )
    if isinstance(document.top.get("images"), list) and "annotations" not in document.top:
        return UserError(
            "a COCO file without annotations",
            file=document.file,
            found=f"the keys {', '.join(map(repr, list(document.top)[:5]))}",
            remedy="give the file that has them, or write 'annotations' as an empty list",
        )
    return UserError(
        "not a file of a kind that can be read",
        file=document.file,
        found=_looks_like(document),
        expected=", ".join(format.container for format in FORMATS),
        remedy="in VIA, save the project, or export the annotations as JSON or CSV",
    )


def _are_results(data: object) -> bool:
    return isinstance(data, list) and any(
        isinstance(each, Mapping) and {"image_id", "category_id"} <= each.keys() for each in data
    )


def _looks_like(document: Document) -> str:
    """A guess at the kind of a document that no reader recognises, for the message."""
    if document.data is None:
        if not document.text.strip():
            return "an empty file"
        first = document.text.lstrip().splitlines()[0]
        return "a CSV of another program" if first.count(",") >= 2 else "text that is not JSON"
    if isinstance(document.data, list):
        return "a JSON list, not of image entries"
    if not document.top:
        return "an empty JSON object"
    return f"a JSON object with the keys {', '.join(map(repr, list(document.top)[:5]))}"
