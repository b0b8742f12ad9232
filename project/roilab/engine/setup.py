"""Fitting of a config to its data, with an error within seconds where they do not agree."""

import difflib
import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from roilab.data.class_balance import class_weights, instances_by_class
from roilab.data.dataset import DetectionDataset
from roilab.data.loaders import require_outlines
from roilab.data.usable_images import narrow_range
from roilab.device import device_of, dtype_of
from roilab.engine import build_data, config
from roilab.engine.build_data import build_dataset, has_head
from roilab.engine.build_model import build_optimizer, freeze, weights_of, with_class_weights
from roilab.engine.config import TOPK
from roilab.engine.preflight import check_geometry
from roilab.engine.process_invariant import process_invariant, refuse_dependent_layers
from roilab.engine.schedule import warn_of_low_peak
from roilab.engine.train_keys import check_values
from roilab.errors import UserError
from roilab.evaluation import GroundTruth, average_precision
from roilab.evaluation.ap import exceeded_limits, flat, raised_limits
from roilab.skeleton import Skeleton
from roilab.text import counted

log = logging.getLogger(__name__)

_PROPOSALS = "model.proposal_generator.post_nms_topk"
# Where a config names none; proposals in training, and in evaluation.
_STOCK_TOPK = 100
_STOCK_PROPOSALS = (2000, 1000)


@dataclass(frozen=True)
class Setup:
    """A config that agrees with its data. `train` is None for an evaluation alone."""

    cfg: DictConfig
    train: DetectionDataset | None
    val: DetectionDataset

    @property
    def training_set(self) -> DetectionDataset:
        """`train`; raises ValueError where it is None."""
        if self.train is None:
            raise ValueError("the setup is for evaluation: prepare(cfg) loads the training set")
        return self.train


def prepare(cfg: DictConfig, *, training: bool = True) -> Setup:
    """Load the data, fit the config to it, and build the model without memory: all in seconds.

    The class names, the number of classes and of keypoints are taken from the data where the config
    leaves them open (None), and checked where it does not; the model gives as many detections as
    an image has objects; the learning rate is scaled to the batch. The config is changed in place.

    Raises:
        UserError: data, skeleton, config and model do not fit together.
    """
    build_data.check_data_nodes(cfg)
    check_values(cfg)
    dtype_of(cfg.train.precision, device_of(cfg.train.device))

    train_set = None
    if training or cfg.data.classes is None:
        train_set = build_dataset(cfg, "data.train")
        cfg.data.classes = config.escaped(list(train_set.classes))
        if training:
            _warn_of_narrow_range(train_set)
    val_set = build_dataset(cfg, "data.val")
    if train_set is not None:
        build_data.check_keypoints(train_set, val_set)

    fit_model(cfg, val_set.classes, val_set.skeleton)
    if has_head(cfg.model.roi_heads, "mask"):
        require_outlines(val_set)
    fit_limits(cfg, val_set)
    model = build_without_memory(cfg)
    check_geometry(model)
    if not training or train_set is None:
        return Setup(cfg, None, val_set)

    check_best(cfg, val_set)
    _warn_of_shared_images(train_set, val_set)
    fit_class_weights(cfg, train_set)
    if has_head(cfg.model.roi_heads, "keypoint"):
        warn_of_unlabelled_keypoints(train_set, "data.train")
        warn_of_unlabelled_keypoints(val_set, "data.val")
    _scale_learning_rate(cfg)
    freeze(model, cfg.train.freeze)
    _warn_of_random_frozen_parameters(cfg, model)
    if cfg.train.process_invariant:
        process_invariant(cfg)
        refuse_dependent_layers(model)
    build_optimizer(cfg, model)
    multiplier = config.build(cfg.lr_multiplier, "lr_multiplier")
    warn_of_low_peak(multiplier, cfg.train.max_iter, cfg.optimizer.lr)
    return Setup(cfg, train_set, val_set)


def _warn_of_narrow_range(train: DetectionDataset) -> None:
    paths = [record["file_name"] for record in train.records]
    narrow = narrow_range(paths, train.name)
    if narrow is not None:
        log.warning("%s; %s", narrow.message, narrow.remedy)


