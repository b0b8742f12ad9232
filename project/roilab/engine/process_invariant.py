"""Training that does not depend on how many processes share a batch, but for rounding.

Detectron2's parts give each process the losses of its own share of a batch: one generator samples
the regions of all its images, losses of masks and keypoints are means over the share, and images
are padded to the largest of the share. Here the number of an image seeds the samples of its
regions, each loss has the number of items that it is a mean over, and images are padded to the
largest of the batch.
"""

from collections.abc import Sequence
from typing import Any

from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, StandardROIHeads
from detectron2.modeling.roi_heads.roi_heads import (
    select_foreground_proposals,
    select_proposals_with_visible_keypoints,
)
from detectron2.structures import ImageList, Instances
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn
from torch.nn import functional as F

from roilab.data.sampling import ANCHORS, PROPOSALS, seeded
from roilab.engine.config_keys import full_name, target_of
from roilab.errors import UserError
from roilab.modeling.keypoint_heads import target_cells


class InvariantRCNN(GeneralizedRCNN):
    """Detectron2's R-CNN for batches of the training loader, whose items have a `position`.

    For items without one, as in an evaluation, it is Detectron2's.
    """

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        """The normalised images, padded to the largest of the batch over all processes.

        Their `numbers`, one for each image, are the same in any process.
        """
        images = super().preprocess_image(batched_inputs)
        if not all("position" in item for item in batched_inputs):
            return images
        height, width = images.tensor.shape[-2:]
        below = max(comm.all_gather(height)) - height
        right = max(comm.all_gather(width)) - width
        padded: Any = ImageList(F.pad(images.tensor, (0, right, 0, below)), images.image_sizes)
        padded.numbers = [item["position"] for item in batched_inputs]
        return padded


class _Numbered(nn.Module):
    """A part of Detectron2's whose samples are seeded by the run's seed and the images' numbers."""

    def __init__(self, *, seed: int, **parts: Any) -> None:
        super().__init__(**parts)
        self.seed = seed
        self.numbers: Sequence[int] | None = None

    def forward(self, images: ImageList, *inputs: Any) -> Any:
        self.numbers = getattr(images, "numbers", None)
        return super().forward(images, *inputs)


class InvariantRPN(_Numbered, RPN):
    """Detectron2's RPN; the number of an image seeds the sample of its anchors."""

    def label_and_sample_anchors(self, anchors: Any, gt_instances: list[Instances]) -> Any:
        """Detectron2's, image by image."""
        if self.numbers is None:
            return super().label_and_sample_anchors(anchors, gt_instances)
        labels = []
        boxes = []
        for number, truth in zip(self.numbers, gt_instances, strict=True):
            with seeded(self.seed, ANCHORS, number):
                of_image = super().label_and_sample_anchors(anchors, [truth])
            labels += of_image[0]
            boxes += of_image[1]
        return labels, boxes


class InvariantROIHeads(_Numbered, StandardROIHeads):
    """Detectron2's RoI heads; the number of an image seeds the sample of its proposals.

    Attributes:
        loss_counts: the number of items in this process that a loss of the last step is a mean
            over. A loss without a number is a mean over images.
    """

    loss_counts: dict[str, int]

    def label_and_sample_proposals(
        self, proposals: list[Instances], targets: list[Instances]
    ) -> list[Instances]:
        """Detectron2's, image by image."""
        self.loss_counts = {}
        if self.numbers is None:
            return super().label_and_sample_proposals(proposals, targets)
        sampled: list[Instances] = []
        for number, proposed, truth in zip(self.numbers, proposals, targets, strict=True):
            with seeded(self.seed, PROPOSALS, number):
                sampled += super().label_and_sample_proposals([proposed], [truth])
        return sampled

    def _forward_box(self, features: Any, proposals: list[Instances]) -> Any:
        losses = super()._forward_box(features, proposals)
        self._count(losses, sum(map(len, proposals)))
        return losses

    def _forward_mask(self, features: Any, instances: list[Instances]) -> Any:
        losses = super()._forward_mask(features, instances)
        if self.training and self.mask_on:
            foreground, _ = select_foreground_proposals(instances, self.num_classes)
            self._count(losses, sum(map(len, foreground)))
        return losses

    def _forward_keypoint(self, features: Any, instances: list[Instances]) -> Any:
        losses = super()._forward_keypoint(features, instances)
        head: Any = getattr(self, "keypoint_head", None)
        # Detectron2's loss may also be no mean over keypoints.
        if self.training and self.keypoint_on and head.loss_normalizer in ("visible", None):
            foreground, _ = select_foreground_proposals(instances, self.num_classes)
            learnt = select_proposals_with_visible_keypoints(foreground)
            # Maps of any side give the same answer: a keypoint is in its box, or not.
            valid = [
                target_cells(image.gt_keypoints.tensor, image.proposal_boxes.tensor, 1)[1].sum()
                for image in learnt
                if len(image)
            ]
            self._count(losses, int(sum(valid)))
        return losses

    def _count(self, losses: Any, count: int) -> None:
        if self.training:
            self.loss_counts.update(dict.fromkeys(losses, count))


def process_invariant(cfg: DictConfig) -> DictConfig:
    """The model node of a config, with the parts of this module in place of Detectron2's.

    Raises:
        UserError: another part depends on how many processes share a batch.
    """
    model = cfg.model.copy()
    model._set_parent(cfg)  # interpolations lead out of it
    for key, stock, ours in (
        ("", GeneralizedRCNN, InvariantRCNN),
        ("proposal_generator", RPN, InvariantRPN),
        ("roi_heads", StandardROIHeads, InvariantROIHeads),
    ):
        node = model if key == "" else model[key]
        if target_of(node) is not stock:
            raise _refusal(f"model.{key}".rstrip(".") + "._target_", node["_target_"], stock)
        node["_target_"] = full_name(ours)
        if key:
            node["seed"] = cfg.train.seed
    predictor = model.roi_heads.box_predictor
    if target_of(predictor) is not FastRCNNOutputLayers or predictor.get("use_fed_loss"):
        key = "model.roi_heads.box_predictor"
        expected = full_name(FastRCNNOutputLayers)
        raise _refusal(key, predictor["_target_"], f"{expected}, no fed loss")
    mask_head = model.roi_heads.get("mask_head")
    if mask_head is not None and full_name(mask_head["_target_"]).endswith("point_rend"):
        part = "a head that draws its points for all images of a process together"
        raise _refusal("model.roi_heads.mask_head._target_", part, "another mask head")
    return model


def refuse_dependent_layers(model: nn.Module) -> None:
    """Raise UserError where a layer of a model depends on which images share a process."""
    for key, layer in model.named_modules():
        part = type(layer).__name__
        expected = ""
        is_trained = any(weight.requires_grad for weight in layer.parameters(recurse=False))
        is_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm) and is_trained
        if is_norm and not isinstance(layer, nn.SyncBatchNorm):
            expected = "frozen, group or layer norms; on GPUs also SyncBN"
        drops = any(getattr(layer, name, False) for name in ("p", "drop_prob"))
        if part.startswith("Drop") and drops:
            expected = "no dropout"
        if expected:
            raise _refusal(f"model, in {key}", part, expected)


def _refusal(key: str, part: Any, expected: Any) -> UserError:
    return UserError(
        "this part of the model depends on how many processes share a batch",
        key=key,
        found=full_name(part),
        expected=full_name(expected),
        remedy="train.process_invariant=False",
    )
