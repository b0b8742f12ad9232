"""What the presets of augmentation do to masks, boxes, keypoints and names of left and right."""

from collections.abc import Sequence
from typing import Any

import cv2
import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Instances
from detectron2.structures.masks import polygons_to_bitmask
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_utils

from roilab.data.coco import CocoIds
from roilab.data.dataset import DetectionDataset
from roilab.data.loaders import Mapper
from roilab.data.sampling import seeded
from roilab.engine import config
from roilab.skeleton import Skeleton

HEIGHT, WIDTH = 60, 90
SIZE = 80  # of the presets' images
# A person seen from the front: left is at the right. Its outline goes around the keypoints.
KEYPOINTS = np.array([[60.0, 40.0, 2.0], [30.0, 40.0, 2.0], [45.0, 16.0, 1.0]])
OUTLINE = np.array(
    [[20.0, 50.0], [20.0, 33.0], [40.0, 6.0], [50.0, 6.0], [72.0, 33.0], [72.0, 50.0]]
)
PERSON = Skeleton(
    name="triangle",
    classes=("person",),
    keypoints=("left", "right", "nose"),
    swaps=(("left", "right"),),
    links=(),
    sigmas=(0.1,) * 3,
)
PRESETS = ("flip", "lsj", "small", "copy_paste")


def augmentations(preset: str) -> list[Any]:
    overrides = [f"data.augmentation={preset}", f"data.augmentation_size={SIZE}"]
    cfg = config.load_config("configs/figures_mask_keypoint.py", overrides)
    return [config.build(node, "augmentation") for node in cfg.dataloader.train.augmentations]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A white person on black."""
    file = tmp_path_factory.mktemp("person") / "image.png"
    mask = polygons_to_bitmask([OUTLINE.ravel()], HEIGHT, WIDTH)
    cv2.imwrite(str(file), np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2))
    anno = {
        "bbox": [*OUTLINE.min(axis=0), *OUTLINE.max(axis=0)],
        "bbox_mode": 0,
        "category_id": 0,
        "segmentation": [OUTLINE.ravel().tolist()],
        "keypoints": KEYPOINTS.ravel().tolist(),
    }
    size = {"height": HEIGHT, "width": WIDTH}
    return {"file_name": str(file), "image_id": 1, **size, "annotations": [anno]}


def mapped(
    record: dict[str, Any], steps: Sequence[Any], *, rle: bool = False, seed: int = 0
) -> tuple[np.ndarray, Instances]:
    """The image, H x W x 3, and the instances."""
    if rle:
        encoded = mask_utils.merge(
            mask_utils.frPyObjects(record["annotations"][0]["segmentation"], HEIGHT, WIDTH)
        )
        record = {**record, "annotations": [{**record["annotations"][0], "segmentation": encoded}]}
    ids = CocoIds.numbered([1], 1)
    dataset = DetectionDataset("one", (record,), ("person",), PERSON, ids)
    mapper = Mapper(dataset, steps, masks=True, keypoints=True, recompute_boxes=True)
    with seeded(seed):
        item = mapper(record)
    return item["image"].permute(1, 2, 0).numpy(), item["instances"]


def bitmap(instances: Instances) -> np.ndarray:
    """H x W, of the one instance."""
    masks = instances.gt_masks
    if isinstance(masks, BitMasks):
        return masks.tensor[0].numpy()
    return polygons_to_bitmask(masks.polygons[0], *instances.image_size)


STEPS = {preset: augmentations(preset) for preset in PRESETS}


@settings(max_examples=120)
@given(seed=st.integers(0, 10**6), preset=st.sampled_from(PRESETS), rle=st.booleans())
def test_masks_boxes_keypoints_and_pixels_stay_together(
    record: dict[str, Any], seed: int, preset: str, rle: bool
) -> None:
    pixels, instances = mapped(record, STEPS[preset], rle=rle, seed=seed)
    if not len(instances):
        return  # cropped away
    mask = bitmap(instances)
    assert mask.shape == pixels.shape[:2]
    # What is inside the outline is white, up to the border, which interpolation blurs.
    inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1)
    assert (pixels[inside > 0].min(initial=255)) > 100
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    assert (pixels[near == 0].max(initial=0)) < 200
    # The box is tight around the mask, and each labelled keypoint lies on it.
    rows, columns = np.nonzero(mask)
    if len(rows):
        around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(instances.gt_boxes.tensor[0].numpy() - around).max() <= 1
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    points = instances.gt_keypoints.tensor[0].numpy()
    for x, y, v in points:
        if v:
            assert wide[min(int(y), len(wide) - 1), min(int(x), wide.shape[1] - 1)]
        else:
            assert (x, y) == (0, 0)


def handedness(points: np.ndarray) -> float:
    """Twice the signed area of the triangle of left, right and nose."""
    left, right, nose = points[:, :2]
    return float(np.linalg.det(np.stack([right - left, nose - left])))


@settings(max_examples=120)
@given(
    seed=st.integers(0, 10**6),
    preset=st.sampled_from(PRESETS),
    mirrors=st.lists(st.booleans(), max_size=3),
)
def test_left_and_right_swap_once_for_each_mirror(
    record: dict[str, Any], seed: int, preset: str, mirrors: list[bool]
) -> None:
    """A person's left, right and nose have one sense of rotation in every image of a person."""
    more = [T.RandomFlip(1.0, horizontal=across, vertical=not across) for across in mirrors]
    _, instances = mapped(record, [*STEPS[preset], *more], seed=seed)
    points = instances.gt_keypoints.tensor[0].numpy() if len(instances) else np.zeros((3, 3))
    if (points[:, 2] > 0).all():
        assert handedness(points) * handedness(KEYPOINTS) > 0
        assert points[:, 2].tolist() == [2, 2, 1], "names and visibility go together"


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("rle", [True, False])
def test_a_flip_twice_is_the_identity(record: dict[str, Any], across: bool, rle: bool) -> None:
    flip = T.RandomFlip(1.0, horizontal=across, vertical=not across)
    (plain, before), (once, _), (twice, after) = (
        mapped(record, [flip] * count, rle=rle) for count in range(3)
    )
    assert np.array_equal(plain, twice)
    assert not np.array_equal(plain, once)
    assert np.array_equal(bitmap(before), bitmap(after))
    for name in ("gt_boxes", "gt_keypoints"):
        assert torch.equal(before.get(name).tensor, after.get(name).tensor)


@pytest.mark.parametrize("preset", ["lsj", "small", "copy_paste"])
def test_every_image_has_the_size_that_is_asked_for(record: dict[str, Any], preset: str) -> None:
    for seed in range(8):
        pixels, _ = mapped(record, STEPS[preset], seed=seed)
        assert pixels.shape == (SIZE, SIZE, 3)


def test_a_mask_ends_where_the_image_does(record: dict[str, Any]) -> None:
    """Detectron2's crop fills a bitmask with 255 beyond the image, which would be the object."""
    for preset in PRESETS[1:]:
        smallest = [*STEPS[preset]]
        smallest[0] = T.ResizeScale(0.5, 0.5, SIZE, SIZE)
        masks = [bitmap(mapped(record, smallest, rle=rle)[1]) for rle in (True, False)]
        union = (masks[0] | masks[1]).sum()
        assert (masks[0] & masks[1]).sum() > 0.8 * union