def _warn_of_shared_images(train: DetectionDataset, val: DetectionDataset) -> None:
    """Warn where images of the validation set are files that are trained on, too."""
    resolved = functools.cache(Path.resolve)

    def place(record: dict[str, Any]) -> tuple[Path, str]:
        path = Path(record["file_name"])
        return resolved(path.parent), path.name

    trained = set(map(place, train.records))
    shared = [record["file_name"] for record in val.records if place(record) in trained]
    if shared:
        log.warning(
            "%d of %s of the val set are trained on, such as %s: their AP says nothing about new "
            "images; roilab data split divides a file",
            len(shared),
            counted(len(val), "image"),
            shared[0],
        )


def build_without_memory(cfg: DictConfig) -> Any:
    """The model of a config on the meta device, or where it cannot be built there, on the CPU."""
    try:
        with torch.device("meta"):
            return config.build(cfg.model, "model")
    except UserError:
        # Detectron2's Swin, ViT and MViT compute numbers while they are built. A mistake in the
        # config fails here, too.
        return config.build(cfg.model, "model")


def _warn_of_random_frozen_parameters(cfg: DictConfig, model: nn.Module) -> None:
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen and not weights_of(cfg).source:
        log.warning(
            "train.init_checkpoint is empty and %s frozen, the first %s: they "
            "stay random. model.backbone.bottom_up.freeze_at=0 and train.freeze=[] train all",
            counted(len(frozen), "parameter is", "parameters are"),
            frozen[0],
        )


def _scale_learning_rate(cfg: DictConfig) -> None:
    """Scale `optimizer.lr` linearly from `train.lr_batch_size` images per step to the true number.

    "Accurate, Large Minibatch SGD" (arXiv 1706.02677), Sec. 2.1. It happens once: the config then
    has the true number.
    """
    images = cfg.dataloader.train.total_batch_size * cfg.train.accumulate
    if cfg.train.lr_batch_size in (None, images):
        return
    rate = cfg.optimizer.lr
    batch = cfg.train.lr_batch_size
    cfg.optimizer.lr = rate * images / batch
    cfg.train.lr_batch_size = images
    text = "learning rate %g for %d images a step: %g for %d (train.lr_batch_size=null leaves it)"
    log.warning(text, rate, batch, cfg.optimizer.lr, images)


def check_best(cfg: DictConfig, val: DetectionDataset) -> None:
    """Check that `train.best` is a metric that the val set has ground truth for.

    Raises:
        UserError: no evaluation gives such a metric, or it would always be empty.
    """
    metric = cfg.train.best
    if metric is None or metric == "val_total_loss":
        return
    # Without detections, AP is 0 where there is ground truth, and None elsewhere.
    truth = GroundTruth(val.coco_json(), val.skeleton, cfg.evaluation.max_detections)
    values = flat(average_precision(truth, [], build_data.tasks_of(cfg.model.roi_heads)))
    if cfg.train.ema is not None:
        values |= {f"ema/{name}": value for name, value in values.items()}
    if metric not in values:
        names = [*values, "val_total_loss"]
        near = difflib.get_close_matches(str(metric), names, n=3)
        raise UserError(
            "no evaluation gives such a metric",
            key="train.best",
            found=metric,
            expected=f"perhaps {' or '.join(near)}" if near else f"one of {', '.join(names)}",
        )
    if values[metric] is None:
        usable = [name for name, value in values.items() if value is not None]
        raise UserError(
            "the val set has no object that counts for this metric",
            key="train.best",
            found=f"{metric}, for which there are 0 objects of {len(val)} images",
            expected=f"one of {', '.join(usable) or 'none'}, or val_total_loss",
        )


def warn_of_unlabelled_keypoints(dataset: DetectionDataset, key: str) -> None:
    """Warn where a data set, with this key, does not have a single labelled keypoint."""
    if dataset.skeleton is None:
        return
    objects = 0
    for record in dataset.records:
        for anno in record["annotations"]:
            if dataset.classes[anno["category_id"]] in dataset.skeleton.classes:
                objects += 1
                if any(visibility > 0 for visibility in anno["keypoints"][2::3]):
                    return
    log.warning(
        "%s: no keypoint is labelled, all %d of %d objects have v = 0: "
        "keypoints are neither learnt nor scored",
        key,
        objects * len(dataset.skeleton.keypoints),
        objects,
    )


