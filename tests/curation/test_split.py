"""Dividing images: by content, by class, and never a picture in both parts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab.curation.split import (
    classes_missing_in_folds,
    fold_images,
    split_images,
    stratified_folds,
    stratified_split,
)
from roilab.errors import UserError
from roilab.via import Annotations, Container, ImageRecord, Rect, Region, build_instances

labels = st.sets(st.sampled_from("abc"), max_size=3)
groups = st.dictionaries(st.text(max_size=4), labels, min_size=2, max_size=40)
shares = st.floats(0.05, 0.95)


@given(groups, shares, st.integers(0, 5))
def test_both_parts_have_pictures(groups: dict[str, set[str]], share: float, seed: int) -> None:
    first = stratified_split(groups, share, seed)
    assert first < set(groups)
    assert first


@given(groups, shares, st.integers(0, 5), st.randoms())
def test_order_has_no_influence(groups, share, seed, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(groups.items())
    random.shuffle(shuffled)
    assert stratified_split(dict(shuffled), share, seed) == stratified_split(groups, share, seed)


@given(st.lists(st.sampled_from("abc"), min_size=10, max_size=60), shares)
def test_each_class_has_its_share(names: list[str], share: float) -> None:
    groups = {str(number): {name} for number, name in enumerate(names)}
    first = stratified_split(groups, share, 0)
    for name in set(names):
        of_class = [key for key, labels in groups.items() if name in labels]
        part = len(first & set(of_class))
        assert abs(part - share * len(of_class)) <= 1.5


def test_shares_of_many_labels_at_once() -> None:
    groups = {
        str(n): {name for name, every in (("a", 2), ("b", 3), ("rare", 25)) if n % every == 0}
        for n in range(200)
    }
    first = stratified_split(groups, 0.8, 0)
    assert len(first) == pytest.approx(160, abs=2)
    for name in ("a", "b", "rare"):
        of_class = {key for key, labels in groups.items() if name in labels}
        assert len(first & of_class) == pytest.approx(0.8 * len(of_class), abs=1)


@given(st.integers(0, 9), st.floats(0.5, 0.95), st.sets(st.sampled_from("xyz")))
def test_a_rare_class_is_in_both_parts(seed: int, share: float, others: set[str]) -> None:
    groups: dict[str, set[str]] = {str(number): {"a"} for number in range(10)}
    groups |= {"10": {"rare", *others}, "11": {"rare"}, "12": {"alone"}}
    first = stratified_split(groups, share, seed)
    assert len(first & {"10", "11"}) == 1
    assert 0 < len(first & set("0123456789")) < 10


@given(groups, shares, st.integers(0, 5))
def test_what_is_in_one_part_cannot_be_in_both(
    groups: dict[str, set[str]], share: float, seed: int
) -> None:
    first = stratified_split(groups, share, seed)
    for name in {name for labels in groups.values() for name in labels}:
        having = {key for key in groups if name in groups[key]}
        if having <= first or not having & first:
            # Every picture of it is the only one in its part of this or another label.
            part = first if having <= first else set(groups) - first
            assert all(
                any(sum(other in groups[k] for k in part) == 1 for other in groups[key])
                for key in having
            )


@given(groups, st.data(), st.integers(0, 5), st.randoms())
def test_every_picture_is_in_one_fold(groups, data, seed, random) -> None:  # type: ignore[no-untyped-def]
    folds = data.draw(st.integers(2, len(groups)))
    parts = stratified_folds(groups, folds, seed)
    assert len(parts) == folds
    assert all(parts)
    assert sorted(key for part in parts for key in part) == sorted(groups)
    shuffled = list(groups.items())
    random.shuffle(shuffled)
    assert stratified_folds(dict(shuffled), folds, seed) == parts


@given(st.lists(st.sampled_from("abc"), min_size=5, max_size=60), st.integers(2, 5))
def test_each_class_is_spread_over_the_folds(names: list[str], folds: int) -> None:
    groups = {str(number): {name} for number, name in enumerate(names)}
    parts = stratified_folds(groups, folds, 0)
    for name in set(names):
        of_class = {key for key, labels in groups.items() if name in labels}
        counts = [len(part & of_class) for part in parts]
        assert max(counts) - min(counts) <= 2
        assert len(of_class) < folds or min(counts) > 0


def test_two_folds_are_the_halves_of_a_split() -> None:
    groups = {str(n): {"ab"[n % 2], "cd"[n % 3 == 0]} for n in range(31)}
    assert stratified_folds(groups, 2, 7)[0] == stratified_split(groups, 0.5, 7)


@pytest.mark.parametrize("folds", [-1, 0, 1, 4, 10**9])
def test_numbers_of_folds_that_are_none(folds: int) -> None:
    with pytest.raises(UserError, match="folds") as caught:
        stratified_folds({"a": [], "b": [], "c": []}, folds, 0)
    assert "3 different pictures" in str(caught.value)


def test_another_seed_divides_otherwise() -> None:
    groups: dict[str, set[str]] = {str(number): set() for number in range(40)}
    assert stratified_split(groups, 0.5, 0) == stratified_split(groups, 0.5, 0)
    assert stratified_split(groups, 0.5, 0) != stratified_split(groups, 0.5, 1)


@pytest.mark.parametrize("share", [0, 1, -0.5, 80, float("nan")])
def test_shares_that_are_none(share: float) -> None:
    with pytest.raises(UserError, match="share"):
        stratified_split({"a": [], "b": []}, share, 0)


def test_one_picture_cannot_be_divided() -> None:
    with pytest.raises(UserError, match="1 different pictures"):
        stratified_split({"a": []}, 0.5, 0)


def test_copies_stay_together(tmp_path: Path) -> None:
    records = []
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(bytes([number % 10]) * 9)
        region = Region(0, Rect(0, 0, 5, 5), {"kind": "ab"[number % 2]})
        records.append(ImageRecord(f"{number}", f"{number}.jpg", 9, (region,)))
    source = Annotations("via.json", Container.VIA2_JSON, tuple(records), {}, {})
    labelled = build_instances(source)
    folds, *counts = fold_images(labelled, lambda record: tmp_path / record.filename, 5, 0)
    assert (counts, [len(fold) for fold in folds]) == ([10, 0], [4] * 5)
    assert all(any({str(n), str(n + 10)} <= fold for fold in folds) for n in range(10))
    assert classes_missing_in_folds(labelled, folds) == []
    even, odd = ({str(n) for n in range(start, 20, 2)} for start in (0, 1))
    (problem, _) = classes_missing_in_folds(labelled, [even, odd])
    assert "'a' is in 1 of 2 folds only, in 10 images" in problem.message
    keys, copies, missing = split_images(
        build_instances(source), lambda record: tmp_path / record.filename, 0.5, 0
    )
    assert (copies, missing) == (10, 0)
    assert all((str(n) in keys) == (str(n + 10) in keys) for n in range(10))
    # The name says nothing: the same pictures under other names are divided alike.
    for number in range(20):
        (tmp_path / f"{number}.jpg").rename(tmp_path / f"x{number}.png")
    renamed, _, _ = split_images(
        build_instances(source), lambda record: tmp_path / f"x{record.key}.png", 0.5, 0
    )
    assert renamed == keys
    assert split_images(build_instances(source), lambda _: None, 0.5, 0)[1:] == (0, 20)
