"""Problems of a whole file, beside those of its regions and images."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roilab.curation.check import check_annotations
from roilab.data.annotated_images import read_annotations
from roilab.image_files import ImageFolder
from roilab.skeleton import COCO_PERSON, Skeleton
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
        found = check_annotations(read(path), ImageFolder(tmp_path), rules, skeleton)
        assert not found.errors
        messages = [each.message for each in found.problems if "labelled keypoint" in each.message]
        if points or skeleton is None:
            assert not messages
        else:
            (message,) = messages
            assert "none of the 2 objects" in message


NAMES = COCO_PERSON.keypoints


@pytest.mark.parametrize(
    ("skeleton", "names", "keypoints", "is_warned"),
    [
        (None, NAMES, [0] * 51, True),
        (COCO_PERSON, NAMES, [0] * 51, True),
        (None, NAMES, None, True),  # declared, and no annotation has any
        (COCO_PERSON, NAMES, None, True),
        (None, NAMES, [5, 5, 2, *[0] * 48], False),
        (COCO_PERSON, NAMES, [5, 5, 2, *[0] * 48], False),
        (None, (), None, False),
    ],
)
def test_coco_objects_without_any_labelled_keypoint(
    skeleton: Skeleton | None,
    names: tuple[str, ...],
    keypoints: list[int] | None,
    is_warned: bool,
    tmp_path: Path,
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    person = {"image_id": 1, "category_id": 1, "bbox": [2, 2, 9, 9], "iscrowd": 0}
    more = {} if keypoints is None else {"keypoints": keypoints}
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 32}],
        "annotations": [person | more | {"id": number} for number in (1, 2, 3)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    found = check_annotations(read_annotations(path), ImageFolder(tmp_path), LabelRules(), skeleton)
    assert not found.errors
    messages = [each.message for each in found.problems if "labelled keypoint" in each.message]
    assert [("3 objects" in each) for each in messages] == [True] * is_warned
