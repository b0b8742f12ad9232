"""Predictions -> annotations that a person corrects: VIA records and COCO json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from pycocotools import mask as mask_utils

from roilab.data.coco_ids import CocoIds
from roilab.data.dataset_dicts import to_pixel_index
from roilab.data.mask_to_polygons import rings_of
from roilab.engine import config
from roilab.engine.run_folder import Run
from roilab.inference.predictor import Prediction
from roilab.skeleton import Skeleton
from roilab.via import (
    Annotations,
    Attribute,
    Container,
    ImageRecord,
    Point,
    Polygon,
    Problem,
    Rect,
    Region,
    Shape,
)
from roilab.via.records import TAGS, image_key

# Of a keypoint's score in [0, 1]: below, the heat map has no peak, and a joint may be anywhere.
KEYPOINT_THRESHOLD = 0.05
# How far, in pixels, an outline may leave a mask's edge, so that a person can drag its vertices.
_TOLERANCE = 0.75
_IMAGE_KEYS = ("file_name", "width", "height", "frame", "time")
# Role -> the attribute that has it, where the training data names none.
NAMES: Mapping[str, str] = {role: role for role in TAGS}


@dataclass(frozen=True, slots=True)
class PredictedImage(ImageRecord):
    """An image with predicted regions; `filled`: how many pixels the holes of each mask had."""

    filled: tuple[int, ...] = ()


def attribute_names(run: Run) -> dict[str, str]:
    """Role -> the attribute of the run's training data that has it, so that predictions fit them.

    Where the config names none, because it was found in the file, it is called as the role;
    `roilab.curation.merge` then brings the two under one name.
    """
    train = OmegaConf.select(config.read_config(run.config_file), "data.train.rules")
    train = train if isinstance(train, DictConfig) else {}
    keys = {role: train.get(f"{role}_attribute") for role in TAGS}
    # Several attributes that are a class each are predicted as one.
    named = {role: name if isinstance(name, str) else None for role, name in keys.items()}
    taken = set(filter(None, named.values()))
    return {
        role: name or (role if role not in taken else f"predicted {role}")
        for role, name in named.items()
    }


def via_record(
    filename: str,
    size: int,
    found: Prediction,
    skeleton: Skeleton | None,
    names: Mapping[str, str] = NAMES,
    keypoint_threshold: float = KEYPOINT_THRESHOLD,
) -> PredictedImage:
    """The instances of an image as VIA regions.

    An instance is a polygon for each part of its mask, or a rectangle where there is no mask, and a
    point for each keypoint whose score exceeds the threshold; all carry the same `instance`
    and the instance's `score`. Holes of masks are filled, and counted in the record.

    Args:
        size: of the file in bytes, by which VIA knows the image.
        names: of the attributes, see `attribute_names`.
    """
    drawn: list[tuple[Shape, dict[str, str]]] = []
    filled = []
    for index in range(len(found)):
        values = {
            names["class"]: found.labels[index],
            names["instance"]: str(index + 1),
            names["score"]: f"{found.scores[index]:.3f}",
        }
        outlines, holes = _outlines(found, index)
        if holes:
            filled.append(holes)
        drawn += [(shape, values) for shape in outlines]
        drawn += [
            (point, {**values, names["keypoint"]: name})
            for name, point in _points(found, index, skeleton, keypoint_threshold)
        ]
    return PredictedImage(
        key=image_key(filename, size),
        filename=filename,
        size=size,
        regions=tuple(Region(number, *each) for number, each in enumerate(drawn)),
        filled=tuple(filled),
    )


def via_annotations(
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    skeleton: Skeleton | None,
    default_path: str,
    names: Mapping[str, str] = NAMES,
) -> Annotations:
    """The records of images as one file, those with the least certain instance first.

    Images without an instance come last. The attributes carry the tags by which `via.label` knows
    their roles. Filled holes are a warning among the result's problems.

    Args:
        names: those that the records were made with.
    """
    declared = [
        _choice(names, "class", "what it is", classes),
        Attribute(names["instance"], "text", f"the same for all of one object {TAGS['instance']}"),
        Attribute(names["score"], "text", f"of the prediction {TAGS['score']}"),
    ]
    if skeleton is not None:
        declared.append(_choice(names, "keypoint", "which keypoint", skeleton.keypoints))
        # The model does not say it; a person may.
        declared.append(_choice(names, "visibility", "of the keypoint", ("visible", "occluded")))
    filled = [
        pixels
        for record in records
        if isinstance(record, PredictedImage)
        for pixels in record.filled
    ]
    problems = []
    if filled:
        message = f"holes are filled (masks: {len(filled)}, pixels: {sum(filled)}), since VIA has "
        message += "none; the picture and COCO json keep them"
        problems.append(Problem("warning", message, "", "predictions"))
    return Annotations(
        file="predictions",
        container=Container.VIA2_PROJECT,
        images=tuple(sorted(records, key=lambda image: _certainty(image, names["score"]))),
        region_attributes={attribute.name: attribute for attribute in declared},
        file_attributes={},
        default_path=default_path,
        problems=tuple(problems),
    )


def predictions_to_coco(
    images: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    category_ids: Sequence[int | str],
    skeleton: Skeleton | None,
    keypoint_threshold: float = KEYPOINT_THRESHOLD,
) -> dict[str, Any]:
    """COCO json of what `to_json` made of each image; annotations have a `score` beside.

    Of a video, images have `frame` and `time` as well, annotations a `track_id`.

    Keypoints whose score does not exceed the threshold are not labelled, all others visible.

    Args:
        images: in their order, which numbers them from 1.
        category_ids: of the classes, in their order: `roilab.engine.run_folder.Run.category_ids`.
    """
    ids = CocoIds({number: number for number in range(1, len(images) + 1)}, tuple(category_ids))
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        for found in image["instances"]:
            row = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": classes.index(found["class"]) + 1,
                "bbox": found["bbox"],
                "area": found["bbox"][2] * found["bbox"][3],
                "iscrowd": 0,
                "score": found["score"],
            }
            if "track" in found:
                row["track_id"] = found["track"]
            if "segmentation" in found:
                row["segmentation"] = found["segmentation"]
                row["area"] = float(mask_utils.area(found["segmentation"]))
            if "keypoints" in found:
                flat = np.array(found["keypoints"]).reshape(-1, 3)
                flat[flat[:, 2] <= keypoint_threshold] = 0
                flat[:, 2] = 2 * (flat[:, 2] > 0)
                row["keypoints"] = flat.ravel().tolist()
                row["num_keypoints"] = int((flat[:, 2] > 0).sum())
            annotations.append(row)
    categories: list[dict[str, Any]] = []
    for category_id, name in zip(ids.categories, classes, strict=True):
        category: dict[str, Any] = {"id": category_id, "name": name, "supercategory": ""}
        if skeleton is not None and name in skeleton.classes:
            category["keypoints"] = list(skeleton.keypoints)
            category["skeleton"] = [[a + 1, b + 1] for a, b in skeleton.link_indices]
        categories.append(category)
    return {
        "info": {"description": "predicted by RoILab"},
        "images": [
            {"id": number, **{key: image[key] for key in _IMAGE_KEYS if key in image}}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": ids.to_file(annotations),
        "categories": categories,
    }


def _outlines(found: Prediction, index: int) -> tuple[list[Shape], int]:
    """The outlines of an instance, and how many pixels of holes they enclose."""
    if found.masks is not None:
        rings, holes = rings_of(found.masks[index], _TOLERANCE)
        if rings:
            return [Polygon(tuple(ring[::2]), tuple(ring[1::2])) for ring in rings], holes
    x0, y0, x1, y1 = (float(value) for value in found.boxes[index])
    # A box of no extent is no rectangle in VIA.
    return [Rect(x0, y0, max(x1 - x0, 0.001), max(y1 - y0, 0.001))], 0


def _points(
    found: Prediction, index: int, skeleton: Skeleton | None, threshold: float
) -> list[tuple[str, Point]]:
    if skeleton is None or found.keypoints is None or np.isnan(found.keypoints[index]).any():
        return []
    flat = to_pixel_index(found.keypoints[index])
    return [
        (name, Point(x, y))
        for name, x, y, score in zip(
            skeleton.keypoints, flat[::3], flat[1::3], flat[2::3], strict=True
        )
        if score > threshold
    ]


def _certainty(image: ImageRecord, score: str) -> float:
    return min((float(str(region.attributes[score])) for region in image.regions), default=2.0)


def _choice(names: Mapping[str, str], role: str, text: str, values: Sequence[str]) -> Attribute:
    options = {value: value for value in values}
    return Attribute(names[role], "dropdown", f"{text} {TAGS[role]}", options)
