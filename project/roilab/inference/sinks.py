"""Where predictions go: a picture, or JSON data."""

from typing import Any

import numpy as np

from roilab.data.dicts import to_pixel_index
from roilab.draw import draw
from roilab.evaluation.predictions import encode_mask
from roilab.inference.predictor import Array, Prediction
from roilab.skeleton import Skeleton

# A picture is enlarged up to this length of its longer side, so that lines and labels are thin
# against the objects of small images.
_LEGIBLE_SIDE = 768


def draw_prediction(image: Array, prediction: Prediction, skeleton: Skeleton | None) -> Array:
    """A new RGB picture of the H x W x 3 RGB image with boxes, masks, skeletons and labels."""
    keypoints = prediction.keypoints
    if keypoints is not None:
        # Detectron2's raw keypoint score has no scale: all are drawn, those of no skeleton are not.
        keypoints = np.concatenate([keypoints[..., :2], np.ones_like(keypoints[..., :1])], axis=-1)
        keypoints[np.isnan(keypoints).any(axis=(1, 2))] = 0
    return draw(
        image,
        boxes=prediction.boxes,
        masks=None if prediction.masks is None else list(prediction.masks),
        keypoints=keypoints,
        labels=[
            f"{label} {score:.0%}"
            for label, score in zip(prediction.labels, prediction.scores, strict=True)
        ],
        skeleton=skeleton,
        scale=max(1, min(3, _LEGIBLE_SIDE // max(image.shape[:2]))),
    )


def to_json(file_name: str, prediction: Prediction) -> dict[str, Any]:
    """One image's instances as JSON data.

    Boxes are x, y, width, height; masks are COCO RLE; keypoints are x, y, score in pixel indices,
    as VIA and COCO hold them, absent for classes that have none.
    """
    instances = []
    for index in range(len(prediction)):
        x0, y0, x1, y1 = (float(value) for value in prediction.boxes[index])
        instance: dict[str, Any] = {
            "class": prediction.labels[index],
            "score": float(prediction.scores[index]),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        if prediction.masks is not None:
            instance["segmentation"] = encode_mask(prediction.masks[index])
        if prediction.keypoints is not None and not np.isnan(prediction.keypoints[index]).any():
            flat = to_pixel_index(prediction.keypoints[index])
            instance["keypoints"] = [flat[at : at + 3] for at in range(0, len(flat), 3)]
        instances.append(instance)
    return {
        "file_name": file_name,
        "width": prediction.width,
        "height": prediction.height,
        "instances": instances,
    }
