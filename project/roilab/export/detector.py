"""A trained model as a function of tensors alone, of one image, that can be recorded as a graph.

Detectron2's inference passes `Instances` along and looks at values to skip work: at whether all
boxes are finite, or how many there are. This is the same computation without either, with the
model's own layers and constants (`GeneralizedRCNN.inference`, `find_top_rpn_proposals`,
`fast_rcnn_inference`, `detector_postprocess`).
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.modeling.roi_heads.mask_head import BaseMaskRCNNHead
from detectron2.projects.point_rend import ImplicitPointRendMaskHead, PointRendMaskHead
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

from roilab.errors import UserError
from roilab.export.parts import as_tensor, instance_masks, paste, pool, traced_bicubic
from roilab.modeling import DECODERS, KeypointHead, RoIPooler
from roilab.skeleton import Skeleton

INPUTS = ("image", "size")
MEANINGS = {
    "image": "uint8 (h, w, 3), RGB, at the size at which the model is to see it",
    "size": "int64 (2), height and width of the original image",
    "boxes": "float32 (instances, 4), x0 y0 x1 y1 in pixels of the original image",
    "scores": "float32 (instances), in [0, 1], best first",
    "labels": "int64 (instances), places in the list of classes",
    "masks": "bool (instances, height, width), of the original image",
    "mask_scores": "float32 (instances), in [0, 1], by which masks are ranked",
    "keypoints": "float32 (instances, K, 3), x y in pixels of the original image and a score in "
    "[0, 1]; NaN for classes without keypoints",
}


class Detector(nn.Module):
    """One image in, its instances out, in the frame of the original image.

    Args:
        model: a Detectron2 model with its weights, on the CPU.
        image_format: the model's order of channels, "BGR" or "RGB".
        classes: names in the order of the model's outputs.
        skeleton: of the keypoints and the classes that have them.

    Raises:
        UserError: a part of the model is of a kind that is not exported.
    """

    posed: Tensor

    def __init__(
        self, model: Any, image_format: str, classes: Sequence[str], skeleton: Skeleton | None
    ) -> None:
        super().__init__()
        refuse_unsupported(model)
        self.model: Any = model.eval()
        heads = model.roi_heads
        if heads.keypoint_on and heads.keypoint_head.decode_maps is DECODERS["bicubic"]:
            heads.keypoint_head.decode_maps = traced_bicubic
        self.is_bgr = image_format == "BGR"
        posed = torch.tensor(
            [skeleton is not None and name in skeleton.classes for name in classes]
        )
        self.register_buffer("posed", posed, persistent=False)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns, in its order."""
        names = ["boxes", "scores", "labels"]
        heads = self.model.roi_heads
        if heads.mask_on:
            names.append("masks")
            if hasattr(heads.mask_head, "mask_iou"):
                names.append("mask_scores")
        if heads.keypoint_on:
            names.append("keypoints")
        return tuple(names)

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """The values that `outputs` names, best instances first, in continuous coordinates.

        `MEANINGS` says what arguments and values are.
        """
        heads = self.model.roi_heads
        features = self._features(image)
        seen = as_tensor(image.shape[:2]).float()
        boxes = self._proposals(features, seen)
        boxes, scores, labels = self._detections(features, boxes, seen)
        # The masks and keypoints of a box are found where the model saw it, and go where it goes.
        scale = (size / seen).flip(0)
        placed = _clipped(boxes * scale.repeat(2), size.float())
        keep = (placed[:, 2:] > placed[:, :2]).all(dim=1).nonzero()[:, 0]
        boxes, placed, scores, labels = boxes[keep], placed[keep], scores[keep], labels[keep]
        outputs = {"boxes": placed, "scores": scores, "labels": labels}
        if heads.mask_on:
            masks, iou = instance_masks(heads, features, boxes, labels)
            outputs["masks"] = paste(masks, placed, size)
            if iou is not None:
                outputs["mask_scores"] = scores * iou
        if heads.keypoint_on:
            maps = [features[name] for name in heads.keypoint_in_features]
            logits = heads.keypoint_head.layers(pool(heads.keypoint_pooler, maps, boxes))
            keypoints, _ = heads.keypoint_head.decode(logits, boxes)
            keypoints = torch.cat([keypoints[..., :2] * scale, keypoints[..., 2:]], dim=2)
            posed = self.posed[labels][:, None, None]
            outputs["keypoints"] = torch.where(posed, keypoints, torch.nan)
        return tuple(outputs[name] for name in self.outputs)

    def _features(self, image: Tensor) -> Mapping[str, Tensor]:
        """The backbone's maps of the normalised image, padded to what the backbone can divide."""
        pixels = image.permute(2, 0, 1).float()
        pixels = pixels.flip(0) if self.is_bgr else pixels
        pixels = (pixels - self.model.pixel_mean) / self.model.pixel_std
        unit = max(1, self.model.backbone.size_divisibility)
        down, across = ((side + unit - 1) // unit * unit - side for side in image.shape[:2])
        features: Mapping[str, Tensor]
        features = self.model.backbone(F.pad(pixels, (0, across, 0, down))[None])
        return features

    def _proposals(self, features: Mapping[str, Tensor], size: Tensor) -> Tensor:
        """R x 4 boxes in the image as the model sees it, the best first."""
        rpn = self.model.proposal_generator
        maps = [features[name] for name in rpn.in_features]
        logits, deltas = rpn.rpn_head(maps)
        anchors = rpn.anchor_generator(maps)
        count = rpn.pre_nms_topk[False]
        boxes, scores = [], []
        for anchor, score, delta in zip(anchors, logits, deltas, strict=True):
            # A level may have fewer anchors than are taken: those added are not finite.
            score = F.pad(score[0].permute(1, 2, 0).flatten(), (0, count), value=-torch.inf)
            delta = delta[0].unflatten(0, (-1, 4)).permute(2, 3, 0, 1).flatten(0, 2)
            box = F.pad(rpn.box2box_transform.apply_deltas(delta, anchor.tensor), (0, 0, 0, count))
            best, index = score.topk(count)
            boxes.append(box[index])
            scores.append(best)
        level = torch.arange(len(maps)).repeat_interleave(count)
        box = torch.cat(boxes)
        score = torch.cat(scores)
        finite = box.isfinite().all(dim=1) & score.isfinite()
        box = _clipped(box, size)
        large = (box[:, 2:] - box[:, :2] > rpn.min_box_size).all(dim=1)
        keep = (finite & large).nonzero()[:, 0]
        box, score, level = box[keep], score[keep], level[keep]
        best = _best(box, score, level, rpn.nms_thresh, size, rpn.post_nms_topk[False])
        return box[best]

    def _detections(
        self, features: Mapping[str, Tensor], boxes: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and classes of what the box head finds in the proposals, best first."""
        heads = self.model.roi_heads
        predictor = heads.box_predictor
        maps = [features[name] for name in heads.box_in_features]
        logits, deltas = predictor(heads.box_head(pool(heads.box_pooler, maps, boxes)))
        scores = logits.sigmoid() if predictor.use_sigmoid_ce else logits.softmax(dim=1)
        boxes = predictor.box2box_transform.apply_deltas(deltas, boxes)
        finite = boxes.isfinite().all(dim=1) & scores.isfinite().all(dim=1)
        boxes = _clipped(boxes.unflatten(1, (-1, 4)), size)  # one, or one for each class
        above = (scores[:, :-1] > predictor.test_score_thresh) & finite[:, None]
        row, label = above.nonzero().unbind(dim=1)
        box = boxes[row, label] if boxes.shape[1] > 1 else boxes[row, 0]
        score = scores[row, label]
        most = predictor.test_topk_per_image
        best = _best(box, score, label, predictor.test_nms_thresh, size, most)
        return box[best], score[best], label[best]


def _clipped(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes in an image of a height and width."""
    return torch.minimum(boxes.clamp(min=0), size.flip(0).repeat(2))


def _best(
    boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, size: Tensor, most: int
) -> Tensor:
    """Indices of the boxes that no better one of their group covers, best first.

    The boxes of each group are moved to where no other group's are; all lie within the image.
    """
    apart = boxes + (groups * (size.max() + 1))[:, None]
    # A graph takes it that no fewer than two boxes are left (torchvision's `create_unbacked_symint`
    # has this default): two that lie outside come last, and go.
    outside = boxes.new_tensor([[-2.0, -2.0, -1.0, -1.0], [-4.0, -4.0, -3.0, -3.0]])
    scores = F.pad(scores, (0, 2), value=-torch.inf)
    keep: Tensor = nms(torch.cat([apart, outside]), scores, threshold)[:-2]
    return keep[:most] if most >= 0 else keep


def refuse_unsupported(model: Any) -> None:
    """Raise a UserError where a model has a part of a kind that `Detector` does not restate."""
    _require(model, "model", GeneralizedRCNN)
    _require(model, "model.proposal_generator", RPN)
    _require(model, "model.roi_heads", StandardROIHeads)
    _require(model, "model.roi_heads.box_predictor", FastRCNNOutputLayers)
    _require(model, "model.roi_heads.box_pooler", RoIPooler)
    heads = model.roi_heads
    if heads.mask_on and heads.mask_pooler is None:
        _require(model, "model.roi_heads.mask_head", PointRendMaskHead, ImplicitPointRendMaskHead)
    elif heads.mask_on:
        _require(model, "model.roi_heads.mask_head", BaseMaskRCNNHead)
        _require(model, "model.roi_heads.mask_pooler", RoIPooler)
    if heads.keypoint_on:
        _require(model, "model.roi_heads.keypoint_head", KeypointHead)
        _require(model, "model.roi_heads.keypoint_pooler", RoIPooler)
    if side := model.backbone.padding_constraints.get("square_size", 0):
        problem = "a model that pads images to squares is not exported"
        raise UserError(problem, key="model.backbone.square_pad", found=side, expected=0)


def _require(model: Any, key: str, kind: type, refused: type | tuple[()] = ()) -> None:
    """Raise a UserError where a part of the model is not of a kind, or of one that is refused."""
    part = reduce(getattr, key.split(".")[1:], model)
    if not isinstance(part, kind) or isinstance(part, refused):
        problem = "a part of the model is of a kind that is not exported"
        raise UserError(problem, key=key, found=type(part).__name__, expected=kind.__name__)
