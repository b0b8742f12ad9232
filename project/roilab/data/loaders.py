"""Loaders of batches as Detectron2's models take them; configs/common/data.py has the defaults."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetFromList, MapDataset
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import InferenceSampler
from detectron2.structures import BoxMode
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from roilab.data.class_balance import repeat_factors
from roilab.data.copy_paste import CopyPaste
from roilab.data.dataset import DetectionDataset
from roilab.data.sampling import AUGMENTATION, BatchSampler, seeded
from roilab.data.workers import leave_signals, signals_blocked, worker_count
from roilab.errors import UserError
from roilab.image_files import read_rgb
from roilab.text import counted

Batch = list[dict[str, Any]]
_TRIES = 20  # images tried in place of one that cannot be read


class Mapper:
    """Reads, augments and converts one record, and returns what Detectron2's DatasetMapper gives.

    Unlike that, it keeps the instances in an evaluation, too, for the validation loss. For an image
    that is missing, broken, or of another size than its record says, it returns `unreadable` alone,
    a list of one pair: the file and the reason.

    Args:
        augmentations: Detectron2 augmentations; random ones draw from numpy's global generator.
        masks, keypoints: whether the model has the head that needs them.
        bitmasks: masks as bitmasks, from which PointRend learns, not as polygons, which are exact
            in every box. They are bitmasks anyway in a data set that has COCO's run-length
            encodings, which Detectron2 takes in no other form.
        image_format: of the model's input, BGR or RGB.
        recompute_boxes: take each box anew from its augmented outline; needed where images are
            cropped, since a cropped box is not the box of the cropped outline.

    Raises:
        UserError: the format is another, or the model needs masks that the data set does not have.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        augmentations: Sequence[Any],
        masks: bool,
        keypoints: bool,
        bitmasks: bool = False,
        image_format: str = "BGR",
        recompute_boxes: bool = False,
    ) -> None:
        if image_format not in ("BGR", "RGB"):
            message = "images are not read in this format"
            expected = "BGR or RGB"
            raise UserError(message, key="image_format", found=image_format, expected=expected)
        if masks:
            require_outlines(dataset)
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format
        skeleton = dataset.skeleton if keypoints else None
        needed = {"segmentation": masks, "keypoints": skeleton is not None}
        self.unwanted = {key for key, is_needed in needed.items() if not is_needed}
        has_rle = any(
            isinstance(anno.get("segmentation"), dict) and not anno.get("iscrowd", 0)
            for record in dataset.records
            for anno in record["annotations"]
        )
        self.mask_format = "bitmask" if bitmasks or has_rle else "polygon"
        self.flip_indices = None if skeleton is None else np.array(skeleton.flip_indices)
        self.recompute_boxes = recompute_boxes and masks

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record with `image` (C x H x W, uint8) and `instances`, both augmented.

        `transforms` has the names of the augmentations that changed them, such as RandomFlip.
        """
        try:
            view = T.AugInput(self._read(record))
        except UserError as error:
            return _unreadable(record, f"{error.message}: {error.found}")
        except utils.SizeMismatchError as error:
            return _unreadable(record, f"SizeMismatchError: {error}")
        applied = [(part, part(view)) for part in self.augmentations.augs]
        transforms = T.TransformList([transform for _, transform in applied])
        shape = view.image.shape[:2]
        mirrored = mirrors(transforms, record["height"], record["width"])
        # Detectron2 counts its own HFlipTransforms and exchanges left and right by that, which
        # misses every other mirror: with indices that change nothing, it leaves that to us.
        order = None if self.flip_indices is None else np.arange(len(self.flip_indices))
        annotations: list[dict[str, Any]] = []
        for anno in record["annotations"]:
            if anno.get("iscrowd", 0):
                continue
            needed = {key: value for key, value in anno.items() if key not in self.unwanted}
            annotations.append(
                utils.transform_instance_annotations(
                    needed, transforms, shape, keypoint_hflip_indices=order
                )
            )
            if mirrored and "keypoints" in needed:
                annotations[-1]["keypoints"] = annotations[-1]["keypoints"][self.flip_indices]
        instances = utils.annotations_to_instances(annotations, shape, mask_format=self.mask_format)
        if self.recompute_boxes and instances.has("gt_masks"):
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        kept = {key: value for key, value in record.items() if key != "annotations"}
        kept["transforms"] = [_name(part) for part, transform in applied if _changes(transform)]
        image = torch.as_tensor(np.ascontiguousarray(view.image.transpose(2, 0, 1)))
        return {**kept, "image": image, "instances": utils.filter_empty_instances(instances)}

    def _read(self, record: dict[str, Any]) -> np.ndarray:
        """H x W x 3, uint8, turned as its EXIF orientation says."""
        image = read_rgb(record["file_name"])
        utils.check_image_size(record, image)
        return _reversed_channels(image) if self.image_format == "BGR" else image


def _reversed_channels(image: np.ndarray) -> np.ndarray:
    """A copy of an H x W x 3 image, which later transforms read faster than a reversed view.

    Not by OpenCV: its threads do not survive the fork of a worker, which then waits for ever.
    """
    result = np.empty_like(image)
    for place in range(3):
        result[:, :, place] = image[:, :, 2 - place]
    return result


def _unreadable(record: dict[str, Any], reason: str) -> dict[str, Any]:
    return {"unreadable": [(record["file_name"], reason.splitlines()[0])]}


def _changes(transform: T.Transform) -> bool:
    """Whether a transform, or one of a list, does anything."""
    parts = getattr(transform, "transforms", [transform])
    return not all(isinstance(part, T.NoOpTransform) for part in parts)


def _name(augmentation: Any) -> str:
    """The name of an augmentation, or of what a wrapper of Detectron2's applies."""
    while isinstance(augmentation, T.RandomApply):
        augmentation = augmentation.aug
    return type(getattr(augmentation, "tfm", augmentation)).__name__


