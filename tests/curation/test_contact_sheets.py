"""Items of a batch on a contact sheet: their colours, masks of both kinds, and titles."""

from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks

from roilab.curation.contact_sheets import item_picture
from roilab.draw import Picture
from roilab.skeleton import Skeleton

PAIR = Skeleton("pair", ("it",), ("left", "right"), (("left", "right"),), (), (0.1, 0.1))
HEIGHT, WIDTH = 40, 64
RING = [8.0, 8.0, 40.0, 8.0, 40.0, 32.0, 8.0, 32.0]


def item(bitmasks: bool = False, count: int = 1, **more: Any) -> dict[str, Any]:
    """A red image of some objects with a visible and an occluded keypoint."""
    truth = Instances((HEIGHT, WIDTH))
    truth.gt_boxes = Boxes(torch.tensor([[8.0, 8.0, 40.0, 32.0]] * count).reshape(-1, 4))
    truth.gt_classes = torch.zeros(count, dtype=torch.int64)
    outlines = PolygonMasks([[np.array(RING)]] * count)
    bitmaps = BitMasks.from_polygon_masks(outlines, HEIGHT, WIDTH) if count else None
    truth.gt_masks = bitmaps if bitmasks else outlines
    keypoints = [[[12.0, 20.0, 2.0], [30.0, 20.0, 1.0]]] * count
    truth.gt_keypoints = Keypoints(np.array(keypoints, dtype=float).reshape(count, 2, 3))
    image = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    image[2] = 200
    return {"file_name": "folder/photo.jpg", "image": image, "instances": truth, **more}


def picture(of: dict[str, Any], image_format: str = "BGR") -> Picture:
    return item_picture(of, ("it",), PAIR, image_format)


def test_colours_are_those_of_the_image() -> None:
    bgr = item()
    rgb = {**bgr, "image": bgr["image"].flip(0)}
    assert (picture(bgr) == picture(rgb, "RGB")).all()
    assert (picture(bgr)[-1, -1] == [200, 0, 0]).all()


def test_masks_of_both_kinds_cover_the_same() -> None:
    polygons, bitmaps = picture(item()), picture(item(bitmasks=True))
    assert (polygons == bitmaps).all(axis=2).mean() > 0.98
    assert (polygons != picture(item(count=0))).any(axis=2).mean() > 0.25


def test_what_changed_the_image_stands_over_it() -> None:
    plain = picture(item())
    assert plain.shape[1] == 640
    named = picture(item(transforms=["RandomFlip"]))
    assert named.shape == plain.shape
    assert (named != plain).any()
    pasted = picture(item(transforms=["CopyPaste"], pasted_from="folder/other.jpg"))
    assert (pasted != picture(item(transforms=["CopyPaste"]))).any()
    many = picture(item(transforms=[f"RandomThing{number}" for number in range(9)]))
    assert many.shape[0] > named.shape[0], "in several lines"


@pytest.mark.parametrize("visibility", [0.0, 1.0])
def test_visibility_is_seen(visibility: float) -> None:
    other = item()
    other["instances"].gt_keypoints.tensor[..., 2] = visibility
    assert (picture(other) != picture(item())).any()
