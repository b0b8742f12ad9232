"""Configs that earlier versions of RoILab saved, in the names of today.

A saved config is renamed when it is read, so that whatever opens, compares or resumes a run knows
today's names alone. The file stays as it is.
"""

from collections.abc import Mapping
from typing import Any

# Full name of a target that moved or was renamed -> its name today.
TARGETS: Mapping[str, str] = {"roilab.data.dataset.load": "roilab.data.dataset.load_dataset"}
# Layout 1 had the rules of the labels beside the other keys of `data` and of both splits.
RULES = (
    "class_attribute",
    "class_map",
    "default_class",
    "keypoint_attribute",
    "instance_attribute",
    "visibility_attribute",
    "unlabelled",
    "keypoint_vertices",
)
# Layout 1 had in `dataloader.train` which annotations are loaded; they follow from the model now.
LOADED = ("masks", "keypoints", "bitmaps")
_RULES_TARGET = "roilab.via.LabelRules"


def with_new_names(config: Any) -> Any:
    """A copy of a saved config, plain data, with today's keys and targets; other data as it is."""
    config = _renamed(config)
    if not isinstance(config, dict):
        return config
    data = config.get("data")
    loaders = config.get("dataloader")
    if isinstance(data, dict):
        config["data"] = _with_rules(data)
    if isinstance(loaders, dict) and isinstance(loaders.get("train"), dict):
        for key in LOADED:
            loaders["train"].pop(key, None)
    return config


def _renamed(value: Any) -> Any:
    """A copy with today's names of all classes and functions."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {key: _renamed(item) for key, item in value.items()}
    if "_target_" in renamed:
        # A class or function that is an argument is a call that finds it by `name`.
        for key in ("_target_", "name"):
            name = renamed.get(key)
            if isinstance(name, str):
                renamed[key] = TARGETS.get(name, name)
    return renamed


def _with_rules(data: dict[Any, Any]) -> dict[Any, Any]:
    """`data`, or a split, with the rules of its labels in one node."""
    kept = {key: value for key, value in data.items() if key not in RULES}
    for split in ("train", "val"):
        if isinstance(kept.get(split), dict):
            kept[split] = _with_rules(kept[split])
    rules = {key: data[key] for key in RULES if key in data}
    return kept | {"rules": {**rules, "_target_": _RULES_TARGET}} if rules else kept
