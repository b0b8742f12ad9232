"""The 100-epoch configs with large-scale jitter are the recipes of Detectron2's new_baselines."""

import copy
from typing import Any

import pytest
import torch
from detectron2.layers.batch_norm import NaiveSyncBatchNorm
from omegaconf import DictConfig
from tests.test_recipes import (
    BUILT_DIFFERENCES,
    MODEL_DIFFERENCES,
    OPTIMIZER_DIFFERENCES,
    POOLER_IS,
    assert_same_files,
    defaults,
    differing,
    settings,
    upstream,
)
from torch import nn

from roilab.data.loaders import eval_loader, train_loader
from roilab.engine import config
from roilab.engine.build_data import annotations_for
from roilab.engine.build_model import weights_of

# Ours has the norm of the heads by its name in Detectron2, where theirs has a lambda, which could
# not be saved.
NORM = {f"roi_heads.{head}.conv_norm" for head in ("box_head", "mask_head")}
# Only masks that are not polygons, as crowds in COCO, are padded.
PADDING = {"1.seg_pad_value"}

names = pytest.mark.parametrize(
    "name", ["mask_rcnn_R_50_FPN_100ep_LSJ", "mask_rcnn_R_101_FPN_100ep_LSJ"]
)


def pair(name: str) -> tuple[DictConfig, DictConfig]:
    """Ours and Detectron2's."""
    ours = config.load_config(f"configs/{name}.py", ["data.num_classes=80"])
    return ours, upstream(f"new_baselines/{name}.py")


@names
def test_model_and_optimizer(name: str) -> None:
    cfg, theirs = pair(name)
    stock = copy.deepcopy(theirs.model)
    for head in ("box_head", "mask_head"):
        stock.roi_heads[head].conv_norm = "a lambda"
    plain = [config.to_plain_data(model) for model in (cfg.model, stock)]
    assert NORM <= differing(*plain) <= MODEL_DIFFERENCES.keys() | NORM
    for task in ("box", "mask"):
        assert POOLER_IS.items() <= plain[0]["roi_heads"][f"{task}_pooler"].items()
    with torch.device("meta"):
        models = [config.build(node.model, "model") for node in (cfg, theirs)]
    a, b = map(settings, models)
    differences = {key for key in a | b if a.get(key, ...) != b.get(key, ...)}
    assert differences <= BUILT_DIFFERENCES.keys()
    assert all(p.requires_grad for p in models[0].parameters())
    assert norms(models[0]) == norms(models[1])
    assert len([kind for kind in norms(models[0]).values() if kind[0] is NaiveSyncBatchNorm]) > 4
    optimizers = [config.to_plain_data(node.optimizer) for node in (cfg, theirs)]
    assert differing(*optimizers) == OPTIMIZER_DIFFERENCES.keys()


def norms(model: nn.Module) -> dict[str, Any]:
    """The kind and the statistics of each norm."""
    return {
        name: (type(module), getattr(module, "_stats_mode", None))
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }


@names
def test_training(name: str) -> None:
    cfg, theirs = pair(name)
    for key in ("max_iter", "eval_period", "log_period", "init_checkpoint"):
        assert cfg.train[key] == theirs.train[key], key
    assert cfg.train.checkpoint_period == theirs.train.checkpointer.period
    assert cfg.train.lr_batch_size == theirs.dataloader.train.total_batch_size == 64
    assert weights_of(cfg).source == ""
    # Half precision: float16 there, bfloat16 here, on GPUs that are faster with it. Gradients are
    # sent between processes as they are, and not as float16.
    assert theirs.train.amp.enabled
    assert theirs.train.ddp.fp16_compression
    assert cfg.train.precision == "auto"
    ours, stock = (config.build(node.lr_multiplier, "schedule") for node in (cfg, theirs))
    steps = cfg.train.max_iter
    drops = (163889, 177546)
    near = [step for drop in drops for step in range(drop - 3, drop + 3)]
    for step in (*range(600), *range(600, steps, 250), *near, steps - 1):
        assert ours(step / steps) == pytest.approx(stock(step / steps), rel=1e-6), step


@names
def test_data(name: str) -> None:
    cfg, theirs = pair(name)
    train, mapper = cfg.dataloader.train, theirs.dataloader.train.mapper
    plain = [config.to_plain_data(node)["augmentations"] for node in (train, mapper)]
    assert differing(*plain) <= PADDING
    test = (cfg.dataloader.test, theirs.dataloader.test.mapper)
    plain = [config.to_plain_data(node)["augmentations"] for node in test]
    assert plain[0] == plain[1]
    assert train.total_batch_size == theirs.dataloader.train.total_batch_size
    assert defaults(train_loader, train)["recompute_boxes"] is mapper.recompute_boxes is True
    assert defaults(train_loader, train).get("copy_paste") is None
    assert defaults(train_loader, train)["aspect_ratio_grouping"]
    assert defaults(eval_loader, cfg.dataloader.test)["batch_size"] == 1
    assert annotations_for(cfg.model) == {"masks": True, "keypoints": False, "bitmasks": False}
    assert mapper.image_format == train.image_format == cfg.model.input_format
    for node, split in ((cfg.data.train, "train"), (cfg.data.val, "test")):
        assert_same_files(node, theirs.dataloader[split].dataset.names)
