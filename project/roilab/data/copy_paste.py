"""Copy-paste: instances of another image, cut out along their outlines, in front of an image's own.

"Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation" (arXiv
2012.07177), Sec. 3. Nothing is blended at the borders, which the paper finds to do as well. Beside
masks and boxes, keypoints follow: those behind a pasted instance become occluded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks
from detectron2.structures.masks import polygons_to_bitmask
from torch import Tensor

from roilab.data.mask_to_polygons import rings_without_holes
from roilab.errors import UserError

Item = dict[str, Any]  # an image of a batch, as `roilab.data.loaders.Mapper` returns it
Bitmap = npt.NDArray[np.bool_]
VISIBLE, OCCLUDED = 2, 1  # the v of a keypoint


@dataclass(frozen=True)
class CopyPaste:
    """Pastes random instances of another image into an image, with these probabilities.

    Args:
        probability: of an image to have instances of another pasted into it.
        share: the probability of each instance of the other image to be pasted.
        min_visible: the share of its mask that an instance must keep where pasted ones cover the
            rest; with less, it is no longer annotated.

    Raises:
        UserError: one of them does not lie between 0 and 1.
    """

    probability: float = 1.0
    share: float = 0.5
    min_visible: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise UserError(
                    "copy-paste takes no such probability or share",
                    key=name,
                    found=value,
                    expected="a number from 0 to 1",
                    remedy=f"give {getattr(type(self), name)}, its default",
                )

    def is_drawn(self) -> bool:
        """Whether to paste into an image, drawn from torch's generator."""
        return bool(torch.rand(()) < self.probability)

    def __call__(self, item: Item, other: Item) -> Item:
        """The item with instances of another in front, which torch's generator draws.

        It then names the file that they are from as `pasted_from`, and CopyPaste among its
        `transforms`; without any, it is the item itself.
        """
        instances = other["instances"]
        drawn = instances[torch.rand(len(instances)) < self.share]
        result = paste_instances(item, other["image"], drawn, self.min_visible)
        if result is item:
            return item
        names = [*item.get("transforms", ()), type(self).__name__]
        return {**result, "transforms": names, "pasted_from": other["file_name"]}


def paste_instances(item: Item, image: Tensor, instances: Instances, min_visible: float) -> Item:
    """Put instances of another image in front of an item's own, at the places that they have there.

    Where they cover an instance of the item, its mask becomes what is visible, its box is tight
    around that, and its visible keypoints there become occluded (v = 1). Everything else is as it
    was, to the last bit.

    Args:
        item: with masks; it is not changed.
        image: the other image, C x H x W, perhaps of another size.
        instances: of the other image, with masks, in front of the rest as they are. One that does
            not fit into the item's image, or whose mask has no pixel, is left out.
        min_visible: see `CopyPaste`.
    """
    own = item["instances"]
    height, width = own.image_size
    pasted, covered = _fitting(instances, (height, width))
    if not len(pasted):
        return item
    pixels = item["image"].clone()
    window = (slice(min(height, image.shape[1])), slice(min(width, image.shape[2])))
    front = torch.from_numpy(covered[window])
    pixels[:, *window][:, front] = image[:, *window][:, front]
    behind = occlude(own, covered, min_visible)
    # An image without instances has no masks and keypoints to be joined with others.
    joined = Instances.cat([behind, pasted]) if len(behind) else pasted
    return {**item, "image": pixels, "instances": joined}


