"""Intervals of differences: what they hold, and how often."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from roilab.evaluation import GroundTruth, average_precision, bootstrap
from roilab.evaluation.ap import METRICS

from .test_matches import without_objects
from .test_parity import scene


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_the_interval_holds_the_truth_in_95_of_100_cases(seeds: int) -> None:
    """Each image has a value of its own, each training adds one; both are drawn 400 times anew."""
    random = np.random.default_rng(seeds)
    images, truth, held = 60, 1.0, 0
    for _ in range(400):
        of_images = random.normal(truth, 2, images)
        # With one seed nothing is known of others: only images vary.
        of_seeds = random.normal(0, 0.3 if seeds > 1 else 0, (seeds, 1))
        values = of_images + of_seeds + random.normal(0, 0.5, (seeds, images))
        weights = random.multinomial(images, np.full(images, 1 / images), size=400)
        low, high = bootstrap.confidence_interval(
            values.mean(axis=1), values @ weights.T / images, random
        )
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.995


def ap_of(truth: GroundTruth, detections: list[dict[str, Any]], task: str = "bbox") -> np.ndarray:
    """1 + B."""
    matches = {"all": bootstrap.match_detections(truth, detections, task)}
    weights = bootstrap.image_weights(len(truth.coco["images"]))
    return bootstrap.metrics_of_draws(matches, weights)["AP"]


@pytest.mark.parametrize("task", ["bbox", "keypoints"])
def test_the_first_draw_is_cocos_figure(task: str) -> None:
    truth, detections = scene(0, 12, 5, 3)
    areas = ("all", "small", "medium", "large")
    matches = {area: bootstrap.match_detections(truth, detections, task, area) for area in areas}
    metrics = bootstrap.metrics_of_draws(matches, bootstrap.image_weights(12))
    first = {name: values[0] for name, values in metrics.items()}
    expected = average_precision(truth, detections, [task])[task]
    assert any(name.startswith("AP-") for name in expected)
    for name in METRICS.keys() | expected.keys():
        value = expected.get(name)
        assert np.isnan(first[name]) if value is None else first[name] == pytest.approx(value)


def test_an_arm_does_not_differ_from_itself() -> None:
    values = np.stack(2 * [ap_of(*scene(0, 8, 5, 3))])
    result = bootstrap.paired_difference(values, values, 8)
    assert result == bootstrap.PairedDifference(0, 0, 0, 8, 2)
    assert result.conclusion == "not distinguishable with 8 images and 2 seeds"


def test_two_sets_of_detections_of_one_scene() -> None:
    truth, detections = scene(0, 12, 5, 3)
    fewer = [row for row in detections if row["image_id"] % 2]
    tasks = ["bbox", "keypoints"]
    apart = bootstrap.compare_detections(truth, fewer, detections, tasks)
    assert list(apart) == tasks
    for task, difference in apart.items():
        ap = [average_precision(truth, rows, [task])[task]["AP"] for rows in (fewer, detections)]
        assert difference.value == pytest.approx(ap[0] - ap[1])
        assert difference.low <= difference.value < 0
    same = bootstrap.compare_detections(truth, detections, detections, tasks)
    assert set(same.values()) == {bootstrap.PairedDifference(0, 0, 0, 12, 1)}
    assert bootstrap.compare_detections(without_objects(truth), detections, detections, tasks) == {}


def test_boxes_that_are_moved_are_worse_and_the_order_of_arms_is_the_sign() -> None:
    truth, detections = scene(0, 40, 5, 3)
    moved = [{**row, "bbox": [v + 8 for v in row["bbox"]]} for row in detections]
    arm, baseline = (ap_of(truth, rows)[None] for rows in (moved, detections))
    pairs = ((arm, baseline), (baseline, arm))
    worse, better = (bootstrap.paired_difference(*pair, 40) for pair in pairs)
    assert worse is not None
    assert better is not None
    assert worse.low < worse.value < worse.high < 0
    # Whichever of them is called the baseline.
    turned = (-better.high, -better.value, -better.low)
    assert (worse.low, worse.value, worse.high) == pytest.approx(turned, rel=1e-12)
    sentences = ("worse with this 1 seed", "better with this 1 seed")
    assert (worse.conclusion, better.conclusion) == sentences
    assert replace(better, seeds=2).conclusion == "better"


def test_folds_are_drawn_by_themselves() -> None:
    """The mean over four folds of equal images varies half as much as one of them."""
    values = np.random.default_rng(1).random(50)
    means = [bootstrap.image_weights(50, fold)[1:] @ values / 50 for fold in range(4)]
    assert np.mean(means, axis=0).std() == pytest.approx(np.std(means[0]) / 2, rel=0.1)
    assert np.array_equal(bootstrap.image_weights(50, 0), bootstrap.image_weights(50))


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_interval_over_seeds_is_not_left_to_chance(seeds: int) -> None:
    """Of values that agree on all images, it is Student's, and the same both ways round."""
    random = np.random.default_rng(0)
    points = random.normal(0, 1, seeds)
    both = [
        bootstrap.confidence_interval(
            sign * points, np.repeat(sign * points[:, None], 2000, 1), np.random.default_rng(1)
        )
        for sign in (1, -1)
    ]
    assert both[0] == pytest.approx([-end for end in both[1][::-1]])
    t = {2: 12.706, 3: 4.303}[seeds]  # the 97.5% quantile
    error = points.std(ddof=1) / seeds**0.5
    assert both[0] == pytest.approx(
        [points.mean() - t * error, points.mean() + t * error], rel=0.02
    )


@pytest.mark.parametrize("task", ["bbox", "keypoints"])
def test_the_interval_of_an_ap_holds_the_truth(task: str) -> None:
    """The images of a large set are drawn 60 at a time, for an arm and a worse one."""
    truth, detections = scene(3, 400, 3, 2)
    random = np.random.default_rng(4)
    worse = [row for row in detections if random.random() < 0.9]
    arms = [{"all": bootstrap.match_detections(truth, rows, task)} for rows in (detections, worse)]
    once = np.ones((1, 400), int)
    whole = [bootstrap.metrics_of_draws(arm, once)["AP"][0] for arm in arms]
    held, trials = 0, 60
    for _ in range(trials):
        sample = random.choice(400, 60)
        weights = np.stack(
            [np.bincount(sample, minlength=400)]
            + [np.bincount(random.choice(sample, 60), minlength=400) for _ in range(200)]
        )
        values = [bootstrap.metrics_of_draws(arm, weights)["AP"][None] for arm in arms]
        result = bootstrap.paired_difference(*values, 60)
        assert result is not None
        held += result.low <= whole[0] - whole[1] <= result.high
    assert held / trials >= 0.85


def test_nothing_to_find_is_no_difference() -> None:
    truth, detections = scene(0, 3, 4, 2)
    values = ap_of(without_objects(truth), detections)[None]
    assert bootstrap.paired_difference(values, values, 3) is None


def test_ratio_of_times() -> None:
    seconds = np.random.default_rng(0).uniform(1, 2, 50)
    assert bootstrap.time_ratio(3 * seconds, seconds) == pytest.approx((3, 3, 3))
    value, low, high = bootstrap.time_ratio(seconds[::-1], seconds)
    assert low < value == 1 < high
