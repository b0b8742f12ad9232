"""Where an evaluation leaves objects out, the override that counts them is named, and works."""

import shlex
from types import SimpleNamespace
from typing import Any

import pytest

from roilab.engine import config
from roilab.engine.validate import limits_note
from roilab.skeleton import COCO_PERSON

LEAF = "configs/figures_mask_keypoint.py"


def dataset(persons: int) -> Any:
    """One image with so many persons."""
    anno = {"image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 17}
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [anno] * persons,
    }
    return SimpleNamespace(coco_json=lambda: truth, skeleton=COCO_PERSON)


@pytest.mark.parametrize("persons", [21, 100, 101, 250])
def test_the_remedy_counts_them(persons: int) -> None:
    note = limits_note(config.load(LEAF), dataset(persons))
    assert f"up to {persons}" in note
    overrides = shlex.split(note.partition("To count them: ")[2])
    assert limits_note(config.load(LEAF, overrides), dataset(persons)) == ""
    assert any("post_nms_topk" in text for text in overrides) == (persons > 100)


def test_nothing_is_said_where_all_fit() -> None:
    assert limits_note(config.load(LEAF), dataset(20)) == ""
    assert limits_note(config.load("configs/figures_mask.py"), dataset(100)) == ""


def test_the_model_alone_may_give_fewer() -> None:
    key = "model.roi_heads.box_predictor.test_topk_per_image"
    note = limits_note(config.load(LEAF, [f"{key}=10"]), dataset(15))
    assert "1 of 1 images has more than 10 objects" in note
    assert f"the model ({key})" in note
