"""A config that is being written: what the user asked for, and values with their reasons."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from roilab.data.dataset import DetectionDataset
from roilab.data.workers import available_cores
from roilab.engine import config
from roilab.engine.config_keys import escaped
from roilab.engine.overrides import split_override
from roilab.engine.preflight import check_geometry
from roilab.engine.setup import build_without_memory, fit_model

_PLACES = ("data.train.", "data.val.", "train.output_dir")


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine that is to train: its cores, and the bytes of its first GPU; None: no GPU."""

    cores: int
    gpu_memory: int | None


def this_machine() -> Hardware:
    """The hardware of this machine."""
    memory = None
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
    return Hardware(available_cores(), memory)


@dataclass(frozen=True, slots=True)
class Part:
    """Values of keys, none where something stays as it is, and the reason in a sentence."""

    reason: str
    values: Mapping[str, Any]


class Draft:
    """A config of a base and of the overrides that the user asked for, to which parts are added.

    Args:
        base, asked: see `roilab.engine.config.base_config`.
        defaults: where the base is the user's own, configs of RoILab: other values than theirs are
            the user's, and stay.

    Attributes:
        cfg: the config as it is so far.
        parts: in the order in which they were added.
    """

    def __init__(
        self, base: str, asked: Sequence[str], defaults: Sequence[DictConfig] = ()
    ) -> None:
        self.base = base
        self.asked = list(asked)
        self.defaults = list(defaults)
        self.cfg: DictConfig = config.base_config(base, asked)
        self.start = copy.deepcopy(self.cfg)
        self.parts: list[Part] = []

    def is_asked(self, key: str) -> bool:
        """Whether the user set this key: it, one above or one below, or it in a base of their own.

        Where the data and the run folder are does not follow from a base.
        """
        keys = [split_override(text)[0] for text in self.asked]
        pairs = [pair for other in keys for pair in ((key, other), (other, key))]
        if any(f"{inner}.".startswith(f"{outer}.") for inner, outer in pairs):
            return True
        if not self.defaults or key.startswith(_PLACES):
            return False
        value = OmegaConf.select(self.start, key)
        return all(value != OmegaConf.select(cfg, key) for cfg in self.defaults)

    def add(self, topic: str, reason: str = "", values: Mapping[str, Any] | None = None) -> None:
        """Set values for a reason, but for those that the config has; the topic begins the reason.

        Where the user asked for any of them, it says so and sets none.
        """
        values = values or {}
        if any(map(self.is_asked, values)):
            if topic:
                self.parts.append(Part(f"{topic}: as you asked.", {}))
            return
        changed = {}
        for key, value in values.items():
            before = OmegaConf.select(self.cfg, key)
            OmegaConf.update(self.cfg, key, escaped(value), merge=False, force_add=True)
            if before is None or OmegaConf.select(self.cfg, key) != before:
                changed[key] = value
        self.parts.append(Part(f"{topic}: {reason}." if topic else "", changed))

    def build_model(self, train: DetectionDataset) -> Any:
        """The model without memory, with the classes and keypoints of a data set.

        Raises:
            UserError: the base, or what the user asked for, does not fit the data.
        """
        cfg = copy.deepcopy(self.cfg)
        fit_model(cfg, train.classes, train.skeleton)
        model = build_without_memory(cfg)
        check_geometry(model)
        return model
