"""Annotations and predictions of an image, drawn side by side."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as mask_utils

from roilab.data.boxes import HALF_PIXEL
from roilab.data.dataset import DetectionDataset
from roilab.draw import Picture, draw_instances, side_by_side
from roilab.image_files import read_rgb
from roilab.inference.rendering import legible_scale

Row = Mapping[str, Any]
_CANVAS_GREY = 110


def draw_comparison(
    record: Mapping[str, Any],
    dataset: DetectionDataset,
    found: Mapping[str, Sequence[Row]],
    *,
    original: bool = False,
    blank: bool = False,
) -> Picture:
    """A new picture: the annotations of an image beside what was found in it.

    Args:
        record: of `dataset.records`.
        found: COCO result rows of this image, by the title of their picture.
        original: the image itself stands before them.
        blank: draw on a grey canvas in place of the photograph.
    """
    image = read_rgb(Path(record["file_name"]))
    canvas = np.full_like(image, _CANVAS_GREY) if blank else image
    pictures = {"image": draw_instances(image, scale=legible_scale(image))} if original else {}
    pictures["annotated"] = _draw_truth(canvas, record, dataset)
    drawn = [_draw_rows(canvas, rows, dataset) for rows in found.values()]
    return side_by_side([*pictures.values(), *drawn], [*pictures, *found])


def by_image(rows: Iterable[Row], score: float) -> dict[int, list[Row]]:
    """COCO result rows from a score on, by the id of their image; none where nothing is found."""
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row["score"] >= score:
            found[row["image_id"]].append(row)
    return found


def _draw_truth(image: Picture, record: Mapping[str, Any], dataset: DetectionDataset) -> Picture:
    """A new picture of the annotations of a data set's record over its image."""
    annotations = record["annotations"]
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    keypoints = None
    if dataset.skeleton is not None:
        count = len(dataset.skeleton.keypoints)
        keypoints = np.array([a["keypoints"] for a in annotations], dtype=float)
        keypoints = keypoints.reshape(len(annotations), count, 3)
        keypoints[..., 2] /= 2  # of visibilities
    return draw_instances(
        image,
        boxes=np.array(boxes, dtype=float).reshape(-1, 4),
        masks=[_outline(a.get("segmentation", [])) for a in annotations],
        keypoints=keypoints,
        labels=[dataset.classes[a["category_id"]] for a in annotations],
        skeleton=dataset.skeleton,
        scale=legible_scale(image),
    )


def _outline(segmentation: Any) -> Any:
    """Rings of vertices, or the mask that a COCO RLE holds."""
    if isinstance(segmentation, Mapping):
        return mask_utils.decode(segmentation).astype(bool)
    return [np.reshape(ring, (-1, 2)) for ring in segmentation]


def _draw_rows(image: Picture, rows: Sequence[Row], dataset: DetectionDataset) -> Picture:
    boxes = np.array([row["bbox"] for row in rows], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [
        mask_utils.decode(row["segmentation"]).astype(bool) for row in rows if "segmentation" in row
    ]
    return draw_instances(
        image,
        boxes=boxes,
        masks=masks if len(masks) == len(rows) else None,
        keypoints=_keypoints(rows, dataset),
        labels=[f"{dataset.classes[row['category_id'] - 1]} {row['score']:.0%}" for row in rows],
        skeleton=dataset.skeleton,
        scale=legible_scale(image),
    )


def _keypoints(rows: Sequence[Row], dataset: DetectionDataset) -> Any:
    """N x K x 3, continuous; all 0, which is not drawn, for rows that have none."""
    if dataset.skeleton is None:
        return None
    points = np.zeros((len(rows), len(dataset.skeleton.keypoints), 3))
    for place, row in zip(points, rows, strict=True):
        if "keypoints" in row:
            place[:] = np.reshape(row["keypoints"], (-1, 3))
            place[:, :2] += HALF_PIXEL
            place[:, 2] = 1
    return points
