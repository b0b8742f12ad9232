"""Problems of a whole file, beside those of its regions and images."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roilab.data.check import examine
from roilab.images import ImageFolder
from roilab.skeleton import COCO_PERSON
from roilab.via import LabelRules, read


@pytest.mark.parametrize("points", [0, 1])
def test_objects_without_any_labelled_keypoint(points: int, tmp_path: Path) -> None:
    regions = []
    for x in (2, 16):
        box = {"name": "rect", "x": x, "y": 2, "width": 12, "height": 20}
        regions.append({"shape_attributes": box, "region_attributes": {"class": "person"}})
    nose = {"name": "point", "cx": 8, "cy": 8}
    labels = {"class": "person", "keypoint": "nose"}
    regions += [{"shape_attributes": nose, "region_attributes": labels}] * points
    entry = {"filename": "a.png", "size": -1, "regions": regions, "file_attributes": {}}
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    path = tmp_path / "via.json"
    path.write_text(json.dumps({"a.png-1": entry}))
    keypoint = "keypoint" if points else None
    rules = LabelRules(class_attribute="class", keypoint_attribute=keypoint)
    for skeleton in (None, COCO_PERSON) if not points else (COCO_PERSON,):
        found = examine(read(path), ImageFolder(tmp_path), rules, skeleton)
        assert not found.errors
        messages = [each.message for each in found.problems if "labelled keypoint" in each.message]
        if points or skeleton is None:
            assert not messages
        else:
            (message,) = messages
            assert "none of the 2 objects" in message