def mirrors(transforms: Any, height: int, width: int) -> bool:
    """Whether Detectron2 transforms turn an image into its mirror image, so that left is right.

    Their linear part then has a negative determinant, computed from where three corners of the
    image go: a flip along either axis is a mirror, both together are a rotation.

    Args:
        transforms: a Detectron2 Transform, such as a TransformList.
        height, width: of the image before them, in pixels.
    """
    corners = np.array([[0, 0], [width, 0], [0, height]], dtype=float)
    origin, across, down = np.asarray(transforms.apply_coords(corners), dtype=float)
    return bool(np.linalg.det(np.stack([across - origin, down - origin])) < 0)


def train_loader(
    dataset: DetectionDataset,
    *,
    augmentations: Sequence[Any],
    total_batch_size: int,
    masks: bool,
    keypoints: bool,
    bitmasks: bool = False,
    seed: int = 0,
    first: int = 0,
    image_format: str = "BGR",
    num_workers: int = 4,
    aspect_ratio_grouping: bool = True,
    recompute_boxes: bool = False,
    repeat_threshold: float | None = None,
    copy_paste: CopyPaste | None = None,
) -> DataLoader[Batch]:
    """An endless stream of shuffled, augmented batches, the same for any number of workers.

    An image that cannot be read is replaced by another; the item then lists such images as
    `unreadable`, pairs of file and reason.

    Args:
        augmentations: Detectron2 augmentations; any that mirrors the image, such as a flip along
            either axis, swaps left and right keypoints as the dataset's skeleton says.
        total_batch_size: images a batch, over all processes.
        masks, keypoints, bitmasks, image_format: see `Mapper`.
        recompute_boxes: as `Mapper` does; for a model without masks, too, where all instances have
            outlines.
        copy_paste: of instances between images; it needs the outlines of all instances.
        seed: of the order of the images and of their augmentations.
        first: the number of the batch to begin with, from 0.
        num_workers: processes that load images, as far as there are cores for them.
        repeat_threshold: draw the images of classes that fewer than this share of the images have
            more often, see `repeat_factors`. None: a pass over the data draws each image once.

    Raises:
        UserError: the model or copy-paste needs masks that the data set does not have, a batch
            cannot be shared by the processes, or copy-paste has a single image.
    """
    processes = comm.get_world_size()
    _require_even_shares(total_batch_size, processes)
    if copy_paste is not None:
        require_partners(dataset, masks)
    with_outlines = masks or (recompute_boxes and first_without_outline(dataset) is None)
    with_outlines |= copy_paste is not None
    mapper = Mapper(
        dataset, augmentations, with_outlines, keypoints, bitmasks, image_format, recompute_boxes
    )
    wide = [record["width"] > record["height"] for record in dataset.records]
    sampler = BatchSampler(
        len(dataset),
        total_batch_size,
        seed=seed,
        wide=wide if aspect_ratio_grouping else None,
        repeats=None if repeat_threshold is None else repeat_factors(dataset, repeat_threshold),
        first=first,
        rank=comm.get_rank(),
        processes=processes,
    )
    images: Any = _Augmented(dataset, mapper, seed, copy_paste, masks=masks)
    return _Loader(
        images,
        batch_sampler=sampler,
        num_workers=worker_count(num_workers),
        collate_fn=trivial_batch_collator,
        generator=torch.Generator(),  # without one, it would draw from the model's
        worker_init_fn=leave_signals,
    )


def _require_even_shares(size: int, processes: int) -> None:
    if size % processes:
        message = "a batch cannot be shared evenly by the processes"
        expected = f"a multiple of {processes}"
        raise UserError(message, key="total_batch_size", found=size, expected=expected)


class _Loader(DataLoader[Batch]):
    """A loader whose workers leave signals to the main process from their first moment on."""

    def __iter__(self) -> Any:
        with signals_blocked():
            return super().__iter__()


