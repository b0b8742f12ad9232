"""A data set and a machine -> the draft of a config that fits both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from roilab import via
from roilab.data.dataset import DetectionDataset
from roilab.engine import config
from roilab.engine.build_data import build_dataset, has_head
from roilab.engine.config_keys import escaped
from roilab.engine.overrides import Reference, split_override
from roilab.engine.train_keys import check_values
from roilab.errors import UserError
from roilab.files import config_folder
from roilab.skeleton import Skeleton
from roilab.suggest import rules
from roilab.suggest.anchors import AnchorFit
from roilab.suggest.draft import Draft, Hardware
from roilab.suggest.trainable import Heads, count_points, trainable_heads

# For a mask head, a keypoint head: the config for a CPU, and the one for a GPU.
_BASES = {
    (True, False): ("small_mask", "mask_rcnn_R_50_FPN_1x"),
    (False, True): ("small_keypoint", "keypoint_rcnn_R_50_FPN_1x"),
    (True, True): ("small_mask_keypoint", "mask_keypoint_rcnn_R_50_FPN_1x"),
    (False, False): ("small_mask", "mask_rcnn_R_50_FPN_1x"),  # its mask head is switched off
}
_MASKS = "model.roi_heads.mask_in_features"
_NO_VAL = (
    "none, so that AP will be that of the training images, which says nothing about new ones; "
    "`roilab data split` divides a file"
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A config that fits, with the data that it is for.

    Attributes:
        val: None: there is no validation set, and the training set stands in for it.
        anchors: None: they were not measured.
    """

    draft: Draft
    train: DetectionDataset
    val: DetectionDataset | None
    heads: Heads
    anchors: AnchorFit | None


def suggest_config(
    places: Mapping[str, Any], asked: Sequence[str], hardware: Hardware, base: str | None = None
) -> Suggestion:
    """Read the data, and draft a config that fits them and the machine.

    Args:
        places: where the data are: values of data.train.files, data.train.images, and perhaps of
            those of data.val.
        asked: overrides, which win over everything that follows from the data.
        base: the config to build on; None: the one whose heads the annotations can train.

    Raises:
        UserError: the data cannot be read, or they cannot train the heads of the base.
    """
    reading_draft = _reading_draft(places, asked, base)
    reading = reading_draft.cfg
    points, skeleton = _points(reading)
    if reading_draft.is_asked("data.skeleton"):
        skeleton = None
    if skeleton is not None:
        reading.data.skeleton = skeleton.name
    train = build_dataset(reading, "data.train")
    val = None
    if reading.data.val.files is not None:
        reading.data.classes = escaped(list(train.classes))
        val = build_dataset(reading, "data.val")
    heads = trainable_heads([train] if val is None else [train, val], points)

    if reading.train.device == "cpu":
        hardware = Hardware(hardware.cores, None)
    names = _BASES[heads.mask, heads.keypoint]
    defaults = [config.base_config(name) for name in names] if _is_own(base) else []
    draft = Draft(base or names[hardware.gpu_memory is not None], asked, defaults)
    check_values(draft.cfg)
    _add_data(draft, places, train, val)
    if skeleton is not None:
        reason = f"the points carry the names of {skeleton.name}"
        draft.add("Keypoints", reason, {"data.skeleton": skeleton.name})
    _add_heads(draft, heads, is_chosen=base is None, train=train)
    _add_weights(draft)
    backbone = draft.build_model(train).backbone
    rules.set_augmentation(draft, len(train), outlines=heads.mask)
    rules.set_image_size(draft, train, backbone)
    anchors = rules.set_anchors(draft, train, backbone)
    rules.set_sampling(draft, train)
    rules.set_training(draft, train, hardware)
    rules.set_periods(draft, has_val=val is not None)
    draft.build_model(train)  # it still fits
    return Suggestion(draft, train, val, heads, anchors)


