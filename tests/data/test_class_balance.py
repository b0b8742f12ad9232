"""Images of rare classes are drawn more often, as LVIS has it, and their instances weigh more."""

import itertools
from collections import Counter

import numpy as np
import pytest
from detectron2.data.samplers import RepeatFactorTrainingSampler
from hypothesis import given, settings
from hypothesis import strategies as st

from roilab.data.class_balance import (
    class_repeat_factor,
    class_weights,
    describe_repeats,
    instances_by_class,
    repeat_factors,
)
from roilab.data.coco import CocoIds
from roilab.data.dataset import DetectionDataset
from roilab.data.sampling import BatchSampler

CLASSES = ("person", "car", "boat")


def dataset_of(images: list[list[int]], crowds: int = 0) -> DetectionDataset:
    """Images whose instances have these classes; the first has so many crowds of boats as well."""
    records = [
        {"file_name": f"{number}.png", "annotations": [{"category_id": index} for index in indices]}
        for number, indices in enumerate(images)
    ]
    records[0]["annotations"] += [{"category_id": 2, "iscrowd": 1}] * crowds
    ids = CocoIds.numbered(range(len(records)), len(CLASSES))
    return DetectionDataset("some", tuple(records), CLASSES, None, ids)


IMAGES = st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=12)


@given(images=IMAGES, threshold=st.floats(0, 1))
def test_an_image_is_drawn_as_its_rarest_class_asks(
    images: list[list[int]], threshold: float
) -> None:
    counts = Counter(index for indices in images for index in set(indices))
    factors = repeat_factors(dataset_of(images), threshold)
    for indices, factor in zip(images, factors, strict=True):
        asked = [class_repeat_factor(counts[index], len(images), threshold) for index in indices]
        assert factor == pytest.approx(max(asked, default=1.0), rel=1e-6)


def test_the_factors_are_detectron2s() -> None:
    dataset = dataset_of([[0], [0, 0, 1], [0, 2], [], [0, 1]])
    theirs = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        dataset.records, 0.9
    )
    assert repeat_factors(dataset, 0.9) == theirs.tolist()
    assert theirs[2] == pytest.approx((0.9 * 5) ** 0.5)


def test_crowds_are_no_instances() -> None:
    assert repeat_factors(dataset_of([[0], [0, 2]], crowds=3), 1.0) == repeat_factors(
        dataset_of([[0], [0, 2]]), 1.0
    )


def test_the_log_names_rare_classes() -> None:
    dataset = dataset_of([[0], [0], [0], [0, 1]])
    assert describe_repeats(dataset, 0.9) == (
        "a pass draws 1.22 times as many images; those of rare classes: car 1.90"
    )
    assert "each class is in at least 25.00%" in describe_repeats(dataset, 0.25)


def drawn(number: int, size: int, repeats: list[float] | None, **more) -> list[list[tuple]]:
    """The first batches of images of which every other one is wide."""
    count = len(repeats or [0] * 7)
    wide = [index % 2 == 0 for index in range(count)]
    sampler = BatchSampler(count, size, seed=3, wide=wide, repeats=repeats, **more)
    return [list(batch) for batch in itertools.islice(sampler, number)]


@settings(max_examples=40)
@given(
    repeats=st.lists(st.floats(1, 4), min_size=1, max_size=9),
    size=st.sampled_from([2, 4]),
    first=st.integers(0, 9),
)
def test_batches_with_repeats(repeats: list[float], size: int, first: int) -> None:
    """They go on where they are begun later, and processes share them."""
    everything = drawn(first + 6, size, repeats)
    assert drawn(6, size, repeats, first=first) == everything[first:]
    halves = [drawn(5, size, repeats, rank=rank, processes=2) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == everything[:5]
    for batch in everything:
        assert len({index % 2 for _, index in batch}) == 1, "of one orientation"
    positions = [position for batch in everything for position, _ in batch]
    assert len(set(positions)) == len(positions), "each time is augmented in its own way"


def test_a_pass_has_each_image_as_often_as_its_factor() -> None:
    repeats = [1.0, 2.0, 1.25, 3.5]
    order = BatchSampler(len(repeats), 1, seed=0, repeats=repeats)._order()
    passes = 400
    counts = Counter(itertools.islice(order, round(passes * sum(repeats))))
    shares = np.array([counts[index] for index in range(4)]) / passes
    np.testing.assert_allclose(shares, repeats, rtol=0.03)
    whole = BatchSampler(3, 1, seed=0, repeats=[1.0, 2.0, 3.0])._order()
    for _ in range(5):
        assert sorted(itertools.islice(whole, 6)) == [0, 1, 1, 2, 2, 2]


def test_without_repeats_the_order_is_that_of_earlier_versions() -> None:
    """A run that was begun before there were any goes on with its images."""
    order = list(itertools.islice(BatchSampler(5, 1, seed=7)._order(), 10))
    expected = [np.random.default_rng([7, turn]).permutation(5).tolist() for turn in (0, 1)]
    assert order == [*expected[0], *expected[1]]


COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=8)


@given(counts=COUNTS, beta=st.floats(0, 0.99999))
def test_weights_of_classes(counts: list[int], beta: float) -> None:
    weights = class_weights(counts, beta)
    assert all(np.isfinite(weight) and weight > 0 for weight in weights)
    if any(counts):
        assert np.average(weights, weights=counts) == pytest.approx(1)
    assert all(weight == 1 for weight, count in zip(weights, counts, strict=True) if not count)
    by_count = sorted(pair for pair in zip(counts, weights, strict=True) if pair[0])
    for (_, rarer), (_, commoner) in itertools.pairwise(by_count):
        assert rarer >= commoner * (1 - 1e-9)


def test_weights_are_those_of_the_paper() -> None:
    """A class with one instance has an effective number of one."""
    one, many = class_weights([1, 3], 0.5)
    assert one / many == pytest.approx(1 + 0.5 + 0.25)
    assert class_weights([1, 40], 0.0) == [1, 1]
    # Towards 1, the effective number is the number: all classes together weigh the same.
    rare, common = class_weights([1, 1000], 1 - 1e-9)
    assert rare / common == pytest.approx(1000, rel=1e-3)


def test_instances_are_counted_without_crowds() -> None:
    assert instances_by_class(dataset_of([[0, 0, 1], [], [0]], crowds=2)) == [3, 1, 0]
