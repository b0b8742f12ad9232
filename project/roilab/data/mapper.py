"""A record of a data set and its image file -> what Detectron2's models take."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T

from roilab.errors import UserError
from roilab.image_files import read_rgb


class Unreadable(Exception):
    """An image file that is missing, broken, or of another size than its record says."""


class Mapper:
    """Reads, augments and converts one record; gives what Detectron2's DatasetMapper gives.

    It differs in what it tells apart and in what it keeps: an image that cannot be read is an
    `Unreadable`, and the instances stay where a model is evaluated, too, for its validation loss.

    Args:
        augmentations: Detectron2 augmentations; random ones draw from numpy's global generator.
        image_format: of the model's input, BGR or RGB.
        masks, keypoints: whether the model has the head that needs them.
        bitmaps: masks as bitmaps, not as polygons.
        flip_indices: for each keypoint, the one that takes its place in a mirrored image; None
            without keypoints.
        recompute_boxes: take each box anew from its augmented outline.

    Raises:
        UserError: the format is another.
    """

    def __init__(
        self,
        augmentations: Sequence[Any],
        *,
        image_format: str,
        masks: bool,
        keypoints: bool,
        bitmaps: bool,
        flip_indices: Sequence[int] | None,
        recompute_boxes: bool = False,
    ) -> None:
        if image_format not in ("BGR", "RGB"):
            raise UserError(
                "images are not read in this format",
                key="image_format",
                found=image_format,
                expected="BGR or RGB",
            )
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format
        wanted = {"segmentation": masks, "keypoints": keypoints}
        self.unwanted = {key for key, is_wanted in wanted.items() if not is_wanted}
        self.mask_format = "bitmask" if bitmaps else "polygon"
        self.flip_indices = None if flip_indices is None else np.array(flip_indices)
        self.recompute_boxes = recompute_boxes and masks

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record with `image` (C x H x W, uint8) and `instances`, both augmented.

        Raises:
            Unreadable: of its image.
        """
        view = T.AugInput(self._read(record))
        transforms = self.augmentations(view)
        shape = view.image.shape[:2]
        mirrored = mirrors(transforms, record["height"], record["width"])
        annotations = [
            self._transform(anno, transforms, shape, mirrored)
            for anno in record["annotations"]
            if not anno.get("iscrowd", 0)
        ]
        instances = utils.annotations_to_instances(annotations, shape, mask_format=self.mask_format)
        if self.recompute_boxes and instances.has("gt_masks"):
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        kept = {key: value for key, value in record.items() if key != "annotations"}
        pixels = np.ascontiguousarray(view.image.transpose(2, 0, 1))
        return {
            **kept,
            "image": torch.as_tensor(pixels),
            "instances": utils.filter_empty_instances(instances),
        }

    def _transform(
        self, anno: dict[str, Any], transforms: Any, shape: tuple[int, int], mirrored: bool
    ) -> dict[str, Any]:
        """The annotation in the augmented image, of height and width `shape`."""
        kept = {key: value for key, value in anno.items() if key not in self.unwanted}
        # Detectron2 counts its own HFlipTransforms and exchanges left and right by that, which
        # misses every other mirror: with indices that change nothing, it leaves that to us.
        order = None if self.flip_indices is None else np.arange(len(self.flip_indices))
        result: dict[str, Any] = utils.transform_instance_annotations(
            kept, transforms, shape, keypoint_hflip_indices=order
        )
        if mirrored and "keypoints" in result:
            result["keypoints"] = result["keypoints"][self.flip_indices]
        return result

    def _read(self, record: dict[str, Any]) -> np.ndarray:
        """H x W x 3, uint8, turned as its EXIF orientation says."""
        try:
            image = read_rgb(record["file_name"])
            utils.check_image_size(record, image)
        except UserError as error:
            raise Unreadable(f"{error.message}: {error.found}".splitlines()[0]) from error
        except utils.SizeMismatchError as error:
            raise Unreadable(f"{type(error).__name__}: {error}".splitlines()[0]) from error
        return image[:, :, ::-1] if self.image_format == "BGR" else image


def mirrors(transforms: Any, height: int, width: int) -> bool:
    """Whether Detectron2 transforms turn an image into its mirror image, so that left is right.

    That is where their linear part has a negative determinant: a flip along either axis is a
    mirror, both together are a rotation. It is seen by where three corners of the image go, for
    any transform, whatever its name.

    Args:
        transforms: a Detectron2 Transform, such as a TransformList.
        height, width: of the image before them, in pixels.
    """
    corners = np.array([[0, 0], [width, 0], [0, height]], dtype=float)
    origin, across, down = np.asarray(transforms.apply_coords(corners), dtype=float)
    return bool(np.linalg.det(np.stack([across - origin, down - origin])) < 0)
