"""Batches are a function of the seed and their number; what is broken is replaced and told."""

import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.utils import comm
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.data.loaders import eval_loader, train_loader
from roilab.data.sampling import BatchSampler, seed_everything, seeded
from roilab.data.workers import worker_count
from roilab.errors import UserError
from roilab.synthetic import FiguresPaths

AUGMENTATIONS = [T.ResizeShortestEdge([64, 96], 128, "choice"), T.RandomFlip()]


def dataset(figures: FiguresPaths) -> DetectionDataset:
    return load_dataset(
        str(figures.train), str(figures.train.parent), skeleton="coco_person", drop_empty=True
    )


def batches(data: DetectionDataset, count: int, **options):
    defaults = {"total_batch_size": 2, "masks": True, "keypoints": True, "num_workers": 0}
    loader = train_loader(data, augmentations=AUGMENTATIONS, **(defaults | options))
    return list(itertools.islice(loader, count))


def assert_same(first, second) -> None:
    for a, b in zip(itertools.chain(*first), itertools.chain(*second), strict=True):
        assert a["file_name"] == b["file_name"]
        assert torch.equal(a["image"], b["image"])
        for name in ("gt_boxes", "gt_keypoints"):
            x, y = a["instances"].get(name).tensor, b["instances"].get(name).tensor
            assert torch.equal(x, y)
        for p, q in zip(
            a["instances"].gt_masks.polygons, b["instances"].gt_masks.polygons, strict=True
        ):
            np.testing.assert_array_equal(np.concatenate(p), np.concatenate(q))


def test_workers_change_nothing(figures: FiguresPaths) -> None:
    data = dataset(figures)
    assert_same(batches(data, 7), batches(data, 7, num_workers=2))


def test_a_later_beginning_goes_on_with_the_same_batches(figures: FiguresPaths) -> None:
    data = dataset(figures)
    assert_same(batches(data, 8)[5:], batches(data, 3, first=5, num_workers=1))


def test_another_seed_gives_other_batches(figures: FiguresPaths) -> None:
    data = dataset(figures)
    first, second = batches(data, 6), batches(data, 6, seed=1)
    files = [[item["file_name"] for item in itertools.chain(*each)] for each in (first, second)]
    assert files[0] != files[1]


def test_loading_leaves_the_generators_alone(figures: FiguresPaths) -> None:
    data = dataset(figures)
    seed_everything(3)
    expected = np.random.rand(), torch.rand(1)  # noqa: NPY002
    seed_everything(3)
    batches(data, 2, num_workers=0)
    batches(data, 2, num_workers=1)
    assert (np.random.rand(), torch.rand(1)) == expected  # noqa: NPY002


@pytest.mark.parametrize("bitmasks", [False, True])
def test_items_are_those_of_detectron2(figures: FiguresPaths, bitmasks: bool) -> None:
    data = dataset(figures)
    stock = DatasetMapper(
        is_train=True,
        augmentations=AUGMENTATIONS,
        image_format="BGR",
        use_instance_mask=True,
        instance_mask_format="bitmask" if bitmasks else "polygon",
        use_keypoint=True,
        keypoint_hflip_indices=np.array(data.skeleton.flip_indices),
    )
    items = itertools.chain(*batches(data, 6, total_batch_size=1, bitmasks=bitmasks))
    for number, item in enumerate(items):
        record = next(r for r in data.records if r["file_name"] == item["file_name"])
        with seeded(0, 0, number):
            expected = stock(record)
        assert item.keys() == {*expected.keys(), "position"}
        assert torch.equal(item["image"], expected["image"])
        ours, theirs = item["instances"], expected["instances"]
        assert ours.get_fields().keys() == theirs.get_fields().keys()
        for name in ("gt_boxes", "gt_keypoints"):
            assert torch.equal(ours.get(name).tensor, theirs.get(name).tensor)
        if bitmasks:
            assert torch.equal(ours.gt_masks.tensor, theirs.gt_masks.tensor)


def test_records_are_not_changed(figures: FiguresPaths) -> None:
    data, before = dataset(figures), dataset(figures)
    batches(data, 3)
    list(eval_loader(data, augmentations=AUGMENTATIONS[:1], masks=True, num_workers=0))
    assert data.records == before.records


