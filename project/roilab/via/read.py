"""An annotation file of any format -> `Annotations`. The format is detected by content."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from roilab.errors import UserError
from roilab.files import read_bytes
from roilab.text import first_of
from roilab.via.formats import coco, via2_csv, via2_json, via3, via_coco
from roilab.via.formats.source import (
    REMEDY_OF_REPEATED,
    RepeatedKey,
    RingsOfRle,
    SourceFile,
    load_json,
    mapping,
)
from roilab.via.records import Annotations, Container, Problem, collector_paused, refuse_errors

# The order decides where two would accept a file: the first says most about itself.
_FORMATS = (via3, via_coco, coco, via2_json, via2_csv)


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
        rings_of_rle: makes polygons of COCO's run-length encoded masks; without it, an annotation
            that has such a mask is left out, which is an error.
        keypoints_as_points: whether keypoints of a COCO annotation that has an outline or a box
            become regions of their own, which takes time; `build_instances` does not need them.

    Raises:
        UserError: the file cannot be read or is of no known kind; or it has errors and is read
            strictly.
    """
    with collector_paused():
        source = _load(Path(path), rings_of_rle, keypoints_as_points)
        repeated = [_repeated_key(source, key) for key in source.repeated]
        format, container = _detect(source)
        annotations: Annotations = format.parse(source, container)
    problems = (*repeated, *annotations.problems, *_double_names(annotations))
    annotations = replace(annotations, problems=problems)
    if strict:
        refuse_errors(annotations.problems)
    return annotations


def _detect(source: SourceFile) -> tuple[ModuleType, Container]:
    """The module that reads the file, and what kind of file it is."""
    for format in _FORMATS:
        container = format.detect(source)
        if container is not None:
            return format, container
    raise _unknown(source)


def _double_names(annotations: Annotations) -> Iterator[Problem]:
    """Warnings of image entries that have one file name and size."""
    names = Counter((image.filename, image.size) for image in annotations.images)
    for (filename, size), count in names.items():
        if count > 1:
            known = "" if size is None else f" and {size} bytes"
            message = f"{count} entries have this file name{known}; they are read as {count} images"
            remedy = "make them one: what only one of them holds is background in the others"
            yield Problem("warning", message, remedy, annotations.file, filename)


def _load(path: Path, rings_of_rle: RingsOfRle | None, keypoints_as_points: bool) -> SourceFile:
    remedy = "see that the path is right, and that it is a file that you may read"
    content = read_bytes(path, what="the annotation file", remedy=remedy)
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
        return SourceFile(str(path), text, None)
    try:
        data, repeated = load_json(text)
    except (RecursionError, ValueError) as error:
        message = "the annotation file is not usable JSON"
        reason = str(error)
        remedy = "save it again from VIA"
        if isinstance(error, json.JSONDecodeError):
            message = "the annotation file is not valid JSON"
            reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
            remedy = "save it again from VIA, or correct the line by hand"
        raise UserError(message, file=path, found=reason, remedy=remedy) from error
    return SourceFile(str(path), "", data, repeated, rings_of_rle, keypoints_as_points)


def _repeated_key(source: SourceFile, repeated: RepeatedKey) -> Problem:
    """The problem of a repeated key, with the image, region and attribute where it is in one."""
    image: str | None = None
    region: int | None = None
    attribute: str | None = None
    value = source.data
    before: str | int = ""
    for step in (*repeated.path, repeated.key):
        if before == "regions" and isinstance(step, int):
            region = step
        elif before in ("region_attributes", "file_attributes"):
            attribute = str(step)
        value = value[step]  # type: ignore[index]
        name = value.get("filename") if isinstance(value, dict) else None
        image = name.strip() if isinstance(name, str) else image
        before = step
    place = (source.file, image, region, attribute)
    return Problem("error", str(repeated), REMEDY_OF_REPEATED, *place)


def _unknown(source: SourceFile) -> UserError:
    """The error about a file of no known kind, with the reason for what people take for one."""
    top = source.top
    content = None
    expected = None
    keys = f"the keys {first_of(list(map(repr, top)))}"
    rows = source.data if isinstance(source.data, list) else ()
    if top and set(top) <= {"region", "file"}:
        message = "a VIA attributes file: it declares attributes and holds no annotations"
        remedy = "in VIA, save the project, which holds both, or export the annotations"
    elif any({"image_id", "category_id"} <= mapping(row).keys() for row in rows):
        message = "COCO results: they name no images and no classes"
        remedy = "give the COCO file that they belong to, with them as its 'annotations'"
    elif isinstance(top.get("images"), list) and "annotations" not in top:
        message = "a COCO file without annotations"
        content = keys
        remedy = "give the file that has them, or write 'annotations' as an empty list"
    else:
        message = "not a file of a kind that can be read"
        content = _description(source, keys)
        expected = ", ".join(Container)
        remedy = "in VIA, save the project, or export the annotations as JSON or CSV"
    return UserError(message, file=source.file, found=content, expected=expected, remedy=remedy)


def _description(source: SourceFile, keys: str) -> str:
    """A guess at the kind of a file that no format recognises."""
    if isinstance(source.data, list):
        return "a JSON list, not of image entries"
    if source.data is not None:
        return f"a JSON object with {keys}" if source.top else "an empty JSON object"
    if not source.text.strip():
        return "an empty file"
    first = source.text.lstrip().splitlines()[0]
    return "a CSV of another program" if first.count(",") >= 2 else "text that is not JSON"
