"""Configs that earlier versions saved are read with the names of today."""

from pathlib import Path

import pytest
from detectron2.utils.registry import locate

from roilab.engine import config
from roilab.engine.old_names import RULES, TARGETS, with_new_names
from roilab.engine.trusted import read_yaml
from roilab.via import LabelRules

RUNS = Path(__file__).parent
ATTRIBUTES = ("class", "keypoint", "instance", "visibility")


@pytest.mark.parametrize(
    ("run", "rules"),
    [
        ("run_3c816bb", LabelRules(**{f"{name}_attribute": name for name in ATTRIBUTES})),
        ("run_fe98d7c", LabelRules()),
    ],
)
def test_rules_of_layout_1_are_one_node(run: str, rules: LabelRules) -> None:
    file = RUNS / run / "config.yaml"
    assert set(RULES) <= set(read_yaml(file)["data"]["train"])
    assert not {"masks", "keypoints"} & set(config.read_config(file).dataloader.train)
    data = config.read_config(file).data
    for node in (data, data.train, data.val):
        assert not set(RULES) & set(node)
        assert config.build(node.rules, "rules") == rules


def test_targets_are_renamed_wherever_they_stand() -> None:
    for old, new in TARGETS.items():
        assert callable(locate(new))
        call = {"_target_": "detectron2.utils.registry.locate", "name": old}
        saved = {"a": [{"_target_": old, "name": "x"}, call], "text": old}
        here = {"a": [{"_target_": new, "name": "x"}, {**call, "name": new}], "text": old}
        assert with_new_names(saved) == here
        assert saved["text"] == saved["a"][0]["_target_"] == old


@pytest.mark.parametrize(
    "data", [None, [], "text", {"data": None}, {"data": {"train": 1}}, {"dataloader": 1}]
)
def test_what_is_no_config_stays(data: object) -> None:
    assert with_new_names(data) == data