def fit_model(cfg: DictConfig, classes: Sequence[str], skeleton: Skeleton | None) -> None:
    """Set the numbers of classes and keypoints of a config's model where they are open.

    Raises:
        UserError: the model has other numbers, or lacks what they need.
    """
    data = cfg.data
    heads = cfg.model.roi_heads
    num_classes = len(classes)
    num_keypoints = None if skeleton is None else len(skeleton.keypoints)
    if data.num_classes is None:
        data.num_classes = num_classes
    if data.num_keypoints is None:
        data.num_keypoints = num_keypoints

    checks = [(f"classes {list(classes)}", "num_classes", num_classes)]
    if has_head(heads, "keypoint"):
        if num_keypoints is None:
            raise UserError(
                "the model has a keypoint head but the data has no skeleton",
                key="data.skeleton",
                expected="coco_person, or a JSON file that declares yours",
            )
        checks.append(("skeleton", "keypoint_head.num_keypoints", num_keypoints))
    for meaning, key, expected in checks:
        number = OmegaConf.select(heads, key)
        if number != expected:
            raise UserError(
                f"the model does not fit the data's {meaning}",
                key=f"model.roi_heads.{key}",
                found=number,
                expected=expected,
                remedy="leave it to the data: drop the override",
            )
    if has_head(heads, "mask") and heads.mask_head.num_classes not in (1, num_classes):
        raise UserError(
            "the mask head does not fit the data's classes",
            key="model.roi_heads.mask_head.num_classes",
            found=heads.mask_head.num_classes,
            expected=f"{num_classes}, or 1 for a class-agnostic head",
        )

    channels = cfg.model.get("input_format") or "BGR"
    for split in ("train", "test"):
        loaded = cfg.dataloader[split].get("image_format", "BGR")
        if loaded != channels:
            raise UserError(
                "the images are not loaded in the model's order of channels",
                key=f"dataloader.{split}.image_format",
                found=loaded,
                expected=f"{channels}, model.input_format",
                remedy=f"dataloader.{split}.image_format={channels}",
            )


def fit_class_weights(cfg: DictConfig, train: DetectionDataset) -> None:
    """Set `data.class_weights` from the instances of the training set, with `train.class_balance`.

    Raises:
        UserError: they are set without it, or the model has no loss that takes them.
    """
    beta = cfg.train.get("class_balance")
    weights = cfg.data.get("class_weights")
    if beta is not None:
        cfg.data.class_weights = class_weights(instances_by_class(train), beta)
        with_class_weights(cfg, cfg.model)
    elif weights is not None:
        raise UserError(
            "classes have weights although they are not balanced",
            key="data.class_weights",
            found=weights,
            expected="null, or train.class_balance, from which they follow",
            remedy="data.class_weights=null",
        )


def fit_limits(cfg: DictConfig, dataset: DetectionDataset) -> None:
    """Let the model give as many detections as an image has objects, where no key says how many.

    It gets as many proposals in evaluation, where they are fewer than the objects. The config is
    changed in place. `evaluation.max_detections` is the one key for both limits; where it is None,
    they follow the data.
    """
    objects, enough = _most_objects(dataset)
    if OmegaConf.select(cfg, TOPK) is None and objects > _STOCK_TOPK:
        OmegaConf.update(cfg, TOPK, enough, force_add=True)
    topk = OmegaConf.select(cfg, TOPK) or _STOCK_TOPK
    in_training, in_test = OmegaConf.select(cfg, _PROPOSALS) or _STOCK_PROPOSALS
    if in_test < min(objects, topk):
        OmegaConf.update(cfg, _PROPOSALS, [in_training, min(enough, topk)], force_add=True)


def limits_note(cfg: DictConfig, dataset: DetectionDataset) -> str:
    """A note on images with many objects: a limit other than COCO's, or objects left out.

    "": nothing. See `roilab.evaluation.ap`.
    """
    tasks = build_data.tasks_of(cfg.model.roi_heads)
    truth = GroundTruth(dataset.coco_json(), dataset.skeleton, cfg.evaluation.max_detections)
    proposals = (OmegaConf.select(cfg, _PROPOSALS) or _STOCK_PROPOSALS)[1]
    of_model = {TOPK: OmegaConf.select(cfg, TOPK) or _STOCK_TOPK, _PROPOSALS: proposals}
    left_out = exceeded_limits(truth, tasks, of_model)
    note = "; ".join([*raised_limits(truth, tasks), *left_out])
    if left_out:
        _, enough = _most_objects(dataset)
        note += f". To count them: evaluation.max_detections={enough}"
    return note


def _most_objects(dataset: DetectionDataset) -> tuple[int, int]:
    """The most objects that an image has, without crowds, and these rounded up to hundreds."""
    most = 0
    for record in dataset.records:
        objects = [anno for anno in record["annotations"] if not anno.get("iscrowd", 0)]
        most = max(most, len(objects))
    return most, math.ceil(most / 100) * 100
