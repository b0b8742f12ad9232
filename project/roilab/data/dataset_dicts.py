"""Labelled images -> Detectron2 dicts, and Detectron2 dicts -> COCO json.

The half pixel lives here and in `roilab.data.boxes`, and nowhere else. A clicked point (VIA, COCO
json) is a pixel index; Detectron2 works in continuous coordinates, in which the centre of pixel
(0, 0) is (0.5, 0.5). Outlines and boxes are continuous already and are never shifted
(detectron2.data.datasets.coco, `load_coco_json`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as mask_utils

from roilab.data.boxes import HALF_PIXEL, box_of, own_box
from roilab.skeleton import Skeleton
from roilab.via import Instance


def to_continuous(keypoints: Sequence[Sequence[float]]) -> list[float]:
    """K triples (x, y, v) in pixel indices -> 3K numbers in Detectron2's continuous frame.

    Unlabelled keypoints (v = 0) stay (0, 0, 0).
    """
    return [
        number
        for x, y, v in keypoints
        for number in ((x + HALF_PIXEL, y + HALF_PIXEL, int(v)) if v else (0.0, 0.0, 0))
    ]


def to_pixel_index(keypoints: Sequence[float] | np.ndarray) -> list[float]:
    """3K numbers in the continuous frame -> 3K numbers in pixel indices, as COCO json holds them.

    The third of each triple, a visibility or a score, is kept. Ground truth with v = 0 stays zero.
    """
    triples = np.array(keypoints, dtype=float).reshape(-1, 3)
    shifted = triples[triples[:, 2] != 0, :2] - HALF_PIXEL
    # Without the noise of the shift there and back: 0.1 + 0.5 - 0.5 is no 0.1.
    triples[triples[:, 2] != 0, :2] = shifted.round(9)
    return [float(value) for value in triples.ravel()]


def annotation(
    instance: Instance, classes: Sequence[str], skeleton: Skeleton | None, width: int, height: int
) -> dict[str, Any]:
    """One instance as a Detectron2 annotation, within an image of width x height.

    Of a COCO annotation it has the box, the mask and the area that the file states, as
    Detectron2's own reader of COCO files gives them. With a skeleton every annotation carries K x 3
    keypoints, zeros where there are none: Detectron2 decides by the first annotation of an image
    whether the image has keypoints at all.
    """
    coco = instance.coco
    result: dict[str, Any] = {
        "category_id": classes.index(instance.label),
        "iscrowd": int(coco is not None and coco.is_crowd),
    }
    if coco is not None and coco.box is not None and own_box(instance, width, height) is not None:
        result |= {"bbox": list(coco.box), "bbox_mode": BoxMode.XYWH_ABS}
    else:
        box = box_of(instance, width, height)
        result |= {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS}
    if coco is not None:
        if coco.area is not None:
            result["area"] = coco.area
        if coco.mask is not None:
            result["segmentation"] = _mask(instance, coco.mask)
    elif instance.outlines:
        result["segmentation"] = _rings(instance)
    if skeleton is not None:
        unlabelled = ((0.0, 0.0, 0),) * len(skeleton.keypoints)
        keypoints = instance.keypoints or unlabelled
        # VIA rounds a click on the last pixel of an enlarged image up to the edge.
        if any(x > width - 1 or y > height - 1 for x, y, _ in keypoints):
            keypoints = tuple(
                (_on_last_pixel(x, width), _on_last_pixel(y, height), v) for x, y, v in keypoints
            )
        result["keypoints"] = to_continuous(keypoints)
    return result


def _mask(
    instance: Instance, mask: Sequence[Sequence[float]] | Mapping[str, Any]
) -> Sequence[Sequence[float]] | Mapping[str, Any]:
    """The mask of a COCO annotation as it is in the file, run lengths compressed."""
    if isinstance(mask, Mapping):
        is_plain = isinstance(mask["counts"], list)
        return mask_utils.frPyObjects(mask, *mask["size"]) if is_plain else mask
    # Rings without area are left out of the instance.
    return mask if len(mask) == len(instance.outlines) else _rings(instance)


def _as_json(
    mask: Sequence[Sequence[float]] | Mapping[str, Any],
) -> Sequence[Sequence[float]] | Mapping[str, Any]:
    """A mask as JSON data, which hold no bytes: pycocotools compresses run lengths to these."""
    if isinstance(mask, Mapping) and isinstance(mask["counts"], bytes):
        return {**mask, "counts": mask["counts"].decode("ascii")}
    return mask


def _rings(instance: Instance) -> list[list[float]]:
    return [[float(value) for point in ring for value in point] for ring in instance.polygons]


def _on_last_pixel(index: float, size: int) -> float:
    """The pixel index of a point; the last one of the image for a point on the image's edge.

    Detectron2 drops a point beyond the edge as not labelled.
    """
    return size - 1 if size - HALF_PIXEL < index <= size + HALF_PIXEL else index


def polygon_area(ring: Sequence[float]) -> float:
    """Area in square pixels of a ring given as x0, y0, x1, y1, ..."""
    x, y = np.asarray(ring, dtype=float).reshape(-1, 2).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def dataset_to_coco(
    records: Sequence[Mapping[str, Any]], classes: Sequence[str], skeleton: Skeleton | None
) -> dict[str, Any]:
    """Detectron2 dicts as COCO json data; the dicts are not touched.

    Category ids are class index + 1. `area` is the annotation's own where it has one, else that of
    its mask, else that of its box (which inflates OKS: see `area_source` in the evaluation).
    """
    annotations: list[dict[str, Any]] = []
    for record in records:
        for anno in record.get("annotations", ()):
            box = BoxMode.convert(list(anno["bbox"]), anno["bbox_mode"], BoxMode.XYWH_ABS)
            row = {
                "id": len(annotations) + 1,
                "image_id": record["image_id"],
                "category_id": anno["category_id"] + 1,
                "bbox": box,
                "area": anno.get("area", box[2] * box[3]),
                "iscrowd": anno.get("iscrowd", 0),
            }
            segmentation = anno.get("segmentation")
            if segmentation:
                row["segmentation"] = _as_json(segmentation)
                if "area" not in anno:
                    row["area"] = (
                        float(mask_utils.area(segmentation))
                        if isinstance(segmentation, Mapping)
                        else sum(map(polygon_area, segmentation))
                    )
            if skeleton is not None and classes[anno["category_id"]] in skeleton.classes:
                row["keypoints"] = to_pixel_index(anno["keypoints"])
                row["num_keypoints"] = sum(v > 0 for v in row["keypoints"][2::3])
            annotations.append(row)
    categories: list[dict[str, Any]] = []
    for index, name in enumerate(classes):
        category: dict[str, Any] = {"id": index + 1, "name": name, "supercategory": ""}
        if skeleton is not None and name in skeleton.classes:
            category["keypoints"] = list(skeleton.keypoints)
            category["skeleton"] = [[a + 1, b + 1] for a, b in skeleton.link_indices]
        categories.append(category)
    return {
        "info": {"description": "written by RoILab"},
        "images": [
            {
                "id": record["image_id"],
                "file_name": record["file_name"],
                "width": record["width"],
                "height": record["height"],
            }
            for record in records
        ],
        "annotations": annotations,
        "categories": categories,
    }
