"""COCO json: the rows of instances, the document, and the ids of an annotation file.

COCO's boxes are x, y, width, height; its keypoints are pixel indices, of which pixel (0, 0) has its
centre at (0, 0), while boxes and outlines are continuous: see `roilab.data.coordinates`.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from detectron2.structures import BoxMode
from detectron2.structures.masks import polygon_area
from pycocotools import mask as mask_utils

from roilab.data.coordinates import to_pixel_index
from roilab.data.mask_to_polygons import compressed
from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.text import first_of, shortened
from roilab.via.formats.coco_values import is_finite_number

_LARGEST_ID = 2**53  # beyond, JSON's numbers are not exact

Row = Mapping[str, Any]
RESULT_ROWS = '[{"image_id": 1, "category_id": 1, "bbox": [x, y, w, h], "score": 0.9, ...}, ...]'


def coco_row(
    image_id: int,
    category_id: int | str,
    box: Sequence[float],
    *,
    segmentation: Any = None,
    keypoints: Sequence[float] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """An instance as a COCO result row; `coco_annotation` makes an annotation of it.

    Args:
        category_id: class index + 1, or the file's.
        box: x, y, width, height.
        segmentation: rings x0, y0, x1, y1, ..., or a run-length encoding, whose bytes become text;
            None or empty: none.
        keypoints: K times x, y in pixel indices and a visibility or a score.
        more: further keys, such as `score`.
    """
    row = {"image_id": image_id, "category_id": category_id, "bbox": list(box), **more}
    if isinstance(segmentation, Mapping) and isinstance(segmentation["counts"], bytes):
        segmentation = {**segmentation, "counts": segmentation["counts"].decode("ascii")}
    if segmentation:
        row["segmentation"] = segmentation
    if keypoints is not None:
        row["keypoints"] = list(keypoints)
    return row


def coco_annotation(
    row: Row, number: int, *, area: float | None = None, is_crowd: int = 0
) -> dict[str, Any]:
    """A row of `coco_row` as the annotation `number` of a document.

    Args:
        area: in square pixels; None: that of the mask, else of the box, which inflates OKS (see
            `DetectionDataset.area_source`).
    """
    mask = row.get("segmentation")
    if area is None and isinstance(mask, Mapping):
        area = float(mask_utils.area(mask))
    elif area is None and mask:
        rings = (np.asarray(ring, dtype=float).reshape(-1, 2) for ring in mask)
        area = float(sum(polygon_area(*ring.T) for ring in rings))
    elif area is None:
        area = row["bbox"][2] * row["bbox"][3]
    result = {"id": number, **row, "area": area, "iscrowd": is_crowd}
    if "keypoints" in row:
        result["num_keypoints"] = sum(value > 0 for value in row["keypoints"][2::3])
    return result


def coco_document(
    images: Iterable[Row],
    annotations: Iterable[Row],
    classes: Sequence[str],
    skeleton: Skeleton | None,
    *,
    category_ids: Sequence[int | str] | None = None,
    description: str = "written by RoILab",
) -> dict[str, Any]:
    """COCO json data.

    Args:
        images: with `id`, `file_name`, `width` and `height`.
        annotations: of `coco_annotation`, with the ids of `images` and of the categories.
        category_ids: of the classes, in their order; None: 1, 2, ...
    """
    ids = range(1, len(classes) + 1) if category_ids is None else category_ids
    categories: list[dict[str, Any]] = []
    for category_id, name in zip(ids, classes, strict=True):
        category: dict[str, Any] = {"id": category_id, "name": name, "supercategory": ""}
        if skeleton is not None and name in skeleton.classes:
            category["keypoints"] = list(skeleton.keypoints)
            category["skeleton"] = [[a + 1, b + 1] for a, b in skeleton.link_indices]
        categories.append(category)
    return {
        "info": {"description": description},
        "images": list(images),
        "annotations": list(annotations),
        "categories": categories,
    }


def dataset_to_coco(
    records: Sequence[Row], classes: Sequence[str], skeleton: Skeleton | None
) -> dict[str, Any]:
    """Detectron2 dicts as COCO json data; the dicts are not touched. Ids are the package's own."""
    annotations: list[dict[str, Any]] = []
    for record in records:
        for anno in record.get("annotations", ()):
            category = anno["category_id"]
            has_keypoints = skeleton is not None and classes[category] in skeleton.classes
            row = coco_row(
                record["image_id"],
                category + 1,
                BoxMode.convert(list(anno["bbox"]), anno["bbox_mode"], BoxMode.XYWH_ABS),
                segmentation=anno.get("segmentation"),
                keypoints=to_pixel_index(anno["keypoints"]) if has_keypoints else None,
            )
            area = anno.get("area")
            is_crowd = anno.get("iscrowd", 0)
            number = len(annotations) + 1
            annotations.append(coco_annotation(row, number, area=area, is_crowd=is_crowd))
    keys = ("file_name", "width", "height", "void")
    images = [
        {"id": record["image_id"]} | {key: record[key] for key in keys if key in record}
        for record in records
    ]
    return coco_document(images, annotations, classes, skeleton)


