"""The model gives as many detections as an image has objects, and what is said of it is true."""

import shlex
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from roilab.engine import config
from roilab.engine.setup import fit_limits, limits_note
from roilab.skeleton import COCO_PERSON

LEAF = "configs/figures_mask_keypoint.py"
TOPK = "model.roi_heads.box_predictor.test_topk_per_image"
PROPOSALS = "model.proposal_generator.post_nms_topk"


def dataset(persons: int) -> Any:
    """One image with so many persons, and a crowd."""
    anno = {"image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 17}
    annotations = [*([anno] * persons), {**anno, "iscrowd": 1}]
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    records = [{"annotations": annotations}]
    return SimpleNamespace(coco_json=lambda: truth, records=records, skeleton=COCO_PERSON)


def fitted(persons: int, *overrides: str, leaf: str = LEAF) -> DictConfig:
    cfg = config.load_config(leaf, overrides)
    fit_limits(cfg, dataset(persons))
    return cfg


def limits(cfg: DictConfig) -> tuple[Any, Any]:
    """Detections, and proposals in evaluation."""
    return OmegaConf.select(cfg, TOPK), OmegaConf.select(cfg, PROPOSALS)[1]


def test_the_model_follows_the_objects_where_there_are_more_than_it_gives() -> None:
    assert limits(fitted(100)) == limits(config.load_config(LEAF)) == (None, 100)
    assert limits(fitted(101)) == (200, 200)
    assert limits(fitted(250)) == (300, 300)
    r50 = fitted(250, leaf="configs/mask_rcnn_R_50_FPN_1x.py")
    assert limits(r50) == (300, 1000)
    again = fitted(250)
    fit_limits(again, dataset(120))
    assert limits(again) == (300, 300)


def test_fewer_proposals_than_a_hundred_stay_where_they_are_enough() -> None:
    few = f"{PROPOSALS}=[40,20]"
    assert limits(fitted(20, few)) == (None, 20)
    assert limits(fitted(21, few)) == (None, 100)


def test_what_a_key_says_stays() -> None:
    assert limits(fitted(250, f"{TOPK}=50")) == (50, 100)
    assert limits(fitted(50, "evaluation.max_detections=400")) == (400, 100)
    assert limits(fitted(250, "evaluation.max_detections=150")) == (150, 150)


@pytest.mark.parametrize("persons", [21, 101, 250])
def test_nothing_is_left_out_by_default(persons: int) -> None:
    note = limits_note(fitted(persons), dataset(persons))
    best = f"the best {persons} count for"
    assert f"{best} keypoint AP" in note
    assert (f"{best} box AP and mask AP" in note) == (persons > 100)
    assert "left out" not in note


@pytest.mark.parametrize("persons", [21, 250])
def test_the_remedy_counts_what_is_left_out(persons: int) -> None:
    cfg = fitted(persons, "evaluation.max_detections=15")
    note = limits_note(cfg, dataset(persons))
    assert f"up to {persons}" in note
    assert f"left out by the model ({TOPK})" in note
    (override,) = shlex.split(note.partition("To count them: ")[2])
    assert limits_note(fitted(persons, override), dataset(persons)) == ""


def test_a_run_can_be_evaluated_on_data_with_more_objects(tmp_path) -> None:
    cfg = fitted(150, "data.num_classes=1", "data.num_keypoints=17")
    config.save_config(cfg, tmp_path / "config.yaml")
    note = limits_note(config.load_config(tmp_path / "config.yaml"), dataset(350))
    (override,) = shlex.split(note.partition("To count them: ")[2])
    again = config.load_config(tmp_path / "config.yaml", [override])
    fit_limits(again, dataset(350))
    assert limits_note(again, dataset(350)) == ""


def test_nothing_is_said_where_all_fit() -> None:
    assert limits_note(fitted(20), dataset(20)) == ""
    assert limits_note(fitted(100, leaf="configs/figures_mask.py"), dataset(100)) == ""