def broken(figures: FiguresPaths, folder: Path) -> tuple[DetectionDataset, str]:
    """The sample set with one image that is cut after its header."""
    shutil.copytree(figures.train.parent, folder)
    data = load_dataset(
        str(folder / figures.train.name), str(folder), skeleton="coco_person", drop_empty=True
    )
    file = Path(data.records[2]["file_name"])
    file.write_bytes(file.read_bytes()[:700])
    return data, str(file)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_replaced_and_told(
    figures: FiguresPaths, tmp_path: Path, workers: int
) -> None:
    data, file = broken(figures, tmp_path / "data")
    items = list(itertools.chain(*batches(data, 9, num_workers=workers)))
    told = [pair for item in items for pair in item.get("unreadable", ())]
    assert {name for name, _ in told} == {file}
    assert len(told) >= 3, "once in each pass over six images"
    assert all("truncated" in reason for _, reason in told)
    assert all(item["file_name"] != file and "image" in item for item in items)


def test_no_image_left(figures: FiguresPaths, tmp_path: Path) -> None:
    data, _ = broken(figures, tmp_path / "data")
    for record in data.records:
        Path(record["file_name"]).write_bytes(b"")
    item = batches(data, 1)[0][0]
    assert "image" not in item
    assert len(item["unreadable"]) > 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_stops_an_evaluation(
    figures: FiguresPaths, tmp_path: Path, workers: int
) -> None:
    data, file = broken(figures, tmp_path / "data")
    loader = eval_loader(data, augmentations=[], num_workers=workers)
    with pytest.raises(UserError) as error:
        list(loader)
    assert file in str(error.value)
    assert "truncated" in str(error.value)


def test_an_image_of_another_size_is_unreadable(figures: FiguresPaths, tmp_path: Path) -> None:
    data, _ = broken(figures, tmp_path / "data")
    record = data.records[0]
    Image.new("RGB", (5, 7)).save(record["file_name"])
    told = [
        pair for item in itertools.chain(*batches(data, 9)) for pair in item.get("unreadable", ())
    ]
    assert any("SizeMismatchError" in reason for _, reason in told)


@settings(max_examples=60)
@given(
    count=st.integers(1, 12),
    size=st.integers(1, 6),
    seed=st.integers(0, 9),
    first=st.integers(0, 9),
    wide=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_batches(count: int, size: int, seed: int, first: int, wide: list[bool]) -> None:
    def drawn(number: int, **options) -> list[list[tuple[int, int]]]:
        made = BatchSampler(count, size, seed=seed, wide=wide[:count], **options)
        return [list(batch) for batch in itertools.islice(made, number)]

    everything = drawn(first + 8)
    assert drawn(8, first=first) == everything[first:]
    for batch in everything:
        assert len(batch) == size
        assert len({wide[index] for _, index in batch}) == 1, "of one orientation"
    positions = [position for batch in everything for position, _ in batch]
    assert len(set(positions)) == len(positions), "no image is drawn twice"
    if size % 2 == 0:
        halves = [drawn(4, rank=rank, processes=2) for rank in (0, 1)]
        assert [a + b for a, b in zip(*halves, strict=True)] == everything[:4]


def test_each_pass_has_each_image_once() -> None:
    made = itertools.islice(BatchSampler(10, 5, seed=4), 6)
    order = [index for batch in made for _, index in batch]
    passes = [order[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(each) == list(range(10)) for each in passes)
    assert passes[0] != passes[1]


def test_workers_follow_the_cores(figures: FiguresPaths, monkeypatch, recwarn) -> None:
    data = dataset(figures)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert [worker_count(wanted) for wanted in (0, 1, 4, 64)] == [0, 1, 4, 4]
    monkeypatch.setattr(comm, "get_local_size", lambda: 8)
    assert [worker_count(wanted) for wanted in (0, 1, 4)] == [0, 1, 1]
    monkeypatch.undo()
    # torch warns where a loader has more than there are cores.
    train_loader(
        data, augmentations=[], masks=False, keypoints=False, total_batch_size=1, num_workers=999
    )
    eval_loader(data, augmentations=[], num_workers=999)
    assert not [str(each.message) for each in recwarn if "worker" in str(each.message)]
