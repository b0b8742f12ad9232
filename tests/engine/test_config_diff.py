"""Differences of configs: relations between a config, its copies and its overrides."""

import copy
from pathlib import Path

import pytest
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from omegaconf import DictConfig, OmegaConf
from torch import nn

from roilab.engine import config, config_diff
from roilab.engine.config_diff import ABSENT, ConfigDifference, difference_table, differences

from .hostile import LOCATE, call

RELU, SHAPE = "torch.nn.modules.activation.ReLU", "detectron2.layers.shape_spec.ShapeSpec"
NO_SIZE = {"height": None, "width": None, "stride": None}
LEAVES = ("mask_keypoint_rcnn_R_101_FPN_1x", "point_rend_R_50_FPN_1x", "figures_mask_keypoint")


def node(**values: object) -> DictConfig:
    return OmegaConf.create(values, flags={"allow_objects": True})


def pairs(rows: list[ConfigDifference]) -> dict[str, tuple[object, object]]:
    return {row.key: (row.before, row.after) for row in rows}


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_config_its_copy_and_what_is_saved_of_it_are_equal(leaf: str, tmp_path: Path) -> None:
    """Also before the data has filled in the number of classes."""
    cfg = config.load_config(f"configs/{leaf}.py")
    assert differences(cfg, copy.deepcopy(cfg)) == []
    config.save_config(cfg, tmp_path / "config.yaml")
    assert differences(cfg, config.load_config(tmp_path / "config.yaml")) == []


def test_an_override_and_what_follows_it() -> None:
    cfg = config.load_config(f"configs/{LEAVES[2]}.py")
    other = config.override(copy.deepcopy(cfg), ["pooler.op=roi_pool"])
    changed = pairs(differences(cfg, other))
    followers = {f"model.roi_heads.{n}_pooler.op" for n in ("box", "mask", "keypoint")}
    assert changed.keys() == {"pooler.op", *followers}
    assert set(changed.values()) == {("roi_align", "roi_pool")}
    assert pairs(differences(other, cfg)) == {k: (b, a) for k, (a, b) in changed.items()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {"a": "None"}),
        ({"a": None}, {"a": "null"}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": {}}, {"a": []}),
        ({"a": {}}, {"a": None}),
        ({"a": nn.ReLU}, {"a": nn.GELU}),
        ({"a": nn.ReLU}, {"a": "ReLU"}),
    ],
)
def test_values_that_differ(before: dict, after: dict) -> None:
    (row,) = differences(node(**before), node(**after))
    assert row.key == "a"
    assert config_diff.yaml_text(row.before) != config_diff.yaml_text(row.after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({"a": "${b}", "b": 3}, {"a": 3, "b": 3}),
        ({"a": ["${b}"], "b": 3}, {"a": [3], "b": 3}),
        ({"a": nn.ReLU}, {"a": RELU}),
        # As `config.save_config` writes them.
        ({"a": nn.ReLU}, {"a": call(LOCATE, name=RELU)}),
        ({"a": L(nn.ReLU)()}, {"a": call(RELU)}),
        ({"a": ShapeSpec(channels=3)}, {"a": call(SHAPE, channels=3, **NO_SIZE)}),
    ],
)
def test_values_that_are_equal(before: dict, after: dict) -> None:
    assert differences(node(**before), node(**after)) == []
    assert differences(node(**after), node(**before)) == []


def test_what_only_one_side_has() -> None:
    first, second = node(a={"x": 1}, c=0), node(a={"y": "-"}, c=0)
    assert pairs(differences(first, second)) == {"a.x": (1, ABSENT), "a.y": (ABSENT, "-")}
    rows = [line.split() for line in difference_table(differences(first, second)).splitlines()]
    assert rows[0] == ["key", "base", "here"]
    assert rows[2:] == [["a.x", "1", "-"], ["a.y", "-", "'-'"]]


def test_a_list_of_nodes_is_compared_node_by_node() -> None:
    first = node(augmentations=[L(nn.ReLU)(inplace=True), L(nn.GELU)()])
    second = node(augmentations=[L(nn.ReLU)(inplace=False)])
    assert pairs(differences(first, second)) == {
        "augmentations.0.inplace": (True, False),
        "augmentations.1._target_": ("torch.nn.modules.activation.GELU", ABSENT),
    }


def test_nothing_is_changed() -> None:
    cfg = config.load_config(f"configs/{LEAVES[2]}.py")
    before = OmegaConf.to_container(cfg, resolve=False)
    differences(cfg, node(model=None))
    assert OmegaConf.to_container(cfg, resolve=False) == before


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("a", "x" * 300, 1),
        ("a", 1, "x" * 300),
        ("a", "x" * 300, "y" * 300),
        ("model." * 50, "x" * 300, [1, 2] * 90),
        ("a", "several\nlines" * 9, nn.ReLU()),
    ],
)
def test_a_table_is_legible(key: str, before: object, after: object) -> None:
    rows = [ConfigDifference(key, before, after), ConfigDifference("b.c", 1, None)]
    lines = difference_table(rows).splitlines()
    assert len(lines) == 4
    assert all(len(line) <= 100 for line in lines)
    assert lines[-1].split() == ["b.c", "1", "null"]
    # A row keeps both ends of what it shortens, and short values whole.
    assert "..." in lines[2]
    for value in (before, after):
        assert config_diff.yaml_text(value)[:5] in lines[2]
        assert lines[2].count(config_diff.yaml_text(value)[-5:]) >= 1
