"""Loaders: a dataset, augmentations, a batch size -> batches as Detectron2's models take them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from detectron2.data import DatasetFromList, build_detection_test_loader
from detectron2.data.build import trivial_batch_collator
from detectron2.structures import BoxMode
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from roilab.data.dataset import DetectionDataset
from roilab.data.mapper import Mapper, Unreadable
from roilab.data.sampling import Batches
from roilab.data.seeding import AUGMENTATION, seeded
from roilab.data.workers import leave_signals, signals_blocked, workers
from roilab.errors import UserError

Batch = list[dict[str, Any]]
_TRIES = 20  # images tried in place of one that cannot be read


def train_loader(
    dataset: DetectionDataset,
    *,
    augmentations: Sequence[Any],
    total_batch_size: int,
    masks: bool,
    keypoints: bool,
    bitmaps: bool = False,
    seed: int = 0,
    first: int = 0,
    image_format: str = "BGR",
    num_workers: int = 4,
    aspect_ratio_grouping: bool = True,
    recompute_boxes: bool = False,
) -> DataLoader[Batch]:
    """An endless stream of shuffled, augmented batches, the same for any number of workers.

    An image that cannot be read is replaced by another; the item then lists what was met as
    `unreadable`, pairs of file and reason.

    Args:
        augmentations: Detectron2 augmentations; any that mirrors the image, such as a flip along
            either axis, swaps left and right keypoints as the dataset's skeleton says.
        total_batch_size: images a batch, over all processes.
        masks, keypoints: whether the model has the head that needs them.
        bitmaps: give masks as bitmaps, as PointRend wants them, not as polygons, which are exact
            in every box.
        seed: of the order of the images and of their augmentations.
        first: the number of the batch to begin with, from 0.
        num_workers: processes that load images, as far as there are cores for them.
        recompute_boxes: take each box anew from its augmented outline; wanted where images are
            cropped, since a cropped box is not the box of the cropped outline.

    Raises:
        UserError: the model needs masks that the data set does not have, or a batch cannot be
            shared by the processes.
    """
    processes = comm.get_world_size()
    if total_batch_size % processes:
        raise UserError(
            "a batch cannot be shared evenly by the processes",
            key="total_batch_size",
            found=total_batch_size,
            expected=f"a multiple of {processes}",
        )
    mapper = _mapper(
        dataset, augmentations, masks, keypoints, bitmaps, image_format, recompute_boxes
    )
    wide = None
    if aspect_ratio_grouping:
        wide = [record["width"] > record["height"] for record in dataset.records]
    images: Any = _Augmented(dataset, mapper, seed)
    return _Loader(
        images,
        batch_sampler=Batches(
            len(dataset),
            total_batch_size,
            seed=seed,
            wide=wide,
            first=first,
            rank=comm.get_rank(),
            processes=processes,
        ),
        num_workers=workers(num_workers),
        collate_fn=trivial_batch_collator,
        generator=torch.Generator(),  # without one, it would draw from the model's
        worker_init_fn=leave_signals,
    )


class _Loader(DataLoader[Batch]):
    """A loader whose workers leave signals to the main process from their first moment on."""

    def __iter__(self) -> Any:
        with signals_blocked():
            return super().__iter__()


class _Augmented(Dataset[dict[str, Any]]):
    """Images by `(position, index)`; the augmentation follows from the seed and the position."""

    def __init__(self, dataset: DetectionDataset, mapper: Mapper, seed: int) -> None:
        # Serialised: workers share one copy, and each item is a fresh one.
        self.records = DatasetFromList(list(dataset.records))
        self.mapper, self.seed = mapper, seed

    def __getitem__(self, where: tuple[int, int]) -> dict[str, Any]:
        position, index = where
        unreadable: list[tuple[str, str]] = []
        with seeded(self.seed, AUGMENTATION, position):
            for _ in range(_TRIES):
                record = self.records[index]
                try:
                    item = self.mapper(record)
                    break
                except Unreadable as error:
                    unreadable.append((record["file_name"], str(error)))
                    index = int(torch.randint(len(self.records), ()))
            else:
                return {"unreadable": unreadable}
        item = {**item, "position": position}
        return {**item, "unreadable": unreadable} if unreadable else item


def _mapper(
    dataset: DetectionDataset,
    augmentations: Sequence[Any],
    masks: bool,
    keypoints: bool,
    bitmaps: bool,
    image_format: str,
    recompute_boxes: bool = False,
) -> Mapper:
    if masks:
        require_outlines(dataset)
    skeleton = dataset.skeleton if keypoints else None
    return Mapper(
        augmentations,
        image_format=image_format,
        masks=masks,
        keypoints=skeleton is not None,
        bitmaps=bitmaps or _has_rle(dataset),
        flip_indices=None if skeleton is None else skeleton.flip_indices,
        recompute_boxes=recompute_boxes,
    )


def require_outlines(dataset: DetectionDataset) -> None:
    """Make sure that a mask model can use the data set.

    Raises:
        UserError: an instance has no outline.
    """
    for record in dataset.records:
        for anno in record["annotations"]:
            if anno.get("segmentation") or anno.get("iscrowd", 0):
                continue
            x, y, width, height = BoxMode.convert(anno["bbox"], anno["bbox_mode"], BoxMode.XYWH_ABS)
            name = dataset.classes[anno["category_id"]]
            raise UserError(
                "the model has a mask head but an instance has no outline",
                file=record["file_name"],
                found=f"'{name}' at x {x:.0f}, y {y:.0f}, {width:.0f} wide, {height:.0f} high",
                remedy="draw its outline or delete it in the file, or train a keypoint config",
            )


def _has_rle(dataset: DetectionDataset) -> bool:
    """Whether an outline is a COCO RLE, which Detectron2 takes only as a bit mask."""
    return any(
        isinstance(anno.get("segmentation"), dict) and not anno.get("iscrowd", 0)
        for record in dataset.records
        for anno in record["annotations"]
    )


class _EvalBatches:
    """A loader's batches; one with an image that cannot be read stops the evaluation."""

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        with signals_blocked():
            batches = iter(self.loader)
        for batch in batches:
            for item in batch:
                if isinstance(item, UserError):
                    raise item
            yield batch


class _Checked:
    """A mapper that gives its failure back, since a worker would wrap it in a traceback."""

    def __init__(self, mapper: Mapper) -> None:
        self.mapper = mapper

    def __call__(self, record: dict[str, Any]) -> dict[str, Any] | UserError:
        try:
            return self.mapper(record)
        except Unreadable as error:
            return UserError(
                "an image to evaluate on cannot be read",
                file=record["file_name"],
                found=error,
                remedy="mend the file, or take it out of the annotations",
            )


def eval_loader(
    dataset: DetectionDataset,
    *,
    augmentations: Sequence[Any],
    masks: bool = False,
    keypoints: bool = False,
    bitmaps: bool = False,
    image_format: str = "BGR",
    num_workers: int = 4,
    batch_size: int = 1,
) -> _EvalBatches:
    """Each image of the data set once, in order, resized but otherwise as it is.

    Its instances are there, too, for the validation loss, with masks and keypoints if asked for.
    Going through it raises UserError for an image that cannot be read.
    """
    mapper = _mapper(dataset, augmentations, masks, keypoints, bitmaps, image_format)
    loader = build_detection_test_loader(
        dataset, mapper=_Checked(mapper), num_workers=workers(num_workers), batch_size=batch_size
    )
    loader.worker_init_fn = leave_signals
    return _EvalBatches(loader)
