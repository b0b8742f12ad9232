"""The R50 and R101 configs are the recipes of the installed Detectron2 that they are named after.

The lazy leaves are compared key by key, the YAML recipes by what is built from them. What is meant
to be different is written down in this file, each with its reason.
"""

import functools
import importlib.resources
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import transforms as T
from detectron2.data.datasets.builtin import _PREDEFINED_SPLITS_COCO, _RAW_CITYSCAPES_SPLITS
from detectron2.data.detection_utils import build_augmentation
from detectron2.modeling import build_model as build_from_yaml
from detectron2.solver import build_lr_scheduler
from detectron2.solver import build_optimizer as optimizer_from_yaml
from detectron2.solver.lr_scheduler import LRMultiplier
from omegaconf import DictConfig, ListConfig
from torch import nn

from roilab.data.cityscapes import image_folder
from roilab.data.loaders import eval_loader, train_loader
from roilab.engine import config
from roilab.engine.build_data import annotations_for
from roilab.engine.build_model import build_optimizer, weights_of
from roilab.engine.setup import prepare
from roilab.synthetic import write_figures

# A leaf of ours, Detectron2's leaf, and the number of its classes.
TASKS = (("mask", "COCO-InstanceSegmentation", 80), ("keypoint", "COCO-Keypoints", 1))
LAZY = tuple(
    (f"{task}_rcnn_R_50_FPN_1x", f"{folder}/{task}_rcnn_R_50_FPN_1x.py", classes)
    for task, folder, classes in TASKS
)
YAML = tuple(
    (f"{task}_rcnn_{depth}_FPN", time, f"{folder}/{task}_rcnn_{depth}_FPN_{time}.yaml", classes)
    for task, folder, classes in TASKS
    for depth, time in (("R_50", "1x"), ("R_50", "3x"), ("R_101", "3x"))
)
CITYSCAPES = "mask_rcnn_R_50_FPN_cityscapes"
# Detectron2's recipe begins with COCO's weights.
YAML += ((CITYSCAPES, "coco weights", "Cityscapes/mask_rcnn_R_50_FPN.yaml", 8),)
ROOM = importlib.resources.files("detectron2") / "model_zoo/configs"

# Keys of the model that are different on purpose.
POOLER = "a pooler of ours that is ROIAlignV2 with these settings, and has RoIPool and RoIWarp too"
HEAD = "a head of ours with Detectron2's layers and loss, which adds arguments"
MODEL_DIFFERENCES = {
    **{
        f"roi_heads.{task}_pooler.{key}": POOLER
        for task in ("box", "mask", "keypoint")
        for key in ("_target_", "pooler_type", "op", "aggregation", "aligned")
    },
    "roi_heads.mask_head._target_": HEAD,
    "roi_heads.keypoint_head._target_": HEAD,
}
POOLER_IS = {"op": "roi_align", "aggregation": "average", "aligned": True}
OPTIMIZER_KEYS = ("lr", "momentum", "dampening", "nesterov", "weight_decay")
OPTIMIZER_DIFFERENCES = {"fused": "one kernel for all parameters; the same numbers"}
# Of `train`, what upstream has under another name or has not, with our value and the reason.
TRAIN_DIFFERENCES = {
    "amp": (
        "precision",
        "auto",
        "bfloat16 where the hardware is faster with it; train.precision=float32 is upstream's",
    ),
    "checkpointer.max_to_keep": ("checkpoints_kept", 3, "disks: 100 checkpoints take 35 GB"),
    "device": ("device", "auto", "CUDA where there is any, as upstream's; else the CPU"),
}


@functools.cache
def load(name: str, classes: int, schedule: str | None = None) -> DictConfig:
    overrides = [f"data.num_classes={classes}", "data.num_keypoints=17"]
    if schedule == "3x":  # the config is that of 1x with every override left out
        overrides.append("train.schedule=3x")
    if schedule == "coco weights":
        overrides.append("train.init_checkpoint=coco")
    name = f"{name}_1x" if schedule in ("1x", "3x") else name
    return config.load_config(f"configs/{name}.py", overrides)


