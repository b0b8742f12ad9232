"""Checks of a config's data and loader nodes, and the data sets and loaders that they describe."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from roilab.data.dataset import DetectionDataset
from roilab.data.from_catalog import from_catalog
from roilab.data.records import log_problems
from roilab.engine import config, config_keys
from roilab.engine.config_keys import full_name
from roilab.engine.overrides import write_for_shell
from roilab.errors import UserError, rename_arguments
from roilab.via import Problem

_DATA = ("data.train", "data.val")
# What is handed to the loaders' nodes beside what the config says.
_LOADERS = {
    "dataloader.train": ("dataset", "seed", "first", "masks", "keypoints", "bitmasks"),
    "dataloader.test": ("dataset", "masks", "keypoints", "bitmasks"),
}
_OTHERS = ("model", "model.backbone", "model.roi_heads", "optimizer", "lr_multiplier")
# Settings of `data` that hold for any kind of data set, and the argument of a node that takes each.
_SHARED = {"rules.class_map": "rules", "skeleton": "skeleton"}


def check_data_nodes(cfg: DictConfig) -> None:
    """Refuse nodes that do not give what training and evaluation need, such as Detectron2's own.

    Raises:
        UserError: a node is missing or of another kind, or there is one that is not used.
    """
    _require_calls(cfg)
    for key in _DATA:
        _refuse_detectron2_loading(OmegaConf.select(cfg, key), key)
    for key, needed in _LOADERS.items():
        _check_loader(OmegaConf.select(cfg, key), key, needed)
    _refuse_unused_loaders(cfg)


def _require_calls(cfg: DictConfig) -> None:
    for key in (*_DATA, *_LOADERS, *_OTHERS):
        node = OmegaConf.select(cfg, key)
        if not config_keys.is_call(node):
            raise UserError(
                "the config has no such node",
                key=key,
                found=node,
                expected="a call, as in configs/small_mask.py and configs/common/data.py",
                remedy="take data and dataloader from one of RoILab's configs, and train and "
                "lr_multiplier with them",
            )


def _refuse_detectron2_loading(node: DictConfig, key: str) -> None:
    target = full_name(node["_target_"])
    if not target.startswith("detectron2."):
        return
    ours = full_name(from_catalog)
    names = node.get("names", "NAME")
    if not isinstance(names, str):
        names = names[0] if len(names) == 1 else "NAME"
    raise UserError(
        "Detectron2's loading of a data set is not used: it checks nothing",
        key=key,
        found=target,
        expected=f"{ours}, for what is registered in DatasetCatalog",
        remedy=f"{key}._target_={ours} {key}.name={names}",
    )


def _check_loader(node: DictConfig, key: str, needed: Sequence[str]) -> None:
    """Refuse a loader that lacks one of the `needed` arguments, or whose node sets one."""
    takes = config_keys.arguments_of(config_keys.target_of(node))
    missing = [name for name in needed if name not in takes]
    if missing:
        ours = "train_loader" if key == "dataloader.train" else "eval_loader"
        raise UserError(
            "a loader does not take what it is given",
            key=key,
            found=f"{full_name(node['_target_'])}, without {', '.join(missing)}",
            expected=f"roilab.data.loaders.{ours}, or one with its arguments",
            remedy="take dataloader from one of RoILab's configs; it takes Detectron2's "
            "augmentations",
        )
    for name in needed:
        if name in node:
            raise UserError(
                "the config sets an argument of a loader that follows from the run",
                key=f"{key}.{name}",
                found=node[name],
                expected="no such key: masks, keypoints and bitmasks follow the model's heads",
            )


def _refuse_unused_loaders(cfg: DictConfig) -> None:
    for name, node in cfg.dataloader.items():
        key = f"dataloader.{name}"
        if key not in _LOADERS:
            raise UserError(
                "nothing uses a node of the config",
                key=key,
                found=full_name(node["_target_"] if config_keys.is_call(node) else node),
                expected="dataloader.train and dataloader.test; AP is computed by "
                "roilab.evaluation",
                remedy=f"delete it in the config file: del {key}",
            )


def has_head(heads: DictConfig, task: str) -> bool:
    """Whether a model answers "mask" or "keypoint".

    Raises:
        UserError: it has to, but has no head for it.
    """
    features = f"{task}_in_features"
    head = heads.get(f"{task}_head")
    if head is None and heads.get(features) is not None:
        raise UserError(
            "the model has no such head",
            key=f"model.roi_heads.{task}_head",
            remedy=f"a head is switched off by model.roi_heads.{features}=null",
        )
    is_switched_off = features in heads and heads[features] is None
    return head is not None and not is_switched_off


def tasks_of(heads: DictConfig) -> list[str]:
    """The tasks of a model with these RoI heads: bbox, and segm and keypoints where it has them."""
    tasks = {"segm": "mask", "keypoints": "keypoint"}
    return ["bbox", *(task for task, head in tasks.items() if has_head(heads, head))]


def annotations_for(model: DictConfig) -> dict[str, bool]:
    """The annotations that the heads of a model learn from, as arguments of both loaders."""
    heads = model.roi_heads
    masks = has_head(heads, "mask")
    keypoints = has_head(heads, "keypoint")
    head = config_keys.target_of(heads.mask_head) if masks else None
    bitmasks = getattr(head, "learns_from_bitmasks", False)
    return {"masks": masks, "keypoints": keypoints, "bitmasks": bitmasks}


def build_loader(cfg: DictConfig, key: str, dataset: DetectionDataset, **more: Any) -> Any:
    """The loader of a node, which gives the annotations that the model learns from."""
    node = OmegaConf.select(cfg, key)
    return config.build(node, key, dataset=dataset, **annotations_for(cfg.model), **more)


def build_dataset(cfg: DictConfig, key: str) -> DetectionDataset:
    """The data set of a node.

    Raises:
        UserError: it cannot be built, is no DetectionDataset, has other classes than
            `data.classes`, or the node leaves out a setting of `data`.
    """
    node = OmegaConf.select(cfg, key)
    keys = config_keys.keys_of_arguments(node, key)

    def with_key(problem: Problem) -> Problem:
        return replace(problem, remedy=rename_arguments(problem.remedy, keys, write_for_shell))

    def log_with_keys(problems: Sequence[Problem]) -> None:
        log_problems(list(map(with_key, problems)))

    arguments = {"on_problems": log_with_keys} if "on_problems" in keys else {}
    dataset = config.build(node, key, **arguments)
    if not isinstance(dataset, DetectionDataset):
        raise UserError(
            "the node does not give a data set",
            key=key,
            found=f"{full_name(node['_target_'])} gives {type(dataset).__name__}",
            expected="a DetectionDataset, as roilab.data.dataset.load_dataset and "
            "roilab.data.from_catalog.from_catalog return it",
        )

    for setting, name in _SHARED.items():
        value = OmegaConf.select(cfg.data, setting)
        if value and name not in node:
            raise UserError(
                f"{key} does not take a setting of data",
                key=f"data.{setting}",
                found=value,
                remedy=f'give the node in the config file {name}="${{..{name}}}"',
            )

    if cfg.data.classes is not None and list(dataset.classes) != list(cfg.data.classes):
        raise UserError(
            f"the classes of {key} are not data.classes, which are those of the training",
            key=key,
            found=", ".join(dataset.classes),
            expected=", ".join(cfg.data.classes),
            remedy='give the node in the config file classes="${..classes}"',
        )
    return dataset


def check_keypoints(train: DetectionDataset, val: DetectionDataset) -> None:
    """Make sure that the keypoints of both splits are the same, in the same order.

    Raises:
        UserError: they are not.
    """
    if train.skeleton is None or val.skeleton is None:
        return
    if train.skeleton.keypoints != val.skeleton.keypoints:
        raise UserError(
            "the keypoints of training and validation are not the same",
            key="data.val",
            found=", ".join(val.skeleton.keypoints),
            expected=", ".join(train.skeleton.keypoints),
            remedy="correct keypoint_names in the metadata of one of them",
        )
