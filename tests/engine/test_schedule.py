"""Our schedules are Detectron2's at full length, and keep their warm-up at any other."""

import pytest
from detectron2.config import instantiate

from roilab.engine.config import load, upstream
from roilab.engine.schedule import warmup_cosine


@pytest.mark.parametrize(("name", "iterations"), [("1x", 90_000), ("3x", 270_000)])
def test_equal_to_upstream_at_full_length(name: str, iterations: int) -> None:
    theirs = instantiate(upstream("common/coco_schedule.py")[f"lr_multiplier_{name}"])
    ours = instantiate(load(f"configs/mask_rcnn_R_50_FPN_{name}.py").lr_multiplier)
    for step in range(0, iterations, 500):
        assert ours(step / iterations) == pytest.approx(theirs(step / iterations), rel=1e-6)


def test_a_short_run_keeps_its_warm_up() -> None:
    cfg = load("configs/mask_rcnn_R_50_FPN_1x.py", ["train.max_iter=4000"])
    schedule = instantiate(cfg.lr_multiplier)
    assert schedule(500 / 4000) == pytest.approx(0.5, abs=0.01)
    assert schedule(1000 / 4000) == pytest.approx(1.0)
    assert schedule(3000 / 4000) == pytest.approx(0.1)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_a_trial_of_a_few_iterations_has_a_schedule(iterations: int) -> None:
    cfg = load("configs/mask_rcnn_R_50_FPN_1x.py", [f"train.max_iter={iterations}"])
    schedule = instantiate(cfg.lr_multiplier)
    assert all(0 <= schedule(step / iterations) <= 1 for step in range(iterations))


def test_cosine_ends_low() -> None:
    schedule = warmup_cosine(max_iter=100, warmup_iters=10)
    assert schedule(0.0) < 0.01
    assert schedule(0.5) == pytest.approx(0.5, abs=0.02)
    assert schedule(1.0) == pytest.approx(0.01)