def encode_mask(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """An H x W boolean mask as COCO RLE whose counts are text."""
    rle = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


@dataclass(frozen=True)
class CocoIds:
    """Maps between the numbers of a data set and the ids of its annotation file.

    Inside the package, images have integers that are unique over all files of a data set, and COCO
    rows number the categories from 1 in the order of the classes. What is written for others has
    the ids of the file, so that COCO's tools evaluate it against that file.

    Attributes:
        images: a record's `image_id` -> the file's id of the image, a number or text.
        categories: the file's id of each class, in the order of the classes.
    """

    images: Mapping[int, int | str]
    categories: tuple[int | str, ...]

    @classmethod
    def numbered(cls, images: Iterable[int], classes: int) -> "CocoIds":
        """The ids of data that have none: images keep their numbers, categories are 1..C."""
        return cls({number: number for number in images}, tuple(range(1, classes + 1)))

    def to_file(self, rows: Iterable[Row]) -> list[dict[str, Any]]:
        """COCO rows with the ids of the file in place of the package's; the rows are not changed.

        Args:
            rows: with `image_id` of a record and `category_id`, class index + 1.
        """
        return [
            {
                **row,
                "image_id": self.images[row["image_id"]],
                "category_id": self.categories[row["category_id"] - 1],
            }
            for row in rows
        ]

    def from_file(self, rows: Iterable[Row]) -> list[dict[str, Any]]:
        """The inverse of `to_file`.

        Raises:
            UserError: a row has an id that the file does not have.
        """
        own = {
            "image_id": {file_id: number for number, file_id in self.images.items()},
            "category_id": {file_id: place for place, file_id in enumerate(self.categories, 1)},
        }
        result = []
        for row in rows:
            for key, known in own.items():
                if row[key] not in known:
                    message = "a result has an id that the annotation file does not have"
                    expected = f"one of {first_of(list(map(repr, known)), 10)}"
                    raise UserError(message, key=key, found=repr(row[key]), expected=expected)
            result.append({**row, **{key: known[row[key]] for key, known in own.items()}})
        return result


def image_numbers(ids: Sequence[int | str | None]) -> list[int]:
    """An integer for each image: its own id where all are whole numbers from 0, else 1, 2, ..."""
    numbers = [number for number in ids if type(number) is int and 0 <= number < _LARGEST_ID]
    return numbers if len(numbers) == len(ids) else list(range(1, len(ids) + 1))


def category_ids(classes: Sequence[str], known: Mapping[str, int | str]) -> tuple[int | str, ...]:
    """An id for each class: the file's; of a class that the file does not have, the next free one.

    Args:
        known: category name -> id, of the file.
    """
    last = max((number for number in known.values() if isinstance(number, int)), default=0)
    free = itertools.count(last + 1)
    return tuple(known[name] if name in known else next(free) for name in classes)


def problem_of_rows(data: Any) -> str:
    """The fault of COCO result rows; "" if they are sound."""
    if not isinstance(data, list):
        return f"{shortened(repr(data), 60)} in place of a list"
    for place, row in enumerate(data):
        if not isinstance(row, dict):
            return f"[{place}] is {shortened(repr(row), 60)}"
        for key in ("image_id", "category_id", "bbox", "score"):
            if key not in row:
                return f"[{place}] has no {key}"
        for key, is_sound in _CHECKS.items():
            if key in row and not is_sound(row[key]):
                return f"[{place}].{key} is {shortened(repr(row[key]), 60)}"
    return ""


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_finite_number, value))


def _is_mask(value: Any) -> bool:
    """Whether a value is a compressed RLE whose runs fill its image."""
    if not isinstance(value, Mapping) or set(value) != {"size", "counts"}:
        return False
    with suppress(ValueError):
        return isinstance(value["counts"], str) and bool(compressed(value))
    return False


_CHECKS = {
    **dict.fromkeys(("image_id", "category_id"), lambda value: type(value) in (str, int)),
    **dict.fromkeys(("score", "mask_score"), is_finite_number),
    "bbox": lambda value: _are_numbers(value) and len(value) == 4,
    "keypoints": lambda value: _are_numbers(value) and len(value) % 3 == 0,
    "segmentation": _is_mask,
}