def _fitting(instances: Instances, size: tuple[int, int]) -> tuple[Instances, Bitmap]:
    """The instances that lie in an image of this height and width, as its own; what they cover."""
    fields = instances.get_fields()
    moved = Instances(size, **fields)
    covered = np.zeros(size, bool)
    if not len(instances):
        return moved, covered
    masks = fields["gt_masks"]
    corners = masks.get_bounding_boxes().tensor[:, 2:]
    fits = torch.ones(len(instances), dtype=torch.bool)
    for axis, sides in enumerate(zip(instances.image_size[::-1], size[::-1], strict=True)):
        # An outline may reach beyond its own image, whose border then cuts it in both.
        if sides[0] != sides[1]:
            fits &= corners[:, axis] <= min(sides)
    for place in torch.nonzero(fits).flatten().tolist():
        bitmap = _bitmap_of(masks, place, size)
        fits[place] = bool(bitmap.any())
        covered |= bitmap
    moved = moved[fits]
    if isinstance(masks, BitMasks):
        bitmaps = [_bitmap_of(moved.gt_masks, place, size) for place in range(len(moved))]
        moved.gt_masks = BitMasks(torch.from_numpy(np.array(bitmaps, bool).reshape(-1, *size)))
    return moved, covered


def occlude(instances: Instances, covered: Bitmap, min_visible: float) -> Instances:
    """The instances of an image behind something that covers pixels of it.

    Args:
        instances: with masks, where there are any; they are not changed.
        covered: H x W.
        min_visible: see `CopyPaste`.
    """
    if not len(instances):
        return instances
    masks = instances.gt_masks
    is_bitmap = isinstance(masks, BitMasks)
    outlines: Any = masks.tensor.clone() if is_bitmap else list(masks.polygons)
    is_kept = torch.ones(len(instances), dtype=torch.bool)
    is_cut = torch.zeros(len(instances), dtype=torch.bool)
    for place, box in enumerate(masks.get_bounding_boxes().tensor.numpy()):
        if not _around(covered, box).any():
            continue
        bitmap = _bitmap_of(masks, place, instances.image_size)
        visible = bitmap & ~covered
        area, remaining = int(bitmap.sum()), int(visible.sum())
        is_kept[place] = remaining == area or remaining >= max(1, min_visible * area)
        if is_kept[place] and remaining < area:
            is_cut[place] = True
            outlines[place] = (
                torch.from_numpy(visible) if is_bitmap else rings_without_holes(visible)
            )

    shapes = type(masks)(outlines)
    boxes = instances.gt_boxes.tensor.clone()
    boxes[is_cut] = shapes[is_cut].get_bounding_boxes().tensor  # tight
    changed = {"gt_masks": shapes, "gt_boxes": Boxes(boxes)}
    if instances.has("gt_keypoints"):
        changed["gt_keypoints"] = _occluded(instances.gt_keypoints, covered)
    return Instances(instances.image_size, **{**instances.get_fields(), **changed})[is_kept]


def _occluded(keypoints: Keypoints, covered: Bitmap) -> Keypoints:
    """Keypoints, N x K x (x, y, v), continuous; v is 1 instead of 2 where pixels are covered."""
    points = keypoints.tensor.clone()
    height, width = covered.shape
    columns = points[..., 0].long().clamp(0, width - 1)
    rows = points[..., 1].long().clamp(0, height - 1)
    hidden = torch.from_numpy(covered)[rows, columns] & (points[..., 2] == VISIBLE)
    points[..., 2][hidden] = OCCLUDED
    return Keypoints(points)


def _around(covered: Bitmap, box: npt.NDArray[np.float32]) -> Bitmap:
    """The part of an image where a mask within a box may have pixels: a polygon is rounded."""
    x0, y0, x1, y1 = np.clip(box, 0, covered.shape[::-1] * 2)
    return covered[max(0, int(y0) - 1) : int(y1) + 2, max(0, int(x0) - 1) : int(x1) + 2]


def _bitmap_of(masks: BitMasks | PolygonMasks, place: int, size: tuple[int, int]) -> Bitmap:
    """H x W: one of the masks in an image of this height and width.

    One at a time: the bitmaps of all objects of a crowded image would take a gigabyte.
    """
    if isinstance(masks, PolygonMasks):
        bitmap: Bitmap = polygons_to_bitmask(masks.polygons[place], *size)
        return bitmap
    result = np.zeros(size, bool)
    window = masks.tensor[place, : size[0], : size[1]].numpy()
    result[: window.shape[0], : window.shape[1]] = window
    return result
