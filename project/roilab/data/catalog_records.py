"""Checked copies of the dicts that a data set of Detectron2's `DatasetCatalog` consists of.

The format is Detectron2's ("Standard Dataset Dicts" in its documentation). Keypoints are in its
continuous frame there, not pixel indices, so that nothing is shifted.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from pycocotools import mask as mask_utils

from roilab import via
from roilab.data.coordinates import Box
from roilab.data.mask_to_polygons import compressed
from roilab.errors import UserError
from roilab.image_files import whole_size
from roilab.skeleton import Skeleton

_BOX_MODES = (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)


def image_record(name: str, number: int, raw: object) -> dict[str, Any]:
    """The file and the id of the image of a data set's dict; without an id, its place from 1.

    Raises:
        UserError: it is no such dict: it has no file, no list of annotations, or no sound id.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("file_name"), str | Path):
        raise UserError(
            f"the data set '{name}' does not consist of Detectron2's dicts",
            key=f"[{number}].file_name",
            found=f"{raw!r:.100}",
            expected="a dict with file_name, image_id and annotations",
        )
    if not isinstance(raw.get("annotations"), list | tuple):
        raise UserError(
            f"an image of the data set '{name}' has no list of annotations",
            file=raw["file_name"],
            key=f"[{number}].annotations",
            found=f"{raw.get('annotations')!r:.100}",
            expected="a list, empty where nothing is in the image",
        )
    image_id = raw.get("image_id", number + 1)
    if not isinstance(image_id, str):
        if isinstance(image_id, bool) or not hasattr(image_id, "__index__"):
            raise UserError(
                f"an image of the data set '{name}' has no sound id",
                file=raw["file_name"],
                key=f"[{number}].image_id",
                found=f"{image_id!r:.100}",
                expected="a whole number or text",
            )
        image_id = int(image_id)
    return {"file_name": str(raw["file_name"]), "image_id": image_id}


def checked_size(name: str, raw: Mapping[str, Any]) -> tuple[int, int] | via.Problem:
    """(width, height) of an image's file, or why it cannot be used.

    Raises:
        UserError: the dict names another size.
    """
    path = Path(raw["file_name"])
    if not path.is_file():
        return via.Problem("error", "no such image", "put it there", name, str(path))
    try:
        size = whole_size(path)
    except UserError as error:
        message = f"{error.message}: {error.found}"
        return via.Problem("error", message, "replace the image file", name, str(path))
    stated = raw.get("width"), raw.get("height")
    if any(side not in (None, own) for side, own in zip(stated, size, strict=True)):
        raise UserError(
            f"the data set '{name}' names another size than the image has",
            file=path,
            key="width and height",
            found=stated,
            expected=size,
            remedy="correct them, or leave them out: they are then read from the image",
        )
    return size


def checked_annotation(
    name: str, record: Mapping[str, Any], number: int, raw: object, classes: int, points: int | None
) -> dict[str, Any]:
    """A copy of an annotation: XYXY_ABS box, outline, class and, with a skeleton, keypoints.

    Args:
        record: of its image, with width and height.
        classes: how many there are.
        points: K of the skeleton, None without one.

    Raises:
        UserError: it is unsound.
    """
    try:
        if not isinstance(raw, Mapping):
            raise _unsound("", raw, "a dict")
        result = {
            "bbox": _box(raw),
            "bbox_mode": BoxMode.XYXY_ABS,
            "category_id": _category(raw.get("category_id"), classes),
            "iscrowd": int(bool(raw.get("iscrowd", 0))),
        }
        outline = _outline(raw.get("segmentation"), record["height"], record["width"])
        if outline is not None:
            result["segmentation"] = outline
        if points is not None:
            result["keypoints"] = _keypoints(raw.get("keypoints"), points)
        return result
    except UserError as error:
        raise UserError(
            f"an annotation of the data set '{name}' is not sound",
            file=record["file_name"],
            key=f"annotations[{number}]{error.key}",
            found=error.found,
            expected=error.expected,
        ) from error


