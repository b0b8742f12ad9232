"""Checks before an export: models of other kinds are refused by name."""

from typing import Any

from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.modeling.roi_heads.mask_head import BaseMaskRCNNHead
from detectron2.projects.point_rend import ImplicitPointRendMaskHead, PointRendMaskHead

from roilab.errors import UserError
from roilab.modeling import KeypointHead, RoIPooler


def refuse_unsupported(model: Any) -> None:
    """Make sure that a model consists of what `Detector` restates.

    Raises:
        UserError: it has a part of another kind.
    """
    _require("model", model, GeneralizedRCNN)
    _require("model.proposal_generator", model.proposal_generator, RPN)
    heads = model.roi_heads
    _require("model.roi_heads", heads, StandardROIHeads)
    # Such as a cascade of them.
    _require("model.roi_heads.box_predictor", heads.box_predictor, FastRCNNOutputLayers)
    poolers = ["box_pooler"]
    if heads.mask_on and heads.mask_pooler is None:
        kinds = (PointRendMaskHead,)
        _require("model.roi_heads.mask_head", heads.mask_head, *kinds)
        if isinstance(heads.mask_head, ImplicitPointRendMaskHead):
            raise _unsupported("model.roi_heads.mask_head", heads.mask_head, kinds)
    elif heads.mask_on:
        _require("model.roi_heads.mask_head", heads.mask_head, BaseMaskRCNNHead)
        poolers.append("mask_pooler")
    if heads.keypoint_on:
        _require("model.roi_heads.keypoint_head", heads.keypoint_head, KeypointHead)
        poolers.append("keypoint_pooler")
    for name in poolers:
        _require(f"model.roi_heads.{name}", getattr(heads, name), RoIPooler)
    if model.backbone.padding_constraints.get("square_size", 0):
        raise UserError(
            "a model that pads images to squares is not exported",
            key="model.backbone.square_pad",
            found=model.backbone.padding_constraints["square_size"],
            expected=0,
        )


def _require(key: str, part: Any, *kinds: type) -> None:
    if not isinstance(part, kinds):
        raise _unsupported(key, part, kinds)


def _unsupported(key: str, part: Any, kinds: tuple[type, ...]) -> UserError:
    return UserError(
        "a part of the model is of a kind that is not exported",
        key=key,
        found=type(part).__name__,
        expected=" or ".join(kind.__name__ for kind in kinds),
    )
