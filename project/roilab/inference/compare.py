"""What was annotated beside what was found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from roilab.data.dataset import DetectionDataset
from roilab.draw import Picture, draw, side_by_side
from roilab.inference.predictor import Prediction, Predictor
from roilab.inference.sinks import draw_prediction, legible_scale
from roilab.inference.sources import read_rgb

_CANVAS_GREY = 110


def compare(
    predictor: Predictor,
    dataset: DetectionDataset,
    record: Mapping[str, Any],
    *,
    score: float,
    blank: bool,
) -> Picture:
    """A new picture: the annotations of a data set's record, and what is found in its image.

    Args:
        record: of `dataset.records`.
        score: from which on a detection is drawn.
        blank: draw on a grey canvas in place of the photograph.
    """
    image = read_rgb(Path(record["file_name"]))
    found = predictor(image).above(score)
    canvas = np.full_like(image, _CANVAS_GREY) if blank else image
    return comparison(canvas, record, found, dataset)


def comparison(
    image: Picture, record: Mapping[str, Any], prediction: Prediction, dataset: DetectionDataset
) -> Picture:
    """A new picture: the annotations of a data set's record, and a prediction for its image.

    Args:
        image: H x W x 3, uint8, RGB: the photograph, or a canvas of its size.
        record: of `dataset.records`.
    """
    return side_by_side(
        [
            draw_truth(image, record, dataset),
            draw_prediction(image, prediction, dataset.skeleton),
        ],
        ["annotated", "predicted"],
    )


def draw_truth(image: Picture, record: Mapping[str, Any], dataset: DetectionDataset) -> Picture:
    """A new picture of the annotations of a data set's record over its image."""
    annotations = record["annotations"]
    keypoints = None
    if dataset.skeleton is not None:
        count = len(dataset.skeleton.keypoints)
        keypoints = np.array([a["keypoints"] for a in annotations], dtype=float)
        keypoints = keypoints.reshape(len(annotations), count, 3)
    return draw(
        image,
        boxes=np.array([a["bbox"] for a in annotations], dtype=float).reshape(-1, 4),
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
