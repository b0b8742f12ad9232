"""Detectron2's box predictor with a classification loss in which classes weigh differently."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Instances
from torch import Tensor
from torch.nn import functional as F


class WeightedBoxPredictor(FastRCNNOutputLayers):
    """Detectron2's FastRCNNOutputLayers, whose classification loss weighs a region by its class.

    It has the same parameters; only `loss_cls` differs (`weighted_cross_entropy`).

    Args:
        class_weights: of each class, without the background, which weighs 1.
        parts: the arguments of FastRCNNOutputLayers.
    """

    class_weights: Tensor

    def __init__(self, *, class_weights: Sequence[float], **parts: Any) -> None:
        super().__init__(**parts)
        weights = torch.tensor([*class_weights, 1.0])
        # Not part of a checkpoint, which is that of the stock layer.
        self.register_buffer("class_weights", weights, persistent=False)

    def losses(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> dict[str, Tensor]:
        """Detectron2's losses, `loss_cls` with the weights of the classes."""
        losses: dict[str, Tensor] = super().losses(predictions, proposals)
        scores, _ = predictions
        classes = torch.cat([region.gt_classes for region in proposals])
        loss = weighted_cross_entropy(scores, classes, self.class_weights)
        return {**losses, "loss_cls": loss * self.loss_weight.get("loss_cls", 1.0)}


def weighted_cross_entropy(scores: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """The mean over all regions of the cross entropy times the weight of the region's class.

    It is a mean over the number of regions, not over the sum of their weights, so that an instance
    weighs the same in any batch, and shares of a batch add up to its loss.

    Args:
        scores: N x (C + 1), logits.
        classes: N, from 0 to C, which is the background.
        weights: C + 1.
    """
    if not len(classes):
        return scores.sum() * 0
    return F.cross_entropy(scores, classes, weights, reduction="none").mean()
