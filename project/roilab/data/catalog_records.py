"""Checked copies of the dicts that a data set of Detectron2's `DatasetCatalog` consists of.

The format is Detectron2's ("Standard Dataset Dicts" in its documentation). Keypoints are in its
continuous frame there, not pixel indices, so that nothing is shifted.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as mask_utils

from roilab import via
from roilab.data.coordinates import Box
from roilab.data.mask_to_polygons import compressed
from roilab.errors import UserError
from roilab.image_files import whole_size
from roilab.skeleton import Skeleton

_BOX_MODES = (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)


def image_record(name: str, number: int, raw: Any) -> dict[str, Any]:
    """The file and the id of the image of a data set's dict; without an id, its place from 1.

    Raises:
        UserError: it is no such dict: it has no file, no list of annotations, or no sound id.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("file_name"), str | Path):
        message = f"the data set '{name}' does not consist of Detectron2's dicts"
        expected = "a dict with file_name, image_id and annotations"
        raise _unsound(message, None, f"[{number}].file_name", raw, expected)
    file = raw["file_name"]
    annotations = raw.get("annotations")
    if not isinstance(annotations, list | tuple):
        message = f"an image of the data set '{name}' has no list of annotations"
        expected = "a list, empty where nothing is in the image"
        raise _unsound(message, file, f"[{number}].annotations", annotations, expected)
    image_id = raw.get("image_id", number + 1)
    if not isinstance(image_id, str):
        if not _is_whole(image_id):
            message = f"an image of the data set '{name}' has no sound id"
            expected = "a whole number or text"
            raise _unsound(message, file, f"[{number}].image_id", image_id, expected)
        image_id = int(image_id)
    return {"file_name": str(file), "image_id": image_id}


def _unsound(message: str, file: str | None, key: str, value: object, expected: str) -> UserError:
    return UserError(message, file=file, key=key, found=f"{value!r:.100}", expected=expected)


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of Python or numpy."""
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _is_numbers(value: Any) -> bool:
    """Whether a value is a list, tuple or array of finite numbers."""
    try:
        return not isinstance(value, str | bytes | Mapping) and all(map(math.isfinite, value))
    except (TypeError, OverflowError):
        return False


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
        message = f"the data set '{name}' names another size than the image has"
        remedy = "correct them, or leave them out: they are then read from the image"
        raise UserError(
            message, file=path, key="width and height", found=stated, expected=size, remedy=remedy
        )
    return size


def checked_annotation(
    name: str, record: Mapping[str, Any], number: int, raw: Any, classes: int, points: int | None
) -> dict[str, Any]:
    """A copy of an annotation: XYXY_ABS box, outline, class and, with a skeleton, keypoints.

    Args:
        record: of its image, with width and height.
        classes: how many there are.
        points: K of the skeleton, None without one.

    Raises:
        UserError: it is unsound.
    """

    def check(is_sound: bool, key: str, value: object, expected: str) -> None:
        if not is_sound:
            message = f"an annotation of the data set '{name}' is not sound"
            place = f"annotations[{number}]{key}"
            raise _unsound(message, record["file_name"], place, value, expected)

    check(isinstance(raw, Mapping), "", raw, "a dict")
    box = raw.get("bbox")
    mode = raw.get("bbox_mode")
    category = raw.get("category_id")
    modes = " or ".join(f"BoxMode.{mode.name}" for mode in _BOX_MODES)
    check(mode in _BOX_MODES, ".bbox_mode", mode, modes)
    check(_is_numbers(box) and len(box) == 4, ".bbox", box, "four numbers")
    is_class = _is_whole(category) and 0 <= category < classes
    places = f"a number from 0 to {classes - 1}, the place in thing_classes"
    check(is_class, ".category_id", category, places)
    result = {
        "bbox": [float(x) for x in BoxMode.convert(list(box), BoxMode(mode), BoxMode.XYXY_ABS)],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": int(category),
        "iscrowd": int(bool(raw.get("iscrowd", 0))),
    }
    outline = raw.get("segmentation")
    if not _is_empty(outline):
        result["segmentation"] = _outline(outline, record["height"], record["width"], check)
    keypoints = raw.get("keypoints")
    if points is not None and _is_empty(keypoints):
        result["keypoints"] = [0.0] * (3 * points)  # as every annotation of an image has some
    elif points is not None:
        is_sound = _is_numbers(keypoints) and len(keypoints) == 3 * points
        triples = f"{3 * points} numbers: x, y, v of {points} keypoints"
        check(is_sound, ".keypoints", keypoints, triples)
        is_sound = all(v in (0, 1, 2) for v in keypoints[2::3])
        check(is_sound, ".keypoints", keypoints, "0, 1 or 2 as the third number of each")
        shown = np.repeat(keypoints[2::3], 3)
        result["keypoints"] = np.where(shown, keypoints, 0.0).tolist()
    return result


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and not value)


def _outline(value: Any, height: int, width: int, check: Callable[..., None]) -> Any:
    """Polygons, or a compressed run-length encoding whose counts are text."""
    if isinstance(value, Mapping):
        size = [height, width]
        stated: Any = value.get("size")
        sides = list(stated) if _is_numbers(stated) else []
        check(sides == size, ".segmentation.size", sides, f"{size}, the image's")
        counts = value.get("counts")
        if isinstance(counts, bytes):
            counts = counts.decode("ascii", errors="replace")
        try:
            packed: Any = compressed({"size": size, "counts": counts})
        except ValueError:
            lengths = f"run lengths of {height * width} pixels"
            check(False, ".segmentation.counts", counts, lengths)
        return {"size": size, "counts": packed["counts"].decode("ascii")}
    is_list = isinstance(value, list | tuple)
    check(is_list, ".segmentation", value, "polygons, or a run-length encoded mask")
    for ring in value:
        is_ring = _is_numbers(ring) and len(ring) >= 6 and not len(ring) % 2
        check(is_ring, ".segmentation", ring, "x0, y0, x1, y1, ... of at least three points")
    return [[float(number) for number in ring] for ring in value]


def outline_bounds(anno: Mapping[str, Any]) -> Box | None:
    """The box around a checked annotation's polygons; None where it has none."""
    rings = anno.get("segmentation")
    if not isinstance(rings, list):
        return None
    xs = [x for ring in rings for x in ring[::2]]
    ys = [y for ring in rings for y in ring[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def is_in_image(
    anno: Mapping[str, Any], width: int, height: int, skeleton: Skeleton | None
) -> bool:
    """Whether something of a checked annotation lies in its image."""
    x0, y0, x1, y1 = outline_bounds(anno) or anno["bbox"]
    mask = anno.get("segmentation")
    if anno["iscrowd"] or (isinstance(mask, Mapping) and mask_utils.area(mask)):
        return True  # a mask has the size of its image; crowds are no objects
    if skeleton is not None and min(x1 - x0, y1 - y0) <= 0 and any(anno["keypoints"][2::3]):
        return True  # the keypoints are all that it has
    return max(x0, 0) < min(x1, width) and max(y0, 0) < min(y1, height)
