"""Mask heads: Detectron2's FCN, and the others of Tables 2b and 2e; Mask Scoring; PointRend."""

from collections.abc import Mapping, Sequence
from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
from detectron2.config import get_cfg
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling.roi_heads import BaseMaskRCNNHead, MaskRCNNConvUpsampleHead
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference, mask_rcnn_loss
from detectron2.structures import Instances
from torch import Tensor, nn
from torch.nn import functional as F

from roilab.modeling import mask_losses as losses
from roilab.modeling.poolers import require_square, with_fields

CONV_DIMS = (256,) * 5


class MaskHead(MaskRCNNConvUpsampleHead):
    """An FCN with a sigmoid for each class and cell, which do not compete (Sec. 3; Table 2b).

    Detectron2's own head, with the side of the masks as a parameter.

    Args:
        input_shape: channels and side of the RoI features.
        num_classes: C; 1: one mask for all classes ("class-agnostic").
        conv_dims: channels of the convolutions, the last one of the deconvolution.
        output_size: m, the side of the masks; None: twice that of the RoI features, which is what
            the layers give. Another m resizes their logits bilinearly.
        conv_norm, kwargs: as in Detectron2, with loss_weight and vis_period.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        conv_dims: Sequence[int] = CONV_DIMS,
        output_size: int | None = None,
        conv_norm: str = "",
        **kwargs: Any,
    ) -> None:
        require_square(input_shape)
        sizes: dict[str, Any] = {"num_classes": num_classes, "conv_dims": list(conv_dims)}
        super().__init__(input_shape, **sizes, conv_norm=conv_norm, **kwargs)
        self.output_size = output_size or 2 * input_shape.width

    def layers(self, x: Tensor) -> Tensor:
        """R x C x S x S features -> R x classes x m x m logits."""
        return self.resized(super().layers(x))

    def resized(self, logits: Tensor) -> Tensor:
        """Logits with a side of `output_size`."""
        if logits.shape[-1] == self.output_size:
            return logits
        return F.interpolate(logits, (self.output_size,) * 2, mode="bilinear", align_corners=False)


class MultinomialMaskHead(MaskHead):
    """A softmax over classes and background in each cell: classes compete (Table 2b, "softmax").

    Args:
        num_classes: C; the head has C + 1 outputs, the background last. 1: class-agnostic.
        input_shape, kwargs: as for `MaskHead`.
    """

    def __init__(self, input_shape: ShapeSpec, *, num_classes: int, **kwargs: Any) -> None:
        super().__init__(input_shape, num_classes=num_classes + 1, **kwargs)
        self.is_agnostic = num_classes == 1

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Loss in training; else the instances with `pred_masks`, N x 1 x m x m, in [0, 1]."""
        logits = self.layers(x)
        if self.training:
            targets = losses.mask_targets(instances, self.output_size, logits.device)
            classes = self._outputs(losses.true_classes(instances, logits.device))
            loss = losses.multinomial_loss(logits, targets, classes)
            return {"loss_mask": loss * self.loss_weight}
        classes = torch.cat([image.pred_classes for image in instances])
        return with_fields(instances, pred_masks=self.masks(logits, classes))

    def masks(self, logits: Tensor, classes: Tensor) -> Tensor:
        """The mask of each instance's class, R x 1 x m x m, in [0, 1]."""
        return losses.of_class(logits.softmax(dim=1), self._outputs(classes))[:, None]

    def _outputs(self, classes: Tensor) -> Tensor:
        """Index of the output of each class."""
        return torch.zeros_like(classes) if self.is_agnostic else classes


class MLPMaskHead(BaseMaskRCNNHead):
    """Fully connected layers in place of the FCN (Table 2e).

    Args:
        input_shape: channels and side of the RoI features.
        num_classes: C; 1: class-agnostic.
        fc_dims: widths of the hidden layers, two or three in the paper.
        output_size: m, the side of the masks.
        kwargs: loss_weight and vis_period, as in Detectron2.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        fc_dims: Sequence[int] = (1024, 1024),
        output_size: int = 28,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_size = output_size
        width = input_shape.channels * input_shape.height * input_shape.width
        outputs = num_classes * output_size**2
        self.fcs, self.predictor = _fully_connected(width, fc_dims, outputs, std=0.001)

    def layers(self, x: Tensor) -> Tensor:
        """R x C x S x S features -> R x classes x m x m logits."""
        # The number of classes is written out: no size can be inferred where there are no masks.
        classes = self.predictor.out_features // self.output_size**2
        side = self.output_size
        return _scores(x, self.fcs, self.predictor).reshape(x.shape[0], classes, side, side)


def _fully_connected(
    width: int, fc_dims: Sequence[int], outputs: int, std: float
) -> tuple[nn.ModuleList, nn.Linear]:
    """Hidden layers of these widths and the last layer, initialised as Detectron2's heads are."""
    fcs = nn.ModuleList()
    for fc_dim in fc_dims:
        fcs.append(nn.Linear(width, fc_dim))
        weight_init.c2_xavier_fill(fcs[-1])
        width = fc_dim
    predictor = nn.Linear(width, outputs)
    nn.init.normal_(predictor.weight, std=std)
    nn.init.constant_(predictor.bias, 0)
    return fcs, predictor


def _scores(x: Tensor, fcs: nn.ModuleList, predictor: nn.Linear) -> Tensor:
    x = x.flatten(1)
    for fc in fcs:
        x = F.relu(fc(x))
    scores: Tensor = predictor(x)
    return scores