class _Augmented(Dataset[dict[str, Any]]):
    """Images by `(position, index)`; the augmentation follows from the seed and the position.

    `masks`: whether the model needs those that `mapper` may return for copy-paste or for boxes.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        mapper: Mapper,
        seed: int,
        copy_paste: CopyPaste | None,
        *,
        masks: bool,
    ) -> None:
        # Serialised: workers share one copy, and each item is a fresh one.
        self.records = DatasetFromList(list(dataset.records))
        self.mapper = mapper
        self.seed = seed
        self.copy_paste = copy_paste
        self.masks = masks

    def __getitem__(self, where: tuple[int, int]) -> dict[str, Any]:
        position, index = where
        unreadable: list[tuple[str, str]] = []
        with seeded(self.seed, AUGMENTATION, position):
            index, item = self._mapped(index, unreadable)
            if item is None:
                return {"unreadable": unreadable}
            if self.copy_paste is not None and self.copy_paste.is_drawn():
                # Any image but this one, or what is read in its place.
                other = index + int(torch.randint(1, len(self.records), ()))
                _, partner = self._mapped(other % len(self.records), unreadable)
                if partner is not None:
                    item = self.copy_paste(item, partner)
        item = {**item, "position": position}
        if not self.masks and item["instances"].has("gt_masks"):
            item["instances"].remove("gt_masks")
        if unreadable:
            item["unreadable"] = unreadable
        return item

    def _mapped(
        self, index: int, unreadable: list[tuple[str, str]]
    ) -> tuple[int, dict[str, Any] | None]:
        """An image, or in place of one that cannot be read another that is drawn; its index.

        None if all those cannot be read, either; they are appended to `unreadable`.
        """
        for _ in range(_TRIES):
            item = self.mapper(self.records[index])
            if "unreadable" not in item:
                return index, item
            unreadable += item["unreadable"]
            index = int(torch.randint(len(self.records), ()))
        return index, None


def first_without_outline(dataset: DetectionDataset) -> tuple[str, str] | None:
    """The image file and the place of the first instance without an outline; None: all have one."""
    for record in dataset.records:
        for anno in record["annotations"]:
            if anno.get("segmentation") or anno.get("iscrowd", 0):
                continue
            x, y, width, height = BoxMode.convert(anno["bbox"], anno["bbox_mode"], BoxMode.XYWH_ABS)
            name = dataset.classes[anno["category_id"]]
            size = f"{width:.0f} wide, {height:.0f} high"
            return record["file_name"], f"'{name}' at x {x:.0f}, y {y:.0f}, {size}"
    return None


def require_outlines(dataset: DetectionDataset) -> None:
    """Make sure that a mask model can use the data set.

    Raises:
        UserError: an instance has no outline.
    """
    place = first_without_outline(dataset)
    if place is not None:
        message = "the model has a mask head but an instance has no outline"
        remedy = (
            "draw its outline or delete it in the file, or train without masks: "
            "model.roi_heads.mask_in_features=null"
        )
        raise UserError(message, file=place[0], found=place[1], remedy=remedy)


def require_partners(dataset: DetectionDataset, masks: bool) -> None:
    """Make sure that instances can be pasted between the images of a data set.

    Args:
        masks: whether the model has a mask head, for which `Mapper` checks the outlines.

    Raises:
        UserError: it has a single image, or an instance has no outline.
    """
    if len(dataset) < 2:
        raise UserError(
            "copy-paste takes instances from another image, and there is none",
            key="copy_paste",
            found=counted(len(dataset), "image"),
            expected="at least 2 images",
            remedy="add images, or train without copy-paste: copy_paste=null",
        )
    place = None if masks else first_without_outline(dataset)
    if place is not None:
        raise UserError(
            "copy-paste cuts instances out along their outlines, and one has none",
            key="copy_paste",
            file=place[0],
            found=place[1],
            remedy="draw its outline or delete it in the file, or train without copy-paste: "
            "copy_paste=null",
        )


class _EvalLoader(_Loader):
    """A loader that stops the evaluation at an image that cannot be read."""

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            for item in batch:
                # Not raised by a worker, which would wrap the error in a traceback.
                for file, reason in item.get("unreadable", ()):
                    message = "an image to evaluate on cannot be read"
                    remedy = "repair the file, or take it out of the annotations"
                    raise UserError(message, file=file, found=reason, remedy=remedy)
            yield batch


def eval_loader(
    dataset: DetectionDataset,
    *,
    augmentations: Sequence[Any],
    masks: bool = False,
    keypoints: bool = False,
    bitmasks: bool = False,
    image_format: str = "BGR",
    num_workers: int = 4,
    batch_size: int = 1,
) -> DataLoader[Batch]:
    """Each image of the data set once, in order, resized but otherwise as it is.

    It has the instances, too, for the validation loss, with masks and keypoints on request.
    Iterating raises UserError for an image that cannot be read.
    """
    mapper = Mapper(dataset, augmentations, masks, keypoints, bitmasks, image_format)
    images: Any = MapDataset(dataset, mapper)
    return _EvalLoader(
        images,
        batch_size,
        sampler=InferenceSampler(len(dataset)),
        num_workers=worker_count(num_workers),
        collate_fn=trivial_batch_collator,
        worker_init_fn=leave_signals,
    )
