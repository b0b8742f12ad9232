"""A model on a data set: average precision, and the losses that training minimises."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Any

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import Tensor, nn

from roilab.data.dataset import DetectionDataset
from roilab.data.loaders import Batch
from roilab.data.sampling import VALIDATION, seeded
from roilab.device import device_of, share_cores
from roilab.engine import config
from roilab.engine.build_data import build_loader
from roilab.engine.build_model import train_mode
from roilab.evaluation import Evaluation, evaluate, predict
from roilab.evaluation.evaluator import Predicted
from roilab.evaluation.memory_bound import MemoryBound, rcnn_of
from roilab.evaluation.tta import AugmentedInference, Views
from roilab.memory import NotEnoughMemory
from roilab.skeleton import Skeleton

Losses = dict[str, float]
Features = tuple[ImageList, dict[str, Tensor]]  # a batch as the model sees it, and its features


def evaluate_model(
    cfg: DictConfig,
    model: nn.Module,
    dataset: DetectionDataset,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    max_memory: int | None = None,
    tta: AugmentedInference | None = None,
) -> Evaluation:
    """The model on a data set, loaded as the config says; `progress` wraps the batches.

    The work on an image may take `max_memory` bytes; None: what is available. For `tta` see
    `augmented_inference`.

    Raises:
        NotEnoughMemory: an image would take more; where that follows from its size, before any is
            looked at.
    """
    bound = MemoryBound(model, _augmentations(cfg), max_memory, tta.views if tta else None)
    files: dict[tuple[int, int], str] = {}  # the first image of each size
    for record in dataset.records:
        files.setdefault((record["width"], record["height"]), record["file_name"])
    for size, file in files.items():
        try:
            bound.check_image(*size)
        except NotEnoughMemory as error:
            raise error.replace(file=file) from error
    if device_of(cfg.train.device).type == "cpu":
        share_cores(cfg.dataloader.test.num_workers)
    if tta is not None and "augmentations" in cfg.dataloader.test:  # which `tta` applies itself
        cfg = copy.deepcopy(cfg)
        cfg.dataloader.test.augmentations = []
    batches = progress(build_loader(cfg, "dataloader.test", dataset))
    return evaluate(predict(model, batches, bound, tta), dataset, cfg.evaluation.max_detections)


def augmented_inference(
    cfg: DictConfig, model: nn.Module, views: Views, skeleton: Skeleton | None
) -> AugmentedInference:
    """Test-time augmentation of the evaluation that a config describes.

    `skeleton` is that of the model's keypoints; for errors see `AugmentedInference`.
    """
    return AugmentedInference(rcnn_of(model), views, _augmentations(cfg), skeleton)


def _augmentations(cfg: DictConfig) -> list[Any]:
    """The augmentations of an evaluation, such as resizing."""
    nodes = cfg.dataloader.test.get("augmentations", ())
    return [config.build(node, "dataloader.test.augmentations") for node in nodes]


def validate(
    cfg: DictConfig, model: nn.Module, dataset: DetectionDataset
) -> tuple[Evaluation, Losses]:
    """The model's evaluation and its mean losses, `val_loss_...` and `val_total_loss`, in one pass.

    Each process takes its share of the images; the first has the evaluation, all have the losses.
    """
    sums: Losses = {}
    batches = build_loader(cfg, "dataloader.test", dataset)
    predictions = _predict_with_losses(model, batches, cfg.train.seed, sums)
    evaluation = evaluate(predictions, dataset, cfg.evaluation.max_detections)
    shares = comm.all_gather(sums)
    images = sum(share.pop("images", 0.0) for share in shares)
    losses = {}
    for name in sorted(set().union(*shares)):
        losses[f"val_{name}"] = sum(share.get(name, 0.0) for share in shares) / images
    return evaluation, {**losses, "val_total_loss": sum(losses.values())}


@torch.inference_mode()
def _predict_with_losses(
    model: Any, batches: Iterable[Batch], seed: int, sums: Losses
) -> Iterator[Predicted]:
    """The predictions of a model, as `predict` yields them, and its losses.

    The backbone is in evaluation mode for both, so that its features serve both. The seconds are
    those of the predictions. `sums` collects the losses of all images, and their number: `images`.
    """
    training = model.training
    try:
        for batch in batches:
            model.eval()
            start = time.perf_counter()
            features = None  # a class with a `forward` of its own may not work by features
            if getattr(type(model), "forward", None) is GeneralizedRCNN.forward:
                images = model.preprocess_image(batch)
                features = images, model.backbone(images.tensor)
            instances = [image.to("cpu") for image in _detections(model, batch, features)]
            seconds = (time.perf_counter() - start) / len(batch)

            # Metrics that heads record here are none of the training. Each evaluation samples the
            # same regions.
            with EventStorage(), seeded(seed, VALIDATION, batch[0]["image_id"]):
                train_mode(model, keep_statistics=True)
                model.backbone.eval()
                losses = _losses(model, batch, features)
            sums["images"] = sums.get("images", 0.0) + len(batch)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + len(batch) * float(value)
            yield from zip(batch, instances, repeat(seconds))
    finally:
        model.train(training)


def _detections(model: Any, batch: Batch, features: Features | None) -> Iterator[Instances]:
    """The instances of each image, in the size of the original; see `_losses`."""
    if features is None:
        yield from (output["instances"] for output in model(batch))
        return
    proposals, _ = model.proposal_generator(*features, None)
    outputs, _ = model.roi_heads(*features, proposals, None)
    for item, output in zip(batch, outputs, strict=True):
        height, width = output.image_size
        yield detector_postprocess(output, item.get("height", height), item.get("width", width))


def _losses(model: Any, batch: Batch, features: Features | None) -> dict[str, Tensor]:
    """The losses of a batch; without its features the model computes them itself."""
    if features is None:
        return dict(model(batch))
    targets = [item["instances"].to(model.device) for item in batch]
    proposals, of_proposals = model.proposal_generator(*features, targets)
    _, of_heads = model.roi_heads(*features, proposals, targets)
    return {**of_heads, **of_proposals}