def _unsound(key: str, value: object, expected: str) -> UserError:
    return UserError("unsound", key=key, found=f"{value!r:.100}", expected=expected)


def _is_numbers(value: Any) -> bool:
    try:
        return not isinstance(value, str | bytes | Mapping) and all(map(math.isfinite, value))
    except (TypeError, OverflowError):
        return False


def _box(raw: Mapping[str, Any]) -> list[float]:
    box: Any = raw.get("bbox")
    mode = raw.get("bbox_mode")
    if mode not in _BOX_MODES:
        names = " or ".join(f"BoxMode.{mode.name}" for mode in _BOX_MODES)
        raise _unsound(".bbox_mode", mode, names)
    if not _is_numbers(box) or len(box) != 4:
        raise _unsound(".bbox", box, "four numbers")
    return [float(value) for value in BoxMode.convert(list(box), BoxMode(mode), BoxMode.XYXY_ABS)]


def _category(value: Any, classes: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= value < classes:
        raise _unsound(
            ".category_id", value, f"a number from 0 to {classes - 1}, the place in thing_classes"
        )
    return int(value)


def _outline(value: Any, height: int, width: int) -> Any:
    """Polygons, or a compressed run-length encoding whose counts are text; None without."""
    if value is None or (isinstance(value, list | tuple) and not value):
        return None
    if isinstance(value, Mapping):
        size, counts = list(value.get("size") or ()), value.get("counts")
        if size != [height, width]:
            raise _unsound(".segmentation.size", size, f"{[height, width]}, the image's")
        if isinstance(counts, bytes):
            counts = counts.decode("ascii", errors="replace")
        try:
            packed: Any = compressed({"size": size, "counts": counts})
        except ValueError as error:
            pixels = f"run lengths of {height * width} pixels"
            raise _unsound(".segmentation.counts", counts, pixels) from error
        return {"size": size, "counts": packed["counts"].decode("ascii")}
    if not isinstance(value, list | tuple):
        raise _unsound(".segmentation", value, "polygons, or a run-length encoded mask")
    for ring in value:
        if not _is_numbers(ring) or len(ring) < 6 or len(ring) % 2:
            raise _unsound(".segmentation", ring, "x0, y0, x1, y1, ... of at least three points")
    return [[float(number) for number in ring] for ring in value]


def _keypoints(value: Any, points: int) -> list[float]:
    """K triples; zeros where nothing is labelled, as every annotation of an image has some."""
    if value is None or (isinstance(value, list | tuple) and not value):
        return [0.0] * (3 * points)
    if not _is_numbers(value) or len(value) != 3 * points:
        raise _unsound(".keypoints", value, f"{3 * points} numbers: x, y, v of {points} keypoints")
    if not all(v in (0, 1, 2) for v in value[2::3]):
        raise _unsound(".keypoints", value, "0, 1 or 2 as the third number of each")
    return [float(number) if value[at - at % 3 + 2] else 0.0 for at, number in enumerate(value)]


def outline_bounds(anno: Mapping[str, Any]) -> Box | None:
    """The box around a checked annotation's polygons; None where it has none."""
    rings = anno.get("segmentation")
    if not isinstance(rings, list):
        return None
    xs, ys = ([number for ring in rings for number in ring[at::2]] for at in (0, 1))
    return min(xs), min(ys), max(xs), max(ys)


def is_left(anno: Mapping[str, Any], width: int, height: int, skeleton: Skeleton | None) -> bool:
    """Whether something is left of a checked annotation that is cut to its image."""
    x0, y0, x1, y1 = outline_bounds(anno) or anno["bbox"]
    mask = anno.get("segmentation")
    if anno["iscrowd"] or (isinstance(mask, Mapping) and mask_utils.area(mask)):
        return True  # a mask has the size of its image; crowds are no objects
    if skeleton is not None and min(x1 - x0, y1 - y0) <= 0 and any(anno["keypoints"][2::3]):
        return True  # the keypoints are all that it has
    return max(x0, 0) < min(x1, width) and max(y0, 0) < min(y1, height)
