"""Pasted instances cover what is behind them: pixels, masks, boxes and keypoints agree."""

import copy
import itertools
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks
from detectron2.structures.masks import polygons_to_bitmask
from hypothesis import given, settings
from hypothesis import strategies as st

from roilab.data.copy_paste import CopyPaste, paste_instances
from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.data.loaders import train_loader
from roilab.data.sampling import seed_everything
from roilab.errors import UserError
from roilab.synthetic import FiguresPaths

Item = dict[str, Any]
PASTED = 100  # the first class of the instances of the other image; the item's are 0, 1, ...


def scene(
    seed: int, count: int, size: tuple[int, int], *, bitmasks: bool = False, first: int = 0
) -> Item:
    """An image of noise with polygons of some corners and two keypoints each, and its classes."""
    rng = np.random.default_rng([seed, first])
    height, width = size
    image = torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8))
    instances = Instances(size)
    polygons = []
    for _ in range(count):
        corners = rng.uniform(0, 1, (rng.integers(3, 7), 2)) * rng.uniform(0.1, 1, 2)
        polygons.append([(corners * (width, height)).ravel()])
    masks: Any = PolygonMasks(polygons)
    if count:  # as `annotations_to_instances` leaves them out
        points = rng.uniform(0, 0.999, (count, 2, 3)) * (width, height, 3)
        points[..., 2] = points[..., 2].astype(int)
        instances.gt_keypoints = Keypoints(points)
        instances.gt_masks = masks
        if bitmasks:
            instances.gt_masks = BitMasks(torch.from_numpy(bitmaps(instances)))
    instances.gt_boxes = masks.get_bounding_boxes() if count else Boxes(torch.zeros(0, 4))
    instances.gt_classes = torch.arange(first, first + count)
    return {"file_name": f"{first}.png", "image": image, "instances": instances}


def bitmaps(instances: Instances) -> np.ndarray:
    """N x H x W."""
    if not len(instances):
        return np.zeros((0, *instances.image_size), bool)
    masks = instances.gt_masks
    if isinstance(masks, BitMasks):
        return masks.tensor.numpy()
    return np.stack([polygons_to_bitmask(rings, *instances.image_size) for rings in masks.polygons])


def same_outline(first: Any, second: Any) -> bool:
    if isinstance(first, BitMasks):
        return torch.equal(first.tensor, second.tensor)
    rings = zip(first.polygons[0], second.polygons[0], strict=True)
    return all(np.array_equal(a, b) for a, b in rings)


sizes = st.tuples(st.integers(8, 30), st.integers(8, 30))
scenes = {
    "seed": st.integers(0, 10**6),
    "counts": st.tuples(st.integers(0, 5), st.integers(0, 4)),
    "size": sizes,
    "bitmasks": st.booleans(),
}


