"""Predictions rendered as pictures and as JSON data."""

import io
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from roilab.data.dataset_dicts import to_pixel_index
from roilab.draw import Picture, draw_instances, grid
from roilab.evaluation.evaluator import encode_mask
from roilab.inference.predictor import Prediction
from roilab.inference.to_annotations import KEYPOINT_THRESHOLD
from roilab.skeleton import Skeleton

OVERVIEW = "overview.jpg"
OVERVIEW_PICTURES = 12
# Of JPEGs: pictures, those within a page, and a video's frames, which a person annotates and a
# model is trained with.
PICTURE_QUALITY, PAGE_QUALITY, FRAME_QUALITY = 92, 85, 95
_JPEG_SIDE = 65500  # a JPEG is no larger
# A picture is enlarged up to this length of its longer side, so that lines and labels are thin
# against the objects of small images; in the overview it is also made no larger. Only a picture
# that would stay below the least side is enlarged more than three times.
_LEGIBLE_SIDE = 768
_LEAST_SIDE = 256
_OVERVIEW_COLUMNS = 4


def draw_prediction(
    image: Picture,
    prediction: Prediction,
    skeleton: Skeleton | None,
    *,
    colours: Sequence[int] | npt.NDArray[np.int64] | None = None,
    boxes: bool = True,
    masks: bool = True,
    keypoints: bool = True,
    links: bool = True,
    labels: bool = True,
    keypoint_threshold: float = KEYPOINT_THRESHOLD,
) -> Picture:
    """A new picture of the H x W x 3 RGB image with boxes, masks, skeletons and labels.

    Args:
        colours: N numbers, such as those of tracks; without them, an instance's place.
        boxes, masks, keypoints, links, labels: which of them are drawn; links join keypoints, and
            are drawn where these are.
        keypoint_threshold: of a keypoint's score, which must exceed it.
    """
    if skeleton is not None and not links:
        skeleton = replace(skeleton, links=())
    names = [
        f"{label} {score:.0%}"
        for label, score in zip(prediction.labels, prediction.scores, strict=True)
    ]
    return draw_instances(
        image,
        boxes=prediction.boxes if boxes else None,
        masks=list(prediction.masks) if masks and prediction.masks is not None else None,
        keypoints=prediction.keypoints if keypoints else None,
        labels=names if labels else None,
        colours=colours,
        skeleton=skeleton,
        keypoint_threshold=keypoint_threshold,
        scale=legible_scale(image),
    )


def legible_scale(image: Picture) -> int:
    """The factor by which a picture is enlarged to be legible: 1 to 3, or more for a tiny image."""
    side = max(image.shape[:2])
    return max(1, min(_LEGIBLE_SIDE // side, max(3, _LEAST_SIDE // side)))


def overview(pictures: Sequence[Picture]) -> Picture:
    """One sheet of several pictures, the large ones made smaller."""
    return grid([overview_cell(picture) for picture in pictures], _OVERVIEW_COLUMNS)


def overview_cell(picture: Picture) -> Picture:
    """The picture as it is in an overview."""
    cell = Image.fromarray(picture)
    cell.thumbnail((_LEGIBLE_SIDE, _LEGIBLE_SIDE))
    return np.array(cell)


def picture_names(files: Sequence[Path]) -> list[str]:
    """A .jpg name for the picture of each image: no two alike, whatever their suffixes and case."""
    taken = {OVERVIEW}
    names = []
    for file in files:
        name = f"{file.stem}.jpg"
        while name.lower() in taken:
            name = f"{file.name}.jpg" if name == f"{file.stem}.jpg" else f"_{name}"
        taken.add(name.lower())
        names.append(name)
    return names


def jpeg(picture: Picture, quality: int) -> bytes:
    """The content of a JPEG file; a picture that is too large for one is made smaller."""
    image = Image.fromarray(picture)
    image.thumbnail((_JPEG_SIDE, _JPEG_SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def json_head(
    run: str,
    classes: Sequence[str],
    skeleton: Skeleton | None,
    threshold: float,
    *,
    is_video: bool,
    rate: Fraction | None,
) -> dict[str, Any]:
    """The part of the JSON data that all images, or all frames of a video, share.

    Args:
        rate: frames a second, of a video; None where that is not known.
    """
    head: dict[str, Any] = {
        "run": run,
        "classes": list(classes),
        "keypoints": list(skeleton.keypoints) if skeleton is not None else [],
        "threshold": threshold,
    }
    if is_video:
        head["frames_per_second"] = None if rate is None else float(rate)
    return head


def to_json(
    file_name: str,
    prediction: Prediction,
    tracks: Sequence[int] | None = None,
    frame: int | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """One image's instances as JSON data, with the numbers of their tracks if there are any.

    Boxes are x, y, width, height; masks are COCO RLE; keypoints are x, y, score in pixel indices,
    as VIA and COCO hold them, absent for classes that have none.

    Args:
        frame, seconds: of a video, the frame's place and time.
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
        if prediction.mask_scores is not None:
            instance["mask_score"] = float(prediction.mask_scores[index])
        if prediction.keypoints is not None and not np.isnan(prediction.keypoints[index]).any():
            flat = to_pixel_index(prediction.keypoints[index])
            instance["keypoints"] = [flat[at : at + 3] for at in range(0, len(flat), 3)]
        if tracks is not None:
            instance["track"] = int(tracks[index])
        instances.append(instance)
    data = {
        "file_name": file_name,
        "width": prediction.width,
        "height": prediction.height,
        "instances": instances,
    }
    if frame is not None and seconds is not None:
        data |= {"frame": frame, "time": round(seconds, 6)}
    return data