@functools.cache
def upstream(path: str) -> DictConfig:
    return config.upstream(path)


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested dicts and lists."""
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from leaves(item, f"{prefix}.{key}".strip("."))
    else:
        yield prefix, value


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> set[str]:
    a, b = dict(leaves(ours)), dict(leaves(theirs))
    nothing = object()
    return {key for key in a | b if a.get(key, nothing) != b.get(key, nothing)}


@pytest.mark.parametrize(("name", "path", "classes"), LAZY)
class TestLazyLeaves:
    def test_model_and_optimizer(self, name: str, path: str, classes: int) -> None:
        ours = config.to_plain_data(load(name, classes))
        theirs = config.to_plain_data(upstream(path))
        differences = differing(ours["model"], theirs["model"])
        assert differences <= MODEL_DIFFERENCES.keys()
        poolers = [v for k, v in ours["model"]["roi_heads"].items() if k.endswith("_pooler")]
        assert len(poolers) == 2
        assert all(POOLER_IS.items() <= pooler.items() for pooler in poolers)
        assert differing(ours["optimizer"], theirs["optimizer"]) == OPTIMIZER_DIFFERENCES.keys()

    def test_training(self, name: str, path: str, classes: int) -> None:
        ours, theirs = load(name, classes).train, upstream(path).train
        for key in ("max_iter", "eval_period", "log_period"):
            assert ours[key] == theirs[key], key
        assert ours.checkpoint_period == theirs.checkpointer.period
        assert weights_of(load(name, classes))[0] == theirs.init_checkpoint
        for key, value, reason in TRAIN_DIFFERENCES.values():
            assert ours[key] == value, reason
        # What upstream's loop does not do.
        assert not theirs.amp.enabled
        assert (ours.clip_norm, ours.ema, ours.accumulate, list(ours.freeze)) == (None, None, 1, [])
        assert ours.lr_batch_size == theirs_batch(path)

    def test_schedule(self, name: str, path: str, classes: int) -> None:
        cfg, theirs = load(name, classes), upstream(path)
        ours, stock = (config.build(node.lr_multiplier, "schedule") for node in (cfg, theirs))
        assert_same_schedule(ours, stock, cfg.train.max_iter)

    def test_data(self, name: str, path: str, classes: int) -> None:
        ours, theirs = load(name, classes), upstream(path).dataloader
        train, mapper = ours.dataloader.train, theirs.train.mapper
        assert_same_augmentations(train, mapper)
        assert_same_augmentations(ours.dataloader.test, theirs.test.mapper)
        assert train.total_batch_size == theirs.train.total_batch_size
        assert annotations_for(ours.model)["masks"] == mapper.use_instance_mask
        assert annotations_for(ours.model)["keypoints"] == mapper.get("use_keypoint", False)
        image_format = defaults(train_loader, train)["image_format"]
        assert mapper.image_format == ours.model.input_format == image_format
        assert "instance_mask_format" not in mapper  # polygons, which is Detectron2's default
        assert not annotations_for(ours.model)["bitmasks"]
        assert not defaults(train_loader, train)["recompute_boxes"]
        assert defaults(train_loader, train)["aspect_ratio_grouping"]
        assert defaults(eval_loader, ours.dataloader.test)["batch_size"] == 1
        for split, node in (("train", ours.data.train), ("val", ours.data.val)):
            dataset = theirs["train" if split == "train" else "test"].dataset
            assert node.get("drop_empty", False) == dataset.get("filter_empty", True)
            assert node.get("min_keypoints", 0) == dataset.get("min_keypoints", 0)
            assert_same_files(node, dataset.names)


def theirs_batch(path: str) -> int:
    return upstream(path).dataloader.train.total_batch_size


def assert_same_files(node: DictConfig, name: str) -> None:
    places = functools.reduce(operator.or_, _PREDEFINED_SPLITS_COCO.values())
    places |= {
        split.format(task="instance_seg"): tuple(path.rstrip("/") for path in paths)
        for split, paths in _RAW_CITYSCAPES_SPLITS.items()
    }
    images, annotations = places[name]
    assert (node.images or str(image_folder(node.files))) == f"datasets/{images}"
    assert node.files == f"datasets/{annotations}"


def assert_same_augmentations(ours: DictConfig, theirs: DictConfig) -> None:
    plain = [config.to_plain_data(node)["augmentations"] for node in (ours, theirs)]
    assert plain[0] == plain[1]


def defaults(target: Any, node: DictConfig) -> dict[str, Any]:
    """What a function is called with by a node: its defaults, and what the node says."""
    return {**(target.__kwdefaults__ or {}), **node}


def assert_same_schedule(ours: Any, theirs: Any, steps: int) -> None:
    for step in (0, 1, 10, *range(100, steps, 250), steps - 1):
        assert ours(step / steps) == pytest.approx(theirs(step / steps), rel=1e-6)


# What built models hold that is different on purpose. Poolers are compared by themselves.
BUILT_DIFFERENCES = {
    "roi_heads.mask_head.output_size": "an argument of our head: twice the side, as Detectron2's",
    "roi_heads.keypoint_head.decoder": "an argument of our head: bicubic, as Detectron2's",
    "roi_heads.keypoint_head.side": "of the maps, which Detectron2's loss reads from the maps",
    "roi_heads.keypoint_head.keep_heatmaps": "Detectron2's always keeps them with its detections",
    "roi_heads.in_features": "where YAML has box_in_features from, which are compared",
    "roi_heads.box_predictor.loss_weight": "YAML leaves out that of the classes, which is 1",
}


def settings(model: nn.Module) -> dict[str, Any]:
    """Each number, text and flag that the parts of a model hold, and which parameters learn."""
    values: dict[str, Any] = {}
    for name, module in model.named_modules():
        if "_pooler" not in name:
            values |= {f"{name}.{key}": value for key, value in plain_attributes(module).items()}
    values |= {f"{name} learns": p.requires_grad for name, p in model.named_parameters()}
    return values | {f"{name} is": tuple(value.shape) for name, value in model.state_dict().items()}


def plain_attributes(thing: Any) -> dict[str, Any]:
    attributes = {}
    for key, value in vars(thing).items():
        if type(value).__module__.startswith("detectron2") and not isinstance(value, nn.Module):
            attributes |= {f"{key}.{name}": part for name, part in plain_attributes(value).items()}
        elif not key.startswith("_") and (plain := listed(value)) is not NotImplemented:
            attributes[key] = plain
    return attributes


def listed(value: Any) -> Any:
    """Tuples and lists of a config as lists; NotImplemented for what is not plain data."""
    if isinstance(value, list | tuple | ListConfig):
        items = [listed(item) for item in value]
        return NotImplemented if NotImplemented in items else items
    if isinstance(value, dict):
        items = {key: listed(item) for key, item in value.items()}
        return NotImplemented if NotImplemented in items.values() else items
    return value if value is None or isinstance(value, bool | int | float | str) else NotImplemented


@functools.cache
def read_yaml(path: str) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_file(str(ROOM / path))
    cfg.MODEL.DEVICE = "meta"
    return cfg


@pytest.mark.parametrize(("name", "schedule", "path", "classes"), YAML)
class TestYamlRecipes:
    def test_model_and_optimizer(self, name: str, schedule: str, path: str, classes: int) -> None:
        cfg, theirs = load(name, classes, schedule), read_yaml(path)
        with torch.device("meta"):
            models = config.build(cfg.model, "model"), build_from_yaml(theirs)
        a, b = map(settings, models)
        missing = object()
        differences = {key for key in a | b if a.get(key, missing) != b.get(key, missing)}
        assert differences <= BUILT_DIFFERENCES.keys()
        assert not models[0].backbone.bottom_up.stem.conv1.weight.requires_grad
        for task in ("box", "mask" if "mask" in path else "keypoint"):
            ours, stock = (getattr(model.roi_heads, f"{task}_pooler") for model in models)
            assert list(ours.scales) == [level.spatial_scale for level in stock.level_poolers]
            for level in stock.level_poolers:
                for key in ("output_size", "sampling_ratio", "aligned"):
                    assert getattr(ours, key) == getattr(level, key)
        groups = []
        for optimizer in (build_optimizer(cfg, models[0]), optimizer_from_yaml(theirs, models[1])):
            parts = optimizer.param_groups
            groups.append({tuple(str(part.get(key)) for key in OPTIMIZER_KEYS) for part in parts})
        assert groups[0] == groups[1]
        assert not theirs.SOLVER.CLIP_GRADIENTS.ENABLED
        assert not theirs.SOLVER.AMP.ENABLED

    def test_schedule(self, name: str, schedule: str, path: str, classes: int) -> None:
        cfg, theirs = load(name, classes, schedule), read_yaml(path)
        assert cfg.train.max_iter == theirs.SOLVER.MAX_ITER
        assert cfg.train.checkpoint_period == theirs.SOLVER.CHECKPOINT_PERIOD
        assert cfg.train.lr_batch_size == theirs.SOLVER.IMS_PER_BATCH
        assert cfg.dataloader.train.total_batch_size == theirs.SOLVER.IMS_PER_BATCH
        weight = nn.Parameter(torch.zeros(()))
        scheduler = build_lr_scheduler(theirs, torch.optim.SGD([weight], lr=1.0))
        assert isinstance(scheduler, LRMultiplier)
        ours = config.build(cfg.lr_multiplier, "lr_multiplier")
        assert_same_schedule(ours, scheduler._multiplier, cfg.train.max_iter)

    def test_data(self, name: str, schedule: str, path: str, classes: int) -> None:
        cfg, theirs = load(name, classes, schedule), read_yaml(path)
        train, test = cfg.dataloader.train, cfg.dataloader.test
        for node, is_train in ((train, True), (test, False)):
            built = [config.build(entry, "augmentation") for entry in node.augmentations]
            stock = build_augmentation(theirs, is_train)
            assert [augmentation(thing) for thing in built] == [
                augmentation(thing) for thing in stock
            ]
        assert not theirs.INPUT.CROP.ENABLED
        assert annotations_for(cfg.model)["masks"] == theirs.MODEL.MASK_ON
        assert annotations_for(cfg.model)["keypoints"] == theirs.MODEL.KEYPOINT_ON
        assert annotations_for(cfg.model)["bitmasks"] == (theirs.INPUT.MASK_FORMAT != "polygon")
        assert defaults(train_loader, train)["image_format"] == theirs.INPUT.FORMAT
        grouping = defaults(train_loader, train)["aspect_ratio_grouping"]
        assert grouping == theirs.DATALOADER.ASPECT_RATIO_GROUPING
        assert cfg.data.train.drop_empty == theirs.DATALOADER.FILTER_EMPTY_ANNOTATIONS
        least = theirs.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE
        assert cfg.data.train.min_keypoints == (least if theirs.MODEL.KEYPOINT_ON else 0)
        assert_same_files(cfg.data.train, theirs.DATASETS.TRAIN[0])
        assert_same_files(cfg.data.val, theirs.DATASETS.TEST[0])
        # The depth of a config that is loaded decides it.
        assert weights_of(cfg)[0] == theirs.MODEL.WEIGHTS


def augmentation(thing: T.Augmentation) -> tuple[str, dict[str, Any]]:
    attributes = plain_attributes(thing)
    if len(set(attributes.get("short_edge_length", ()))) == 1:
        # One length is the same as a range of one.
        attributes = {k: v for k, v in attributes.items() if k not in ("is_range", "sample_style")}
    return type(thing).__name__, attributes


def test_cityscapes_is_the_papers_recipe() -> None:
    """Mask R-CNN, Appendix A: iterations and drops, and those from COCO's weights."""
    fine = load(CITYSCAPES, 8)
    sizes = ["data.num_classes=8", "data.num_keypoints=17"]
    coco = config.load_config(f"configs/{CITYSCAPES}.py", ["train.schedule=coco", *sizes])
    for cfg, weights, steps, drop in ((fine, "imagenet", 24000, 18000), (coco, "coco", 4000, 3000)):
        assert (cfg.train.init_checkpoint, cfg.train.max_iter) == (weights, steps)
        multiplier = config.build(cfg.lr_multiplier, "lr_multiplier")
        rates = [cfg.optimizer.lr * multiplier(step / steps) for step in (drop - 1, drop)]
        assert rates == pytest.approx([0.01, 0.001])
        assert cfg.dataloader.train.total_batch_size == cfg.train.lr_batch_size == 8
    assert (
        fine.train.eval_period == read_yaml("Cityscapes/mask_rcnn_R_50_FPN.yaml").TEST.EVAL_PERIOD
    )
    changed = differing(config.to_plain_data(fine), config.to_plain_data(coco))
    expected = ("train.init_checkpoint", "train.max_iter", "train.output_dir", "train.schedule")
    assert changed == {*expected, "lr_multiplier.max_iter"}


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize("schedule", ["1x", "3x"])
def test_masks_and_keypoints_are_the_keypoint_recipe_with_a_mask_branch(
    depth: int, schedule: str
) -> None:
    both = config.to_plain_data(load(f"mask_keypoint_rcnn_R_{depth}_FPN", 1, schedule))
    keypoints = config.to_plain_data(load(f"keypoint_rcnn_R_{depth}_FPN", 1, schedule))
    masks = config.to_plain_data(load(f"mask_rcnn_R_{depth}_FPN", 1, schedule))
    expected = ("model.roi_heads.mask_", "weights.", "train.output_dir")
    assert all(key.startswith(expected) for key in differing(both, keypoints))
    branch = {k: v for k, v in both["model"]["roi_heads"].items() if k.startswith("mask_")}
    assert branch == {k: masks["model"]["roi_heads"][k] for k in branch}


