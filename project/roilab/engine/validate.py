"""A model on a data set: average precision, and the losses that training minimises."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import nn

from roilab.data.dataset import DetectionDataset
from roilab.data.loaders import Batch
from roilab.data.seeding import VALIDATION, seeded
from roilab.device import device_of, share_cores
from roilab.engine import config
from roilab.engine.build import loss_mode
from roilab.evaluation import Evaluation, evaluate
from roilab.evaluation.memory_bound import MemoryBound
from roilab.memory import NotEnoughMemory

Losses = dict[str, float]


def eval_batches(cfg: DictConfig, dataset: DetectionDataset, **more: Any) -> Iterable[Batch]:
    """The images of a data set as the config's evaluation takes them, with what losses need.

    Args:
        more: other arguments of the loader than the config's.
    """
    training = cfg.dataloader.train
    return config.build(
        cfg.dataloader.test,
        "dataloader.test",
        dataset=dataset,
        masks=training.masks,
        keypoints=training.keypoints,
        bitmaps=training.get("bitmaps", False),
        **more,
    )


def evaluate_model(
    cfg: DictConfig,
    model: nn.Module,
    dataset: DetectionDataset,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    max_memory: int | None = None,
) -> Evaluation:
    """The model on a data set, loaded as the config says; `progress` wraps the batches.

    Args:
        max_memory: the most bytes that the work on an image may take; None: what is available.

    Raises:
        NotEnoughMemory: an image would take more; where that follows from its size, before any is
            looked at.
    """
    bound = _fitting(cfg, model, dataset, max_memory)
    if device_of(cfg.train.device).type == "cpu":
        share_cores(cfg.dataloader.test.num_workers)
    batches = progress(eval_batches(cfg, dataset))
    return evaluate(model, batches, dataset, cfg.evaluation.max_detections, bound)


def _fitting(
    cfg: DictConfig, model: nn.Module, dataset: DetectionDataset, max_memory: int | None
) -> MemoryBound:
    """The bound of the memory, within which each image of the data set is by its size."""
    nodes = cfg.dataloader.test.get("augmentations", ())
    resizing = [config.build(node, "dataloader.test.augmentations") for node in nodes]
    bound = MemoryBound(model, resizing, max_memory)
    first = {(each["width"], each["height"]): each["file_name"] for each in dataset.records[::-1]}
    for size, file in first.items():
        try:
            bound.check_image(*size)
        except NotEnoughMemory as error:
            raise error.of_file(file) from error
    return bound


def validate(
    cfg: DictConfig,
    model: nn.Module,
    dataset: DetectionDataset,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[Evaluation, Losses]:
    """The model's evaluation and its mean losses, `val_loss_...` and `val_total_loss`, in one pass.

    Each process takes its share of the images; the first has the evaluation, all have the losses.
    """
    sums: Losses = {}
    batches = _with_losses(model, progress(eval_batches(cfg, dataset)), cfg.train.seed, sums)
    with features_once(model.backbone):
        found = evaluate(model, batches, dataset, cfg.evaluation.max_detections)
    shares = comm.all_gather(sums)
    images = sum(share.pop("images", 0.0) for share in shares)
    names = sorted(set().union(*shares))
    losses = {f"val_{name}": sum(s.get(name, 0.0) for s in shares) / images for name in names}
    return found, {**losses, "val_total_loss": sum(losses.values())}


@contextmanager
def features_once(backbone: Any) -> Iterator[None]:
    """Within it, a backbone asked for the features of the same images again has them still.

    It is for two passes in a row over each batch, in which the backbone does the same.
    """
    forward, own = backbone.forward, "forward" in vars(backbone)
    kept: list[Any] = []

    def remembered(images: torch.Tensor) -> Any:
        if not (kept and torch.equal(kept[0], images)):
            kept.clear()  # the memory of the last ones is for the next
            kept[:] = images, forward(images)
        return kept[1]

    backbone.forward = remembered
    try:
        yield
    finally:
        if own:  # as that of a compiled one
            backbone.forward = forward
        else:
            del backbone.forward


def _with_losses(
    model: nn.Module, batches: Iterable[Batch], seed: int, sums: Losses
) -> Iterator[Batch]:
    """The batches; `sums` collects the losses of all images, and their number as `images`."""
    backbone: Any = model.backbone
    for batch in batches:
        # The detections come first: the time that they take is told, the backbone's with it.
        yield batch
        # What heads note of a batch for the log is no news of the training. The same regions are
        # drawn at each evaluation.
        with EventStorage(), torch.no_grad(), seeded(seed, VALIDATION, batch[0]["image_id"]):
            loss_mode(model)
            backbone.eval()  # as for the detections, whose features it has
            losses = model(batch)
            model.eval()
        sums["images"] = sums.get("images", 0.0) + len(batch)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + len(batch) * float(value)