@settings(max_examples=150)
@given(**scenes, min_visible=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_what_is_pasted_covers_what_is_behind(
    seed: int, counts: tuple[int, int], size: tuple[int, int], bitmasks: bool, min_visible: float
) -> None:
    item = scene(seed, counts[0], size, bitmasks=bitmasks)
    other = scene(seed, counts[1], size, bitmasks=bitmasks, first=PASTED)
    before = copy.deepcopy((item, other))
    source = other["instances"]
    result = paste_instances(item, other["image"], source, min_visible)

    # Nothing is changed in place.
    for one, was in zip((item, other), before, strict=True):
        assert torch.equal(one["image"], was["image"])
        assert (bitmaps(one["instances"]) == bitmaps(was["instances"])).all()

    masks = bitmaps(source)
    covered = masks.any(axis=0) if len(masks) else np.zeros(size, bool)
    front = torch.from_numpy(covered)
    assert torch.equal(result["image"][:, front], other["image"][:, front])
    assert torch.equal(result["image"][:, ~front], item["image"][:, ~front])

    instances = result["instances"]
    classes = instances.gt_classes
    after = bitmaps(instances)
    pasted = instances[classes >= PASTED]
    drawn = source[torch.from_numpy(masks.any(axis=(1, 2)))]
    assert torch.equal(pasted.gt_classes, drawn.gt_classes)
    assert (bitmaps(pasted) == bitmaps(drawn)).all()
    if len(drawn):
        assert torch.equal(pasted.gt_boxes.tensor, drawn.gt_boxes.tensor)
        assert torch.equal(pasted.gt_keypoints.tensor, drawn.gt_keypoints.tensor)
    assert not (after[(classes < PASTED).numpy()] & covered).any(), "nobody lies before them"

    own = item["instances"]
    for number, mask in enumerate(bitmaps(own)):
        [place] = torch.nonzero(classes == number).flatten().tolist() or [None]
        visible = mask & ~covered
        is_covered = bool((mask & covered).any())
        if place is None:
            assert is_covered
            assert visible.sum() < max(1, min_visible * mask.sum())
            continue
        assert after[place].sum() + (mask & covered).sum() == mask.sum()
        assert (after[place] == visible).all()
        if is_covered:
            assert visible.sum() >= max(1, min_visible * mask.sum())
            rows, columns = np.nonzero(visible)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert instances.gt_boxes.tensor[place].tolist() == tight
        else:
            assert same_outline(instances[place].gt_masks, own[number].gt_masks)
            assert torch.equal(instances.gt_boxes.tensor[place], own.gt_boxes.tensor[number])
        points = zip(
            instances.gt_keypoints.tensor[place], own.gt_keypoints.tensor[number], strict=True
        )
        for (x, y, v), was_point in points:
            assert [x, y] == was_point[:2].tolist()
            is_hidden = was_point[2] == 2 and covered[int(y), int(x)]
            assert v == (1 if is_hidden else was_point[2])


def square(x: float, y: float, side: float, size: tuple[int, int] = (20, 20)) -> Item:
    """A black image with one square."""
    item = scene(0, 1, size)
    ring = np.array([x, y, x + side, y, x + side, y + side, x, y + side])
    item["instances"].gt_masks = PolygonMasks([[ring]])
    item["instances"].gt_boxes = item["instances"].gt_masks.get_bounding_boxes()
    item["image"] = torch.zeros(3, *size, dtype=torch.uint8)
    return item


def test_a_hole_is_part_of_no_mask() -> None:
    item, other = square(2, 2, 16), square(6, 6, 4)
    instances = paste_instances(item, other["image"], other["instances"], 0.1)["instances"]
    assert bitmaps(instances).sum(axis=(1, 2)).tolist() == [16 * 16 - 4 * 4, 4 * 4]
    assert instances.gt_boxes.tensor.tolist() == [[2, 2, 18, 18], [6, 6, 10, 10]]


@pytest.mark.parametrize(
    ("place", "size", "is_pasted"),
    [
        ((4, 4, 6), (20, 20), True),
        ((4, 4, 6), (12, 30), True),
        ((4, 4, 6), (40, 12), True),
        ((4, 16, 6), (30, 20), False),  # below the image
        ((16, 4, 6), (20, 30), False),  # right of it
        ((16, 16, 6), (20, 20), True),  # both images cut it
    ],
)
@pytest.mark.parametrize("bitmasks", [False, True])
def test_another_size(place: tuple, size: tuple[int, int], is_pasted: bool, bitmasks: bool) -> None:
    item, other = square(0, 0, 9), square(*place, size=size)
    if bitmasks:
        for one in (item["instances"], other["instances"]):
            one.gt_masks = BitMasks(torch.from_numpy(bitmaps(one)))
    other["image"][:] = 255
    result = paste_instances(item, other["image"], other["instances"], 0.1)
    assert len(result["instances"]) == 1 + is_pasted
    assert result["instances"].image_size == (20, 20)
    assert bitmaps(result["instances"]).shape[1:] == (20, 20)
    expected = bitmaps(other["instances"]).sum() if is_pasted else 0
    assert int((result["image"] == 255).sum()) == 3 * expected


def test_a_mask_without_a_pixel_is_not_pasted() -> None:
    item, other = square(2, 2, 8), square(6.1, 6.1, 0.2)
    assert not bitmaps(other["instances"]).any()
    assert paste_instances(item, other["image"], other["instances"], 0.1) is item


def test_shares_and_probabilities() -> None:
    item, other = scene(1, 3, (30, 30)), scene(1, 4, (30, 30), first=PASTED)
    assert CopyPaste(share=0)(item, other) is item
    result = CopyPaste(share=1)(item, other)
    assert (result["pasted_from"], result["transforms"]) == ("100.png", ["CopyPaste"])
    everything = result["instances"].gt_classes
    assert everything[everything >= PASTED].tolist() == [100, 101, 102, 103]
    seed_everything(0)
    drawn = [len(CopyPaste(share=0.25, min_visible=0)(item, other)["instances"]) for _ in range(9)]
    assert len(set(drawn)) > 1
    assert not any(CopyPaste(probability=0).is_drawn() for _ in range(50))
    assert all(CopyPaste().is_drawn() for _ in range(50))
    assert {CopyPaste(probability=0.5).is_drawn() for _ in range(50)} == {False, True}


@pytest.mark.parametrize("name", ["probability", "share", "min_visible"])
@pytest.mark.parametrize("value", [2, -0.1, float("nan"), True, None, "0.5"])
def test_no_probability_and_no_share(name: str, value: Any) -> None:
    with pytest.raises(UserError, match="from 0 to 1") as error:
        CopyPaste(**{name: value})
    assert error.value.key == name


AUGMENTATIONS = [T.ResizeScale(0.6, 1.4, 96, 96), T.FixedSizeCrop((96, 96)), T.RandomFlip()]
ALWAYS = CopyPaste(probability=1, share=0.7)


@pytest.fixture(scope="module")
def data(figures: FiguresPaths) -> DetectionDataset:
    return load_dataset(
        str(figures.train), str(figures.train.parent), skeleton="coco_person", drop_empty=True
    )


def items(data: DetectionDataset, batches: int, **options: Any) -> list[Item]:
    defaults = {"total_batch_size": 2, "masks": True, "keypoints": True, "num_workers": 0}
    loader = train_loader(
        data, augmentations=AUGMENTATIONS, recompute_boxes=True, **(defaults | options)
    )
    return list(itertools.chain(*itertools.islice(loader, batches)))


def content(item: Item) -> tuple[Any, ...]:
    """All that a model is given of an image, comparable by ==."""
    instances = item["instances"]
    fields = instances.get_fields()
    rest = [fields[name].tensor.tolist() for name in ("gt_boxes", "gt_keypoints") if name in fields]
    masks = bitmaps(instances).tolist() if "gt_masks" in fields else None
    pixels = item["image"].numpy().tobytes()
    return item["position"], item["file_name"], pixels, rest, masks, fields["gt_classes"].tolist()


def test_batches_follow_the_seed_alone(data: DetectionDataset) -> None:
    whole = [content(item) for item in items(data, 7, copy_paste=ALWAYS)]
    workers = items(data, 7, copy_paste=ALWAYS, num_workers=2)
    assert [content(item) for item in workers] == whole
    resumed = items(data, 3, copy_paste=ALWAYS, num_workers=1, first=4)
    assert [content(item) for item in resumed] == whole[8:]
    other = items(data, 7, copy_paste=ALWAYS, seed=1)
    assert [content(item) for item in other] != whole


@pytest.mark.parametrize("bitmasks", [False, True])
def test_only_pasted_pixels_differ(data: DetectionDataset, bitmasks: bool) -> None:
    """The image itself is augmented as without copy-paste, and the other one is another image."""
    plain, pasted = (items(data, 6, copy_paste=c, bitmasks=bitmasks) for c in (None, ALWAYS))
    for before, after in zip(plain, pasted, strict=True):
        differing = (before["image"] != after["image"]).any(dim=0).numpy()
        assert differing.any() == ("pasted_from" in after)
        assert not (differing & ~bitmaps(after["instances"]).any(axis=0)).any()
        assert after.get("pasted_from") != after["file_name"]
    assert sum("pasted_from" in item for item in pasted) > 6
    none = items(data, 6, copy_paste=CopyPaste(probability=0), bitmasks=bitmasks)
    assert list(map(content, none)) == list(map(content, plain))


def test_a_model_without_masks_has_the_same_boxes(data: DetectionDataset) -> None:
    with_masks, without = (
        items(data, 5, copy_paste=ALWAYS, masks=masks) for masks in (True, False)
    )
    for one, other in zip(with_masks, without, strict=True):
        assert not other["instances"].has("gt_masks")
        one["instances"].remove("gt_masks")
        assert content(one) == content(other)


def test_boxes_without_masks_are_those_of_the_outlines(data: DetectionDataset) -> None:
    """A crop of a box is not the box of the crop, and a keypoint model has boxes, too."""
    with_masks, without = (items(data, 5, masks=masks) for masks in (True, False))
    for one, other in zip(with_masks, without, strict=True):
        assert not other["instances"].has("gt_masks")
        assert torch.equal(one["instances"].gt_boxes.tensor, other["instances"].gt_boxes.tensor)


def test_a_crowded_image_takes_no_bitmap_of_each_object() -> None:
    side, count = 256, 200
    item, other = (scene(1, count, (side, side), first=first) for first in (0, PASTED))
    tracemalloc.start()
    try:
        paste_instances(item, other["image"], other["instances"][:9], 0.1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < side**2 * count


def test_a_broken_image_is_counted_where_it_is_to_be_pasted_from(
    figures: FiguresPaths, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(figures.train.parent, tmp_path / "data"))
    data = load_dataset(str(folder / figures.train.name), str(folder), skeleton="coco_person")
    file = Path(data.records[2]["file_name"])
    file.write_bytes(file.read_bytes()[:700])
    result = items(data, 12, copy_paste=ALWAYS)
    named = [name for item in result for name, _ in item.get("unreadable", ())]
    assert set(named) == {str(file)}
    assert len(named) > len(result) / len(data) + 1, "as an image, and to paste from"
    assert all(item.get("pasted_from") != str(file) for item in result)


def test_one_image_and_missing_outlines(data: DetectionDataset) -> None:
    def part(records: Any) -> DetectionDataset:
        return DetectionDataset("part", tuple(records), data.classes, data.skeleton, data.coco_ids)

    with pytest.raises(UserError, match="another image") as error:
        items(part(data.records[:1]), 1, copy_paste=ALWAYS)
    assert error.value.key == "copy_paste"
    records = copy.deepcopy(list(data.records))
    del records[1]["annotations"][0]["segmentation"]
    with pytest.raises(UserError, match="cuts instances out") as error:
        items(part(records), 1, copy_paste=ALWAYS, masks=False)
    assert error.value.file == records[1]["file_name"]
    with pytest.raises(UserError, match="mask head"):
        items(part(records), 1, copy_paste=ALWAYS)
    assert items(part(records), 1, masks=False)
