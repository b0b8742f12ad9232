"""Checks before a training that find within seconds the mistakes that would stop its first step."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import Tensor, nn

from roilab.data.dataset import DetectionDataset
from roilab.data.sampling import STEP, seeded
from roilab.engine import config
from roilab.engine.build_data import annotations_for, build_loader
from roilab.engine.build_model import train_mode
from roilab.errors import UserError

_RPN = "model.proposal_generator"
_SIDE = 64  # of the trial image, in pixels
# The box of its object, so thin that few regions overlap it: heads work on the fewest.
_BOX = (29.0, 3.0, 35.0, 61.0)


def check_geometry(model: Any) -> None:
    """Check that anchors and RoI poolers of an R-CNN fit the features that they are for.

    Raises:
        UserError: names the key, and both numbers.
    """
    strides = {name: shape.stride for name, shape in model.backbone.output_shape().items()}
    _check_anchors(model.proposal_generator, strides)
    scales = {name: 1 / stride for name, stride in strides.items()}
    for task in ("box", "mask", "keypoint"):
        _check_pooler(model.roi_heads, task, scales)


def _check_anchors(rpn: Any, strides: Mapping[str, int]) -> None:
    anchors = getattr(rpn, "anchor_generator", None)
    if anchors is None or not hasattr(anchors, "num_anchors"):
        return
    expected = _of_features(f"{_RPN}.in_features", rpn.in_features, strides)
    _check_equal(f"{_RPN}.anchor_generator.strides", anchors.strides, expected, "the features")

    outputs = getattr(getattr(rpn.rpn_head, "objectness_logits", None), "out_channels", None)
    numbers = anchors.num_anchors  # of a cell, for each feature
    if outputs is None or set(numbers) == {outputs}:
        return
    several = len(set(numbers)) > 1
    raise UserError(
        "the RPN's head does not have one output for each anchor of a cell",
        key=f"{_RPN}.head.num_anchors",
        found=outputs,
        expected=f"the same number at all levels, not {numbers}" if several else numbers[0],
        remedy=f"{_RPN}.anchor_generator makes sizes x aspect_ratios anchors; "
        f"set {_RPN}.head.num_anchors to their number",
    )


def _check_pooler(heads: Any, task: str, scales: Mapping[str, float]) -> None:
    names = getattr(heads, f"{task}_in_features", None)
    if names is None:
        return
    key = f"model.roi_heads.{task}"
    expected = _of_features(f"{key}_in_features", names, scales)
    pooler = getattr(heads, f"{task}_pooler", None)
    if pooler is not None:
        levels = getattr(pooler, "level_poolers", None)  # of Detectron2's own
        own = pooler.scales if levels is None else [level.spatial_scale for level in levels]
        _check_equal(f"{key}_pooler.scales", own, expected, "1 / stride")


def _of_features(key: str, names: Sequence[str], values: Mapping[str, float]) -> list[float]:
    """The values of these features; UserError where the backbone lacks one."""
    unknown = [name for name in names if name not in values]
    if unknown:
        message = "the backbone has no such features"
        expected = f"of {', '.join(values)}"
        raise UserError(message, key=key, found=", ".join(unknown), expected=expected)
    return [values[name] for name in names]


def _check_equal(key: str, values: Sequence[float], expected: list[float], meaning: str) -> None:
    if list(values) != expected:
        message = "a part of the model does not fit the features that it is for"
        fitting = f"{expected}, {meaning} of in_features"
        raise UserError(message, key=key, found=list(values), expected=fitting)


def try_step(cfg: DictConfig, model: Any, train: DetectionDataset, val: DetectionDataset) -> None:
    """Load an image of each set, and compute losses and predictions on tiny images.

    Nothing is learnt; the weights and the CPU's random generators keep their states.

    Raises:
        UserError: a loader or a part of the model fails; names its key.
    """
    with seeded(cfg.train.seed, STEP, 0):
        load_image(cfg, "dataloader.train", train, seed=cfg.train.seed)
        load_image(cfg, "dataloader.test", val)
        _try_model(cfg, model, train)


def load_image(cfg: DictConfig, key: str, dataset: DetectionDataset, **options: Any) -> None:
    """Load the first image of a data set as the loader's node at a key says.

    Raises:
        UserError: it cannot be loaded so.
    """
    if key == "dataloader.train":
        options["total_batch_size"] = comm.get_world_size()
    loader = build_loader(cfg, key, dataset, num_workers=0, **options)
    try:
        next(iter(loader))
    except UserError:
        raise
    except config.UNBUILDABLE as error:
        raise UserError(
            "an image cannot be loaded as the config says",
            key=f"{key}.augmentations",
            found=f"{type(error).__name__}: {error}",
            expected="augmentations that work on images, boxes, outlines and keypoints",
        ) from error


def _try_model(cfg: DictConfig, model: Any, train: DetectionDataset) -> None:
    item = _tiny(train, **annotations_for(cfg.model))
    running: list[tuple[str, str]] = []  # parts of the model that are at work, the innermost last
    hooks: list[Any] = []
    for name, part in model.named_modules():
        hooks += _follow(name, part, running)
    doing = "in a training step"
    try:
        with EventStorage(), torch.no_grad():
            train_mode(model, keep_statistics=True)
            model([item, item])
            doing = "where it predicts"
            model.eval()
            model([item])
    except FloatingPointError:
        pass  # the weights, not the config; the training reports it with its numbers
    except config.UNBUILDABLE as error:
        name, shapes = running[-1] if running else ("", "")
        raise UserError(
            f"a part of the model fails {doing}",
            key=_key(cfg, name),
            found=f"{type(error).__name__}: {error}{shapes}",
            expected="parts whose channels, sizes and numbers of classes fit each other",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _tiny(data: DetectionDataset, masks: bool, keypoints: bool, bitmasks: bool) -> dict[str, Any]:
    """A grey image with one object of the last class, in the loader's format."""
    x0, y0, x1, y1 = _BOX
    instances = Instances((_SIDE, _SIDE))
    instances.gt_boxes = Boxes(torch.tensor([_BOX]))
    instances.gt_classes = torch.tensor([len(data.classes) - 1])
    if masks:
        outlines = PolygonMasks([[[x0, y0, x1, y0, x1, y1, x0, y1]]])
        bitmaps = BitMasks.from_polygon_masks(outlines, _SIDE, _SIDE)
        instances.gt_masks = bitmaps if bitmasks else outlines
    if keypoints and data.skeleton is not None:
        middle = ((x0 + x1) / 2, (y0 + y1) / 2, 2.0)
        instances.gt_keypoints = Keypoints([[middle] * len(data.skeleton.keypoints)])
    image = torch.full((3, _SIDE, _SIDE), 128, dtype=torch.uint8)
    return {"image": image, "instances": instances, "height": _SIDE, "width": _SIDE}


def _follow(name: str, part: nn.Module, running: list[tuple[str, str]]) -> list[Any]:
    """Keep a part in `running`, with the shapes of its inputs, while it works; returns the hooks.

    A part that raises stays there.
    """

    def begin(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        shapes = [" x ".join(map(str, x.shape)) for x in inputs if isinstance(x, Tensor)]
        running.append((name, f"; its input: {', '.join(shapes)}" if shapes else ""))

    def end(*_: Any) -> None:
        running.pop()

    return [part.register_forward_pre_hook(begin), part.register_forward_hook(end)]


def _key(cfg: DictConfig, name: str) -> str:
    """The innermost node of the config that a part of the model comes from."""
    key, node = "model", cfg.model
    for part in name.replace("rpn_head", "head").split("."):  # it has another name in the config
        if not isinstance(node, DictConfig) or node.get(part) is None:
            break
        key, node = f"{key}.{part}", node[part]
    return key
