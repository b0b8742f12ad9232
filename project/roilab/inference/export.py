"""Predictions -> annotations that a person corrects: VIA records and COCO json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from roilab.data.dicts import to_pixel_index
from roilab.data.masks import rings_of
from roilab.inference.predictor import Prediction
from roilab.skeleton import Skeleton
from roilab.via import (
    Annotations,
    Attribute,
    Container,
    ImageRecord,
    Point,
    Polygon,
    Rect,
    Region,
    Shape,
)
from roilab.via.layout import image_key
from roilab.via.roles import TAGS

# As in Detectron2's own pictures: below, the heat map has no peak, and a joint may be anywhere.
KEYPOINT_THRESHOLD = 0.05
# How far, in pixels, an outline may leave a mask's edge, so that a person can drag its vertices.
_TOLERANCE = 0.75


def via_record(
    filename: str, size: int, found: Prediction, skeleton: Skeleton | None
) -> ImageRecord:
    """The instances of an image as VIA regions.

    An instance is a polygon for each part of its mask, or a rectangle where there is no mask, and a
    point for each keypoint whose score exceeds `KEYPOINT_THRESHOLD`; all carry the same `instance`
    and the instance's `score`. Holes of masks are filled.

    Args:
        size: of the file in bytes, by which VIA knows the image.
    """
    drawn: list[tuple[Shape, dict[str, str]]] = []
    for index in range(len(found)):
        values = {
            "class": found.labels[index],
            "instance": str(index + 1),
            "score": f"{found.scores[index]:.3f}",
        }
        drawn += [(shape, values) for shape in _outlines(found, index)]
        drawn += [
            (point, {**values, "keypoint": name}) for name, point in _points(found, index, skeleton)
        ]
    regions = tuple(Region(number, *each) for number, each in enumerate(drawn))
    return ImageRecord(image_key(filename, size), filename, size, regions)


def via_annotations(
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    skeleton: Skeleton | None,
    default_path: str,
) -> Annotations:
    """The records of images as one file, those with the least certain instance first.

    Images without an instance come last. The attributes carry the tags by which `via.label` knows
    their roles.
    """
    declared = [
        _choice("class", "what it is", classes),
        Attribute("instance", "text", f"the same for all of one object {TAGS['instance']}"),
        Attribute("score", "text", f"of the prediction {TAGS['score']}"),
    ]
    if skeleton is not None:
        declared.append(_choice("keypoint", "which keypoint", skeleton.keypoints))
        # The model does not say it; a person may.
        declared.append(_choice("visibility", "of the keypoint", ("visible", "occluded")))
    return Annotations(
        file="predictions",
        container=Container.VIA2_PROJECT,
        images=tuple(sorted(records, key=_certainty)),
        region_attributes={attribute.name: attribute for attribute in declared},
        file_attributes={},
        default_path=default_path,
    )


def coco_json(
    images: Sequence[Mapping[str, Any]], classes: Sequence[str], skeleton: Skeleton | None
) -> dict[str, Any]:
    """COCO json of what `to_json` made of each image; annotations have a `score` beside.

    Keypoints whose score does not exceed `KEYPOINT_THRESHOLD` are not labelled, all others visible.
    """
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
            if "segmentation" in found:
                row["segmentation"] = found["segmentation"]
                row["area"] = float(mask_utils.area(found["segmentation"]))
            if "keypoints" in found:
                flat = np.array(found["keypoints"]).reshape(-1, 3)
                flat[flat[:, 2] <= KEYPOINT_THRESHOLD] = 0
                flat[:, 2] = 2 * (flat[:, 2] > 0)
                row["keypoints"] = flat.ravel().tolist()
                row["num_keypoints"] = int((flat[:, 2] > 0).sum())
            annotations.append(row)
    categories: list[dict[str, Any]] = []
    for number, name in enumerate(classes, start=1):
        category: dict[str, Any] = {"id": number, "name": name, "supercategory": ""}
        if skeleton is not None and name in skeleton.classes:
            category["keypoints"] = list(skeleton.keypoints)
            category["skeleton"] = [[a + 1, b + 1] for a, b in skeleton.link_indices]
        categories.append(category)
    return {
        "info": {"description": "predicted by RoILab"},
        "images": [
            {"id": number, **{key: image[key] for key in ("file_name", "width", "height")}}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": categories,
    }


def _outlines(found: Prediction, index: int) -> list[Shape]:
    rings = [] if found.masks is None else rings_of(found.masks[index], _TOLERANCE)[0]
    if rings:
        return [Polygon(tuple(ring[::2]), tuple(ring[1::2])) for ring in rings]
    x0, y0, x1, y1 = (float(value) for value in found.boxes[index])
    # A box of no extent is no rectangle in VIA.
    return [Rect(x0, y0, max(x1 - x0, 0.001), max(y1 - y0, 0.001))]


def _points(found: Prediction, index: int, skeleton: Skeleton | None) -> list[tuple[str, Point]]:
    if skeleton is None or found.keypoints is None or np.isnan(found.keypoints[index]).any():
        return []
    flat = to_pixel_index(found.keypoints[index])
    return [
        (name, Point(x, y))
        for name, x, y, score in zip(
            skeleton.keypoints, flat[::3], flat[1::3], flat[2::3], strict=True
        )
        if score > KEYPOINT_THRESHOLD
    ]


def _certainty(image: ImageRecord) -> float:
    return min((float(str(region.attributes["score"])) for region in image.regions), default=2.0)


def _choice(role: str, text: str, values: Sequence[str]) -> Attribute:
    options = {value: value for value in values}
    return Attribute(role, "dropdown", f"{text} {TAGS[role]}", options)
