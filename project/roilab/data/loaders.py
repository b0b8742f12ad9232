"""Loaders: a dataset, augmentations, a batch size -> batches as Detectron2's models take them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from detectron2.data import (
    DatasetMapper,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.data.samplers import TrainingSampler

from roilab.data.dataset import DetectionDataset
from roilab.errors import UserError


def train_loader(
    dataset: DetectionDataset,
    *,
    augmentations: Sequence[Any],
    total_batch_size: int,
    masks: bool,
    keypoints: bool,
    bitmaps: bool = False,
    seed: int = 0,
    image_format: str = "BGR",
    num_workers: int = 4,
    aspect_ratio_grouping: bool = True,
    recompute_boxes: bool = False,
) -> Iterable[list[dict[str, Any]]]:
    """An endless stream of shuffled, augmented batches.

    Args:
        augmentations: Detectron2 augmentations; a horizontal flip swaps left and right keypoints as
            the dataset's skeleton says.
        total_batch_size: images a step, over all processes.
        masks, keypoints: whether the model has the head that needs them.
        bitmaps: give masks as bitmaps, as PointRend wants them, not as polygons, which are exact
            in every box.
        seed: of the order of the images.
        recompute_boxes: take each box anew from its augmented outline; wanted where images are
            cropped, since a cropped box is not the box of the cropped outline.

    Raises:
        UserError: the model needs masks that the data set does not have.
    """
    if masks:
        require_outlines(dataset)
    skeleton = dataset.skeleton if keypoints else None
    mapper = DatasetMapper(
        is_train=True,
        augmentations=list(augmentations),
        image_format=image_format,
        use_instance_mask=masks,
        instance_mask_format="bitmask" if bitmaps or _has_rle(dataset) else "polygon",
        use_keypoint=keypoints,
        keypoint_hflip_indices=None if skeleton is None else np.array(skeleton.flip_indices),
        recompute_boxes=recompute_boxes,
    )
    return build_detection_train_loader(
        dataset,
        mapper=mapper,
        sampler=TrainingSampler(len(dataset), seed=seed),
        total_batch_size=total_batch_size,
        num_workers=num_workers,
        aspect_ratio_grouping=aspect_ratio_grouping,
        seed=seed,
    )


def require_outlines(dataset: DetectionDataset) -> None:
    """Make sure that a mask model can use the data set.

    Raises:
        UserError: an instance has no outline.
    """
    for record in dataset.records:
        if any(not anno.get("segmentation") for anno in record["annotations"]):
            raise UserError(
                "the model has a mask head but an instance has no outline",
                file=record["file_name"],
                remedy="draw its outline in VIA, or train a keypoint config",
            )


def _has_rle(dataset: DetectionDataset) -> bool:
    """Whether an outline is a COCO RLE, which Detectron2 takes only as a bit mask."""
    return any(
        isinstance(anno.get("segmentation"), dict) and not anno.get("iscrowd", 0)
        for record in dataset.records
        for anno in record["annotations"]
    )


def eval_loader(
    dataset: DetectionDataset,
    *,
    augmentations: Sequence[Any],
    image_format: str = "BGR",
    num_workers: int = 4,
    batch_size: int = 1,
) -> Iterable[list[dict[str, Any]]]:
    """Each image of the data set once, in order, resized but otherwise as it is."""
    mapper = DatasetMapper(
        is_train=False, augmentations=list(augmentations), image_format=image_format
    )
    return build_detection_test_loader(
        dataset, mapper=mapper, num_workers=num_workers, batch_size=batch_size
    )
