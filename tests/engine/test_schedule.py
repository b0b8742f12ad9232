"""Our schedules are Detectron2's at full length, and keep their warm-up at any other."""

import pytest
from detectron2.config import instantiate

from roilab.engine.config import load_config, upstream
from roilab.engine.schedule import peak_learning_rate, warmup_cosine, warmup_steps, warn_of_low_peak
from roilab.errors import UserError


@pytest.mark.parametrize(("name", "iterations"), [("1x", 90_000), ("3x", 270_000)])
def test_equal_to_upstream_at_full_length(name: str, iterations: int) -> None:
    theirs = instantiate(upstream("common/coco_schedule.py")[f"lr_multiplier_{name}"])
    cfg = load_config("configs/mask_rcnn_R_50_FPN_1x.py", [f"train.schedule={name}"])
    ours = instantiate(cfg.lr_multiplier)
    for step in range(0, iterations, 500):
        assert ours(step / iterations) == pytest.approx(theirs(step / iterations), rel=1e-6)


@pytest.mark.parametrize("leaf", ["mask_rcnn_R_50_FPN_1x", "figures_mask"])
@pytest.mark.parametrize("iterations", [20, 100, 300, 1000, 1400, 4000])
def test_a_short_run_warms_up_for_a_tenth_of_it(leaf: str, iterations: int) -> None:
    cfg = load_config(f"configs/{leaf}.py", [f"train.max_iter={iterations}"])
    schedule = instantiate(cfg.lr_multiplier)
    tenth = iterations // 10
    assert schedule(0.0) == pytest.approx(0.001)
    assert schedule(tenth / 2 / iterations) == pytest.approx(0.5, abs=0.03)
    share, iteration = peak_learning_rate(schedule, iterations)
    assert share > 0.97
    assert iteration == tenth + 1


def test_a_warm_up_that_is_set_is_kept() -> None:
    more = ["train.max_iter=4000", "lr_multiplier.warmup_iters=1000"]
    schedule = instantiate(load_config("configs/mask_rcnn_R_50_FPN_1x.py", more).lr_multiplier)
    assert schedule(500 / 4000) == pytest.approx(0.5, abs=0.01)
    assert schedule(1000 / 4000) == pytest.approx(1.0)
    assert schedule(3000 / 4000) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("iterations", "warm_up", "numbers"),
    [
        (300, 1000, ("optimizer.lr=0.02", "0.000199 (1%)", "at iteration 300 of 300")),
        (1400, 1000, ("(10%)", "at iteration 1001 of 1400")),
        # Of a long run, not every iteration is looked at, but the last is.
        (5000, 10_000, ("(1%)", "at iteration 5000 of 5000")),
        (1501, 1000, ()),
        (300, None, ()),
        (90_000, None, ()),
    ],
)
def test_a_run_that_never_reaches_its_rate_is_warned_of(
    caplog, iterations: int, warm_up: int | None, numbers: tuple[str, ...]
) -> None:
    schedule = warmup_steps(iterations, warm_up, [2 / 3, 8 / 9])
    warn_of_low_peak(schedule, iterations, 0.02)
    assert bool(caplog.text) == bool(numbers)
    assert all(number in caplog.text for number in numbers)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_a_trial_of_a_few_iterations_has_a_schedule(iterations: int) -> None:
    cfg = load_config("configs/mask_rcnn_R_50_FPN_1x.py", [f"train.max_iter={iterations}"])
    schedule = instantiate(cfg.lr_multiplier)
    assert all(0 <= schedule(step / iterations) <= 1 for step in range(iterations))


def test_cosine_ends_low() -> None:
    schedule = warmup_cosine(max_iter=100, warmup_iters=10)
    assert schedule(0.0) < 0.01
    assert schedule(0.5) == pytest.approx(0.5, abs=0.02)
    assert schedule(1.0) == pytest.approx(0.01)


def test_an_unknown_schedule_names_those_there_are() -> None:
    file = "configs/mask_rcnn_R_50_FPN_cityscapes.py"
    with pytest.raises(UserError, match="one of fine, coco") as error:
        load_config(file, ["train.schedule=cocoo"])
    assert (error.value.key, error.value.remedy) == ("train.schedule", "give train.schedule=coco")
    assert load_config(file, ["train.schedule=coco"]).train.max_iter == 4000
