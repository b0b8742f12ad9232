"""The ids of annotation files: there and back, and for classes that a file does not have."""

from typing import Any

import pytest

from roilab.data.coco import CocoIds, category_ids, image_numbers
from roilab.errors import UserError

IDS = CocoIds({4: 900, 7: "street", 9: 1}, (500, 3))
ROWS: list[dict[str, Any]] = [
    {"image_id": 7, "category_id": 2, "score": 0.5},
    {"image_id": 9, "category_id": 1, "score": 0.25},
]


def test_there_and_back() -> None:
    written = IDS.to_file(ROWS)
    assert written == [
        {"image_id": "street", "category_id": 3, "score": 0.5},
        {"image_id": 1, "category_id": 500, "score": 0.25},
    ]
    assert IDS.from_file(written) == ROWS == [dict(row) for row in ROWS]


def test_data_without_ids_keep_their_numbers() -> None:
    ids = CocoIds.numbered([4, 7, 9], 2)
    assert ids.to_file(ROWS) == ids.from_file(ROWS) == ROWS
    assert ids.categories == (1, 2)


@pytest.mark.parametrize("row", [{"image_id": 7}, {"category_id": 1}])
def test_ids_of_another_file_are_refused(row: dict[str, int]) -> None:
    with pytest.raises(UserError) as caught:
        IDS.from_file([{"image_id": 900, "category_id": 3} | row])
    assert caught.value.key == next(iter(row))


def test_classes_that_the_file_does_not_have() -> None:
    ids = category_ids(["van", "car", "bus", "bike"], {"bike": 3, "car": 500})
    assert ids == (501, 500, 502, 3)
    assert category_ids(["a", "b"], {}) == (1, 2)
    assert category_ids(["a", "b"], {"b": "x"}) == (1, "x")


@pytest.mark.parametrize("other", ["street", None, -1, True, 2**53])
def test_images_have_their_own_ids_where_all_are_numbers(other: Any) -> None:
    """From 2**53 on, a number of JSON is not exact."""
    assert image_numbers([7, 0, 2**53 - 1]) == [7, 0, 2**53 - 1]
    assert image_numbers([7, other]) == [1, 2]