def _reading_draft(places: Mapping[str, Any], asked: Sequence[str], base: str | None) -> Draft:
    """A config by which the data are read: the user's base, or one of RoILab's.

    RoILab's configs all read data in the same way, but some name COCO, which is not meant here.
    """
    keys = {text: split_override(text)[0] for text in asked}
    of_data = [
        text
        for text in asked
        if keys[text] == "train.device"
        or (keys[text].startswith("data.") and not keys[text].startswith("data.augmentation"))
    ]
    draft = Draft(base if base is not None and _is_own(base) else "small_mask", of_data)
    for key, value in places.items():
        draft.add("", values={key: value})
    return draft


def _is_own(base: str | None) -> bool:
    """Whether a base is the user's, not one of RoILab's."""
    if base is None:
        return False
    return config_folder().resolve() not in Path(config.find_config(base)).resolve().parents


def _points(reading: DictConfig) -> tuple[int, Skeleton | None]:
    """The number of points of the training files, and COCO's skeleton where they carry its names.

    0 and None where the user named a skeleton.
    """
    files = reading.data.train.files
    label_rules: via.LabelRules = config.build(reading.data.rules, "data.rules")
    if reading.data.skeleton is not None or not files:
        return 0, None
    return count_points([files] if isinstance(files, str) else list(files), label_rules)


def _add_data(
    draft: Draft, places: Mapping[str, Any], train: DetectionDataset, val: DetectionDataset | None
) -> None:
    draft.add("Training", train.summary())
    for key in ("data.train.files", "data.train.images"):
        if key in places:
            draft.add("", values={key: places[key]})
    draft.add("Validation", _NO_VAL if val is None else val.summary())
    for name in ("files", "images", "missing_images"):
        key = f"data.val.{name}"
        if val is None:  # it follows the training set, also where that is overridden
            draft.add("", values={key: Reference(f"${{data.train.{name}}}")})
        elif key in places:
            draft.add("", values={key: places[key]})


def _add_heads(draft: Draft, heads: Heads, *, is_chosen: bool, train: DetectionDataset) -> None:
    """Say which heads are trained, and switch off the mask head of a base where none can be.

    Raises:
        UserError: the user's base has a head that the annotations cannot train.
    """
    why = "; ".join(heads.why)
    roi_heads = draft.cfg.model.roi_heads
    if is_chosen and not (heads.mask or heads.keypoint):
        draft.add("Heads", why, {_MASKS: None})
    else:
        draft.add("Heads", why)
    lacking = [
        (task, reason)
        for task, can, reason in (
            ("mask", heads.outlines, heads.why[0]),
            ("keypoint", heads.keypoint, heads.why[1]),
        )
        if has_head(roi_heads, task) and not can
    ]
    for task, reason in lacking:
        raise UserError(
            f"the base config has a {task} head, which the annotations cannot train",
            key="base",
            found=f"{draft.base}; {reason}",
            remedy="leave out the base: one whose heads fit is chosen",
        )
    if draft.cfg.data.train.get("min_keypoints") and train.skeleton is not None:
        others = [name for name in train.classes if name not in train.skeleton.classes]
        if others:
            reason = f"those without keypoints are trained on, too, for {', '.join(others)}"
            draft.add("Images", reason, {"data.train.min_keypoints": 0})


def _add_weights(draft: Draft) -> None:
    """Begin with COCO's weights where the base has them."""
    weights = draft.cfg.get("weights")
    if not isinstance(weights, DictConfig) or "coco" not in weights:
        return
    values: dict[str, Any] = {"train.init_checkpoint": "coco"}
    roi_heads = draft.cfg.model.roi_heads
    if "mask_head" in roi_heads and not has_head(roi_heads, "mask"):
        values["weights.coco.may_differ"] = [*weights.coco.may_differ, "roi_heads.mask_head.*"]
    draft.add("Initial weights", "a model that knows COCO needs fewer images", values)
