"""Instances as a table: a row for each, as spreadsheets and data frames read it."""

from collections.abc import Mapping
from typing import Any

from roilab.skeleton import Skeleton


def columns(skeleton: Skeleton | None) -> list[str]:
    """The names of the columns: image, instance, box, keypoints."""
    names = ["file_name", "frame", "time", "track", "class", "score", "x", "y", "width", "height"]
    for keypoint in skeleton.keypoints if skeleton is not None else ():
        names += [f"{keypoint}_x", f"{keypoint}_y", f"{keypoint}_score"]
    return names


def rows(image: Mapping[str, Any], skeleton: Skeleton | None) -> list[list[Any]]:
    """A row for each instance of what `to_json` made of an image, empty where there is no value.

    Args:
        image: may have `frame` and `time` of a video, and its instances a `track`.
    """
    count = len(skeleton.keypoints) if skeleton is not None else 0
    found = []
    for instance in image["instances"]:
        keypoints = instance.get("keypoints", [("", "", "")] * count)
        values = [
            image["file_name"],
            image.get("frame", ""),
            image.get("time", ""),
            instance.get("track", ""),
            instance["class"],
            instance["score"],
            *instance["bbox"],
            *(value for keypoint in keypoints for value in keypoint),
        ]
        found.append([round(each, 4) if isinstance(each, float) else each for each in values])
    return found