class MaskScoringHead(MaskHead):
    """The FCN, and a branch that learns how good its masks are (Mask Scoring R-CNN, Huang et al.,
    arXiv 1903.00241).

    In inference the instances get `mask_scores`, the box's score times the IoU that is expected of
    the mask, by which masks are ranked; `scores` stay those of the boxes.

    Args:
        iou_conv_dims: channels of the branch's convolutions, the last of which has stride 2.
        iou_fc_dims: widths of its hidden layers.
        iou_loss_weight: factor of its loss.
        input_shape, num_classes, kwargs: as for `MaskHead`.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        iou_conv_dims: Sequence[int] = (256,) * 4,
        iou_fc_dims: Sequence[int] = (1024, 1024),
        iou_loss_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, num_classes=num_classes, **kwargs)
        self.iou_loss_weight = iou_loss_weight
        self.mask_iou = _MaskIoUBranch(input_shape, num_classes, iou_conv_dims, iou_fc_dims)

    def layers(self, x: Tensor) -> Tensor:
        """R x C x S x S features -> R x classes x m x m logits."""
        for name, layer in self.named_children():
            x = x if name == "mask_iou" else layer(x)
        return self.resized(x)

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Losses in training; else the instances with `pred_masks` and `mask_scores`."""
        logits = self.layers(x)
        if not self.training:
            mask_rcnn_inference(logits, instances)
            masks, classes, box_scores = (
                torch.cat([image.get(field) for image in instances])
                for field in ("pred_masks", "pred_classes", "scores")
            )
            scores = box_scores * self.mask_iou(x, masks, classes).clamp(0, 1)
            return with_fields(instances, mask_scores=scores)
        loss = mask_rcnn_loss(logits, instances, self.vis_period) * self.loss_weight
        present = [image for image in instances if len(image)]
        boxes = [x.new_zeros(0, 4), *(image.proposal_boxes.tensor for image in present)]
        classes = losses.true_classes(present, logits.device)
        masks = losses.of_class(logits, classes)[:, None].sigmoid().detach()
        iou = self.mask_iou(x, masks, classes)
        target = losses.mask_iou(
            masks[:, 0] > 0.5,
            losses.mask_targets(present, self.output_size, logits.device),
            torch.cat(boxes),
            losses.full_areas(present, logits.device),
        )
        iou_loss = ((iou.float() - target) ** 2).sum() / max(len(target), 1)
        return {"loss_mask": loss, "loss_mask_iou": iou_loss * self.iou_loss_weight}


class _MaskIoUBranch(nn.Module):
    """RoI features and a mask -> the IoU of the mask with the object, for each class."""

    def __init__(
        self,
        input_shape: ShapeSpec,
        num_classes: int,
        conv_dims: Sequence[int],
        fc_dims: Sequence[int],
    ) -> None:
        super().__init__()
        self.side = input_shape.width
        width = input_shape.channels + 1
        self.convs = nn.ModuleList()
        for index, dim in enumerate(conv_dims):
            stride = 2 if index == len(conv_dims) - 1 else 1
            self.convs.append(Conv2d(width, dim, 3, stride, 1, activation=F.relu))
            weight_init.c2_msra_fill(self.convs[-1])
            width = dim
        width *= (-(-self.side // 2)) ** 2
        self.fcs, self.predictor = _fully_connected(width, fc_dims, num_classes, std=0.01)

    def forward(self, features: Tensor, masks: Tensor, classes: Tensor) -> Tensor:
        """R x C x S x S features, R x 1 x m x m masks and R classes -> R, the IoU."""
        small = F.adaptive_max_pool2d(masks, self.side).to(features.dtype)
        x = torch.cat([features, small], dim=1)
        for conv in self.convs:
            x = conv(x)
        return losses.of_class(_scores(x, self.fcs, self.predictor), classes)


def point_rend(
    input_shape: Mapping[str, ShapeSpec],
    num_classes: int,
    *,
    in_features: Sequence[str] = ("p2",),
    fc_dim: int = 1024,
    point_fc_dim: int = 256,
) -> nn.Module:
    """PointRend's mask head (Kirillov et al., arXiv 1912.08193) of the installed Detectron2.

    It takes whole feature maps, so the model has `mask_pooler=None`.

    Args:
        input_shape: channels and stride of each feature map.
        num_classes: C.
        in_features: the maps that are read, the finest.
        fc_dim, point_fc_dim: widths of the coarse head and of the point head.
    """
    from detectron2.projects.point_rend import PointRendMaskHead, add_pointrend_config

    cfg = get_cfg()  # the head is built from a config of this kind alone
    add_pointrend_config(cfg)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = num_classes
    mask, point = cfg.MODEL.ROI_MASK_HEAD, cfg.MODEL.POINT_HEAD
    mask.IN_FEATURES, mask.POINT_HEAD_ON, mask.OUTPUT_SIDE_RESOLUTION = list(in_features), True, 7
    mask.FC_DIM, mask.NUM_FC, mask.POOLER_RESOLUTION = fc_dim, 2, 14
    # The coarse head reduces channels to this number, and cannot make more of them.
    mask.CONV_DIM = min(256, sum(input_shape[name].channels for name in in_features))
    point.NUM_CLASSES, point.IN_FEATURES = num_classes, list(in_features)
    point.FC_DIM, point.NUM_FC = point_fc_dim, 3

    class Head(PointRendMaskHead):
        def forward(self, features: Mapping[str, Tensor], instances: list[Instances]) -> Any:
            if self.training and not any(map(len, instances)):
                nothing = torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0
                return {"loss_mask": nothing, "loss_mask_point": nothing}
            return super().forward(features, instances)

    return Head(cfg, dict(input_shape))


# For the loaders, see `roilab.engine.build_data.annotations_for`.
point_rend.learns_from_bitmasks = True  # type: ignore[attr-defined]
