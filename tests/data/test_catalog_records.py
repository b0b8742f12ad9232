"""What of an annotation of DatasetCatalog lies in its image."""

from typing import Any

import pytest

from roilab.data.catalog_records import is_left
from roilab.skeleton import COCO_PERSON

WIDTH, HEIGHT = 40, 30
SEEN = [3.5, 4.5, 2.0] + [0.0, 0.0, 0.0] * 16


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 5, 5], True),
        ([-4, -4, 1, 1], True),
        ([-4, 0, 0, 5], False),
        ([0, -4, 5, 0], False),
        ([39, 29, 44, 34], True),
        ([40, 0, 44, 5], False),
        ([0, 30, 5, 34], False),
        ([3, 4, 3, 9], False),
        ([3, 4, 9, 4], False),
    ],
)
def test_a_box_is_left_where_it_has_an_area_in_the_image(box: list[float], expected: bool) -> None:
    anno: dict[str, Any] = {"bbox": box, "iscrowd": 0, "keypoints": [0.0] * 51}
    assert is_left(anno, WIDTH, HEIGHT, None) is expected
    assert is_left(anno, WIDTH, HEIGHT, COCO_PERSON) is expected
    # Keypoints stand for an object whose box has no extent.
    is_empty = box[0] == box[2] or box[1] == box[3]
    assert is_left(anno | {"keypoints": SEEN}, WIDTH, HEIGHT, COCO_PERSON) is (expected or is_empty)
    assert is_left(anno | {"iscrowd": 1}, WIDTH, HEIGHT, None)
    # An outline says more than a box.
    outside = {"segmentation": [[50.0, 1.0, 60.0, 1.0, 60.0, 9.0]]}
    assert not is_left(anno | outside, WIDTH, HEIGHT, None)
