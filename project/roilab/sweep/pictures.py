"""Output comparison: image, annotations, and what two arms find where they differ most."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from roilab.data.dataset import DetectionDataset
from roilab.data.dicts import HALF_PIXEL
from roilab.draw import Picture, draw, side_by_side
from roilab.inference import read_rgb
from roilab.inference.compare import draw_truth
from roilab.inference.sinks import legible_scale
from roilab.sweep.collect import Found


def most_different(
    one: Sequence[Sequence[float | None]], other: Sequence[Sequence[float | None]], count: int
) -> list[tuple[int, float]]:
    """Positions of the images whose values differ most, and by how much the other's are larger.

    Args:
        one, other: of two arms, the images' values for each seed.
    """
    a, b = (np.array(values, float).mean(axis=0) for values in (one, other))
    apart = np.nan_to_num(b - a)
    ranked = sorted(range(len(apart)), key=lambda at: (-abs(apart[at]), at))
    return [(at, float(apart[at])) for at in ranked[:count] if apart[at]]


def comparison(at: int, one: Found, other: Found, names: Sequence[str]) -> bytes:
    """A JPEG file: the image at a position, its annotations, and what two runs find in it."""
    dataset, record = other.dataset, other.images()[at]
    image = read_rgb(Path(record["file_name"]))
    pictures = [
        _enlarged(image),
        draw_truth(image, record, dataset),
        *(
            _draw_rows(image, _rows(found, record["image_id"]), found.dataset)
            for found in (one, other)
        ),
    ]
    written = io.BytesIO()
    picture = side_by_side(pictures, ["image", "annotated", *names])
    Image.fromarray(picture).save(written, "JPEG", quality=85)
    return written.getvalue()


def _rows(found: Found, image_id: int) -> list[Mapping[str, Any]]:
    return [row for row in found.detections if row["image_id"] == image_id]


def _enlarged(image: Picture) -> Picture:
    return draw(image, scale=legible_scale(image))


def _draw_rows(
    image: Picture, rows: Sequence[Mapping[str, Any]], dataset: DetectionDataset
) -> Picture:
    boxes = np.array([row["bbox"] for row in rows], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [
        mask_utils.decode(row["segmentation"]).astype(bool) for row in rows if "segmentation" in row
    ]
    return draw(
        image,
        boxes=boxes,
        masks=masks if len(masks) == len(rows) else None,
        keypoints=_keypoints(rows, dataset),
        labels=[f"{dataset.classes[row['category_id'] - 1]} {row['score']:.0%}" for row in rows],
        skeleton=dataset.skeleton,
        scale=legible_scale(image),
    )


def _keypoints(rows: Sequence[Mapping[str, Any]], dataset: DetectionDataset) -> Any:
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
