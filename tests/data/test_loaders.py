"""Left and right follow the augmentations, batches the seed, and workers end with their process."""

import copy
import itertools
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.structures import Instances
from detectron2.utils import comm
from fvcore.transforms.transform import (
    CropTransform,
    HFlipTransform,
    PadTransform,
    Transform,
    TransformList,
    VFlipTransform,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from roilab.data.coco import CocoIds
from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.data.loaders import Mapper, eval_loader, mirrors, train_loader
from roilab.data.sampling import BatchSampler, seed_everything, seeded
from roilab.data.workers import worker_count
from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.synthetic import FiguresPaths

HEIGHT, WIDTH = 40, 64
# Left, right and nose: seen from the person's front, left is at the right of the image.
KEYPOINTS = np.array([[40.0, 30.0, 2.0], [20.0, 28.0, 2.0], [31.0, 12.0, 2.0]])


class Affine(Transform):
    """A user's own transform: the linear part and the shift of an affine map."""

    def __init__(self, linear: list[list[float]], shift: tuple[float, float] = (0, 0)) -> None:
        super().__init__()
        self.matrix = np.column_stack([np.array(linear, float), np.array(shift, float)])

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(img, self.matrix, (WIDTH, HEIGHT))

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords @ self.matrix[:, :2].T + self.matrix[:, 2]


H, V = HFlipTransform(WIDTH), VFlipTransform(HEIGHT)
TURN = T.RotationTransform(HEIGHT, WIDTH, 180, expand=False)
TRANSPOSE = Affine([[0, 1], [1, 0]])
FLIPS = [T.RandomFlip(prob=1), T.RandomFlip(prob=1, horizontal=False, vertical=True)]


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ([], False),
        ([H], True),
        ([V], True),
        ([H, V], False),
        ([H, H], False),
        ([V, V, V], True),
        ([TURN], False),
        ([TURN, V], True),
        ([T.RotationTransform(HEIGHT, WIDTH, 33)], False),
        ([T.RotationTransform(HEIGHT, WIDTH, 90), H], True),
        ([TRANSPOSE], True),
        ([TRANSPOSE, H], False),
        ([Affine([[-1, 0.3], [0.2, 1]], (WIDTH, 0))], True),
        ([Affine([[1, 0.3], [-0.2, 1]])], False),
        ([T.ExtentTransform((10, 5, 50, 35), (20, 30))], False),
        ([T.ExtentTransform((50, 5, 10, 35), (20, 30))], True),
        ([T.ExtentTransform((50, 35, 10, 5), (20, 30))], False),
        ([CropTransform(7, 3, 30, 20), VFlipTransform(20)], True),
        ([T.ResizeTransform(HEIGHT, WIDTH, 80, 32), PadTransform(1, 2, 3, 4)], False),
        ([TransformList([H, TransformList([V])]), TURN, TransformList([V])], True),
    ],
)
def test_a_mirror_is_seen_by_its_determinant(transforms: list[Transform], expected: bool) -> None:
    assert mirrors(TransformList(transforms), HEIGHT, WIDTH) is expected
    with_colours = [T.ColorTransform(lambda image: image), *transforms]
    assert mirrors(TransformList(with_colours), HEIGHT, WIDTH) is expected


