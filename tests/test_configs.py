"""Every shipped config builds, and the run folder's copy of it builds the same model."""

from pathlib import Path

import pytest
import torch
from detectron2.config import instantiate

from roilab.engine import config
from roilab.engine.build_data import annotations_for

CONFIGS = sorted(path.name for path in Path("configs").glob("*.py"))


def build(cfg):
    with torch.device("meta"):
        return instantiate(cfg.model)


def test_every_combination_ships() -> None:
    for task in ("mask", "keypoint", "mask_keypoint"):
        assert {f"{task}_rcnn_R_{depth}_FPN_1x.py" for depth in (50, 101)} <= set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_builds_and_round_trips(name: str, tmp_path) -> None:
    cfg = config.load_config(f"configs/{name}", ["data.num_classes=2", "data.num_keypoints=5"])
    model = build(cfg)
    config.save_config(cfg, tmp_path / "config.yaml")
    again = build(config.load_config(tmp_path / "config.yaml"))
    assert str(model) == str(again)
    heads = model.roi_heads
    assert heads.num_classes == 2
    needed = annotations_for(cfg.model)
    assert (heads.mask_on, heads.keypoint_on) == (needed["masks"], needed["keypoints"])
    assert needed["bitmasks"] == name.startswith("point_rend")
    text = (Path("configs") / name).read_text()
    assert f"configs/{name}" in text.split('"""')[1], "the docstring shows the command"


@pytest.mark.parametrize("depth", [50, 101])
def test_depth_and_schedule_are_what_the_name_says(depth: int) -> None:
    for schedule, iterations in (("1x", 90_000), ("3x", 270_000)):
        path = f"configs/mask_rcnn_R_{depth}_FPN_1x.py"
        cfg = config.load_config(path, [f"train.schedule={schedule}"])
        assert cfg.model.backbone.bottom_up.stages.depth == depth
        assert cfg.train.max_iter == iterations
        assert cfg.train.output_dir == f"outputs/mask_rcnn_R_{depth}_FPN_{schedule}"
        drops = cfg.lr_multiplier.drops
        cfg = config.load_config(path, [f"train.schedule={schedule}", "train.max_iter=7"])
        assert (cfg.train.max_iter, cfg.lr_multiplier.drops) == (7, drops)
    cfg = config.load_config(path, ["lr_multiplier.drops=[0.5]"])
    assert cfg.lr_multiplier.drops == [0.5]


def test_the_baseline_is_upstreams_model() -> None:
    """The same parameters as Detectron2's own lazy config builds."""
    theirs = config.upstream("common/models/mask_rcnn_fpn.py")
    ours = config.load_config("configs/mask_rcnn_R_50_FPN_1x.py", ["data.num_classes=80"])
    shapes = [{k: v.shape for k, v in build(cfg).state_dict().items()} for cfg in (theirs, ours)]
    assert shapes[0] == shapes[1]