def test_point_rend_is_the_mask_recipe_with_its_head() -> None:
    ours = config.to_plain_data(load("point_rend_R_50_FPN_1x", 80))
    differences = differing(ours, config.to_plain_data(load("mask_rcnn_R_50_FPN_1x", 80)))
    expected = ("model.roi_heads.mask_", "weights.", "train.output_dir")
    assert all(key.startswith(expected) for key in differences)


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.py")), ids=lambda path: path.stem)
def test_only_pretrained_layers_are_frozen(path: Path) -> None:
    """A layer that keeps random weights would spoil what is trained on it."""
    cfg = config.load_config(path, ["data.num_classes=2", "data.num_keypoints=17"])
    with torch.device("meta"):
        model = config.build(cfg.model, "model")
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    if cfg.train.init_checkpoint:
        assert {name.split(".")[2] for name in frozen} == {"stem", "res2"}
    else:
        assert not frozen


def test_frozen_layers_without_weights_are_warned_of(tmp_path: Path, caplog) -> None:
    figures = write_figures(tmp_path / "figures", train=2, val=2, size=96)
    overrides = []
    for split, file in (("train", figures.train), ("val", figures.val)):
        overrides += [f"data.{split}.files={file}", f"data.{split}.images={file.parent}"]
    labels = "data.rules.class_attribute=class data.rules.keypoint_attribute=keypoint "
    labels += "data.rules.instance_attribute=instance data.rules.visibility_attribute=visibility"
    scratch = [*overrides, *labels.split(), "train.init_checkpoint=''"]
    path = "configs/mask_rcnn_R_50_FPN_1x.py"
    trained = "model.backbone.bottom_up.freeze_at=0"
    prepare(config.load_config(path, [*overrides, *labels.split()]))
    prepare(config.load_config(path, [*scratch, trained]))
    assert "random" not in caplog.text
    prepare(config.load_config(path, scratch))
    assert trained in caplog.text