@pytest.fixture
def record(tmp_path: Path) -> dict:
    file = tmp_path / "image.png"
    cv2.imwrite(str(file), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    anno = {
        "bbox": [10.0, 5.0, 50.0, 35.0],
        "bbox_mode": 0,
        "category_id": 0,
        "keypoints": KEYPOINTS.flatten().tolist(),
    }
    size = {"height": HEIGHT, "width": WIDTH}
    return {"file_name": str(file), "image_id": 1, **size, "annotations": [anno]}


TRIANGLE = Skeleton(
    name="triangle",
    classes=("person",),
    keypoints=("left", "right", "nose"),
    swaps=(("left", "right"),),
    links=(),
    sigmas=(0.1,) * 3,
)


def augmented(
    record: dict, *augmentations: object, skeleton: Skeleton | None = TRIANGLE, keypoints: bool
) -> Instances:
    ids = CocoIds.numbered([1], 1)
    dataset = DetectionDataset("one", (record,), ("person",), skeleton, ids)
    mapper = Mapper(dataset, augmentations, masks=False, keypoints=keypoints)
    return mapper(record)["instances"]


def keypoints(record: dict, *augmentations: object) -> np.ndarray:
    """K x 3 of the one annotation, augmented."""
    instances = augmented(record, *augmentations, keypoints=True)
    return instances.gt_keypoints.tensor[0].numpy()


def test_a_flip_of_boxes_alone_moves_them(record: dict) -> None:
    for skeleton in (TRIANGLE, None):
        instances = augmented(record, FLIPS[0], skeleton=skeleton, keypoints=False)
        assert instances.gt_boxes.tensor.tolist() == [[WIDTH - 50, 5, WIDTH - 10, 35]]
        assert not instances.has("gt_keypoints")


def handedness(points: np.ndarray) -> float:
    """Twice the signed area of the triangle of left, right and nose, in pixels."""
    left, right, nose = points[:, :2]
    return float(np.linalg.det(np.stack([right - left, nose - left])))


@pytest.mark.parametrize("flip", [*FLIPS, TRANSPOSE], ids=["h", "v", "user's"])
def test_a_flip_twice_is_the_identity(record: dict, flip: object) -> None:
    once, twice = keypoints(record, flip), keypoints(record, flip, flip)
    assert np.array_equal(twice, KEYPOINTS)
    assert not np.array_equal(once, KEYPOINTS)


def test_both_flips_are_a_rotation(record: dict) -> None:
    assert np.allclose(keypoints(record, *FLIPS), keypoints(record, TURN))


@pytest.mark.parametrize("seed", range(20))
def test_left_stays_left_of_a_person(record: dict, seed: int) -> None:
    """In any image of a person, however turned and mirrored, the labels are those of a person.

    The triangle of left, right and nose has one sense of rotation, so the names of a mirrored
    person have to be exchanged, and those of a turned one not.
    """
    random_ = random.Random(seed)
    steps = [
        *random_.choices(FLIPS, k=random_.randint(1, 3)),
        T.RandomRotation([random_.uniform(-180, 180)] * 2, expand=True),
        T.RandomFlip(prob=0.5, horizontal=False, vertical=True),
    ]
    random_.shuffle(steps)
    np.random.seed(seed)  # noqa: NPY002 (Detectron2's augmentations draw from it)
    points = keypoints(record, *steps)
    assert (points[:, 2] == 2).all()
    assert handedness(points) == pytest.approx(handedness(KEYPOINTS), rel=1e-4)


@pytest.mark.parametrize(
    ("augmentations", "expected"),
    [
        ([], []),
        ([T.RandomFlip(prob=0), T.RandomFlip(prob=1)], ["RandomFlip"]),
        ([T.RandomFlip(prob=0), T.RandomContrast(0.5, 0.5)], ["RandomContrast"]),
        ([T.RandomApply(T.RandomBrightness(2, 2), prob=1)], ["RandomBrightness"]),
        ([H], ["HFlipTransform"]),
        ([T.RandomApply(H, prob=0), T.FixedSizeCrop((20, 20))], ["FixedSizeCrop"]),
    ],
)
def test_items_name_what_changed_them(
    record: dict, augmentations: list, expected: list[str]
) -> None:
    dataset = DetectionDataset("one", (record,), ("person",), None, CocoIds.numbered([1], 1))
    item = Mapper(dataset, augmentations, masks=False, keypoints=False)(record)
    assert item["transforms"] == expected


AUGMENTATIONS = [T.ResizeShortestEdge([64, 96], 128, "choice"), T.RandomFlip()]


@pytest.fixture
def data(figures: FiguresPaths) -> DetectionDataset:
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


def test_workers_change_nothing(data: DetectionDataset) -> None:
    assert_same(batches(data, 7), batches(data, 7, num_workers=2))


def test_a_later_beginning_goes_on_with_the_same_batches(data: DetectionDataset) -> None:
    assert_same(batches(data, 8)[5:], batches(data, 3, first=5, num_workers=1))


def test_another_seed_gives_other_batches(data: DetectionDataset) -> None:
    first, second = batches(data, 6), batches(data, 6, seed=1)
    files = [[item["file_name"] for item in itertools.chain(*series)] for series in (first, second)]
    assert files[0] != files[1]


def test_loading_leaves_the_generators_alone(data: DetectionDataset) -> None:
    seed_everything(3)
    expected = np.random.rand(), torch.rand(1)  # noqa: NPY002
    seed_everything(3)
    batches(data, 2, num_workers=0)
    batches(data, 2, num_workers=1)
    assert (np.random.rand(), torch.rand(1)) == expected  # noqa: NPY002


@pytest.mark.parametrize("bitmasks", [False, True])
def test_items_are_those_of_detectron2(data: DetectionDataset, bitmasks: bool) -> None:
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
        assert item.keys() == {*expected.keys(), "position", "transforms"}
        assert torch.equal(item["image"], expected["image"])
        ours, theirs = item["instances"], expected["instances"]
        assert ours.get_fields().keys() == theirs.get_fields().keys()
        for name in ("gt_boxes", "gt_keypoints"):
            assert torch.equal(ours.get(name).tensor, theirs.get(name).tensor)
        if bitmasks:
            assert torch.equal(ours.gt_masks.tensor, theirs.gt_masks.tensor)


def test_records_are_not_changed(data: DetectionDataset) -> None:
    before = copy.deepcopy(data.records)
    batches(data, 3)
    list(eval_loader(data, augmentations=AUGMENTATIONS[:1], masks=True, num_workers=0))
    assert data.records == before


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
    unreadable = [pair for item in items for pair in item.get("unreadable", ())]
    assert {name for name, _ in unreadable} == {file}
    assert len(unreadable) >= 3, "once in each pass over six images"
    assert all("truncated" in reason for _, reason in unreadable)
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
    items = itertools.chain(*batches(data, 9))
    unreadable = [pair for item in items for pair in item.get("unreadable", ())]
    assert any("SizeMismatchError" in reason for _, reason in unreadable)


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
        sampler = BatchSampler(count, size, seed=seed, wide=wide[:count], **options)
        return [list(batch) for batch in itertools.islice(sampler, number)]

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
    first_batches = itertools.islice(BatchSampler(10, 5, seed=4), 6)
    order = [index for batch in first_batches for _, index in batch]
    passes = [order[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(indices) == list(range(10)) for indices in passes)
    assert passes[0] != passes[1]


def test_workers_follow_the_cores(data: DetectionDataset, monkeypatch, recwarn) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert [worker_count(workers) for workers in (0, 1, 4, 64)] == [0, 1, 4, 4]
    monkeypatch.setattr(comm, "get_local_size", lambda: 8)
    assert [worker_count(workers) for workers in (0, 1, 4)] == [0, 1, 1]
    monkeypatch.undo()
    # torch warns where a loader has more than there are cores.
    train_loader(
        data, augmentations=[], masks=False, keypoints=False, total_batch_size=1, num_workers=999
    )
    eval_loader(data, augmentations=[], num_workers=999)
    assert not [str(warning.message) for warning in recwarn if "worker" in str(warning.message)]


HOLDS_ITS_BATCHES = """
import sys
from roilab.data.dataset import load_dataset
from roilab.data.loaders import train_loader
from roilab.via import LabelRules

if __name__ == "__main__":
    data = load_dataset(sys.argv[1], rules=LabelRules(class_attribute="class"))
    sys.kept = iter(
        train_loader(
            data, augmentations=[], masks=False, keypoints=False, total_batch_size=2, num_workers=1
        )
    )
    next(sys.kept)
    sys.exit(3)
"""


def test_a_process_that_holds_its_batches_ends(figures: FiguresPaths, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(HOLDS_ITS_BATCHES)
    done = subprocess.run(
        [sys.executable, script, str(figures.train)],
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "project")},
        check=False,
    )
    assert done.returncode == 3


@pytest.mark.parametrize("error", ["ConnectionResetError", "EOFError", "ValueError"])
def test_a_worker_says_no_more_of_its_end_than_the_main_process(error: str) -> None:
    """A thread that hands a tensor over is cut when the main process ends."""
    code = f"""
import multiprocessing, sys, threading
from roilab.data.workers import leave_signals

def worker():
    leave_signals()
    try:
        raise {error}("cut")
    except Exception:
        sys.excepthook(*sys.exc_info())

begun = multiprocessing.get_context("fork").Process(target=worker)
begun.start()
begun.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("ValueError: cut" in done.stderr) == (error == "ValueError")
    assert ("Traceback" in done.stderr) == (error == "ValueError")
