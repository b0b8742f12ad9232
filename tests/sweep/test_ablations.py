"""The sweep files that ship: sound, every arm builds, and no arm is another one's twin."""

from pathlib import Path

import pytest
import torch
from detectron2.config import instantiate

from roilab.engine import config
from roilab.engine.build_data import annotations_for, tasks_of
from roilab.engine.config_keys import target_of
from roilab.sweep import load_sweep, resolve
from roilab.sweep.plan import plan_trials

ABLATIONS = Path(__file__).parents[2] / "configs/ablations"
FILES = sorted(ABLATIONS.glob("*.py"))

sweep_files = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


def test_every_sweep_has_a_small_variant() -> None:
    """Every one of COCO; others are of the sample set, of a small set or of Cityscapes alone."""
    names = {file.stem for file in FILES}
    big = {name for name in names if not name.startswith(("figures_", "balloon_", "cityscapes"))}
    assert len(big) >= 8
    assert {f"figures_{name}" for name in big} <= names


@sweep_files
def test_definition_is_sound(file: Path) -> None:
    sweep = load_sweep(file)
    assert len(sweep.arms) > 1
    assert sweep.metrics
    assert list(sweep.seeds) == sorted(sweep.seeds)
    assert bool(sweep.source) == any(arm.published for arm in sweep.arms)
    assert sweep.question
    assert f"roilab sweep configs/ablations/{file.name} " in file.read_text().split('"""')[1]


def test_arms_of_the_balloon_set_train_on_crops_of_one_size() -> None:
    sweep = load_sweep(ABLATIONS / "balloon_augmentation.py")
    for arm in sweep.arms:
        loader = config.load_config(arm.config_file, arm.overrides).dataloader.train
        nodes = {target_of(node).__name__: node for node in loader.augmentations}
        assert nodes["ResizeScale"].target_height == nodes["ResizeScale"].target_width == 512
        assert list(nodes["FixedSizeCrop"].crop_size) == [320, 320], arm.name
    # No trial reads the set's own validation images, and each fold has its own.
    trials = [trial.overrides for trial in plan_trials(sweep, Path("out"))]
    assert not any("balloon/val" in text for texts in trials for text in texts)
    assert len({tuple(text for text in texts if ".files=" in text) for texts in trials}) == 5


@sweep_files
def test_every_arm_builds_and_differs(file: Path) -> None:
    # It builds the model of each arm, and refuses arms that are the same.
    sweep = resolve(load_sweep(file))
    built = []
    for arm in sweep.arms:
        cfg = config.load_config(arm.config_file, arm.overrides)
        assert (cfg.pooler.aggregation, cfg.pooler.sampling_ratio) != ("max", 1), (
            f"{arm.name}: the maximum of one sample is its average"
        )
        needed = annotations_for(cfg.model)
        if needed not in built:  # each combination of heads once
            built.append(needed)
            cfg.data.update(num_classes=2, num_keypoints=5)
            with torch.device("meta"):
                heads = instantiate(cfg.model).roi_heads
            assert (heads.mask_on, heads.keypoint_on) == (needed["masks"], needed["keypoints"])
        if arm.name == sweep.baseline:
            tasks = tasks_of(cfg.model.roi_heads)
            lacking = [metric for metric in sweep.metrics if metric.partition("/")[0] not in tasks]
            assert not lacking, "nothing can be compared with the baseline"
