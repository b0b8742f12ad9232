"""Mask heads and losses: Detectron2's FCN, those of Tables 2b and 2e, Mask Scoring, PointRend."""

from collections.abc import Mapping, Sequence
from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
from detectron2.config import get_cfg
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling.roi_heads import BaseMaskRCNNHead, MaskRCNNConvUpsampleHead
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_loss
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor, nn
from torch.nn import functional as F

from roilab.modeling.poolers import require_square, with_fields


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
        conv_dims: Sequence[int] = (256,) * 5,
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
        for layer in self:
            x = layer(x)
            if layer is self.predictor:  # behind it are only the branches of a subclass
                break
        if x.shape[-1] == self.output_size:
            return x
        return F.interpolate(x, (self.output_size,) * 2, mode="bilinear", align_corners=False)


class MultinomialMaskHead(MaskHead):
    """A softmax over classes and background in each cell: classes compete (Table 2b, "softmax").

    For `num_classes`, C, the head has C + 1 outputs, the background last; 1: class-agnostic. Other
    arguments are as for `MaskHead`.
    """

    def __init__(self, input_shape: ShapeSpec, *, num_classes: int, **kwargs: Any) -> None:
        super().__init__(input_shape, num_classes=num_classes + 1, **kwargs)

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Loss in training; else the instances with `pred_masks`, N x 1 x m x m, in [0, 1]."""
        logits = self.layers(x)
        if self.training:
            classes = torch.cat([image.gt_classes for image in instances])
            loss = multinomial_loss(logits, mask_targets(instances, self.output_size), classes)
            return {"loss_mask": loss * self.loss_weight}
        classes = torch.cat([image.pred_classes for image in instances])
        return with_fields(instances, pred_masks=self.masks(logits, classes))

    def masks(self, logits: Tensor, classes: Tensor) -> Tensor:
        """The mask of each instance's class, R x 1 x m x m, in [0, 1]."""
        return of_class(logits.softmax(dim=1)[:, :-1], classes)[:, None]


class MLPMaskHead(BaseMaskRCNNHead):
    """Fully connected layers in place of the FCN (Table 2e).

    `fc_dims` are the widths of the hidden layers, two or three in the paper, and `kwargs`
    loss_weight and vis_period, as in Detectron2; other arguments are as for `MaskHead`.
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
        # The number of classes is written out: no size can be inferred where there are no masks.
        self.output_size = output_size
        self.shape = (num_classes, output_size, output_size)
        width = input_shape.channels * input_shape.height * input_shape.width
        outputs = num_classes * output_size**2
        self.fcs, self.predictor = _fully_connected(width, fc_dims, outputs, std=0.001)

    def layers(self, x: Tensor) -> Tensor:
        """R x C x S x S features -> R x classes x m x m logits."""
        return self.predictor(self.fcs(x)).reshape(x.shape[0], *self.shape)


def _fully_connected(
    width: int, fc_dims: Sequence[int], outputs: int, std: float
) -> tuple[nn.Sequential, nn.Linear]:
    """Hidden layers of these widths and the last layer, initialised as Detectron2's heads are."""
    fcs = nn.Sequential()
    fcs.add_module("flatten", nn.Flatten())
    for index, fc_dim in enumerate(fc_dims):
        fcs.add_module(str(index), nn.Linear(width, fc_dim))
        weight_init.c2_xavier_fill(fcs[-1])
        fcs.add_module(f"relu{index}", nn.ReLU())
        width = fc_dim
    predictor = nn.Linear(width, outputs)
    nn.init.normal_(predictor.weight, std=std)
    nn.init.constant_(predictor.bias, 0)
    return fcs, predictor


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

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Losses in training; else the instances with `pred_masks` and `mask_scores`."""
        logits = self.layers(x)
        field = "gt_classes" if self.training else "pred_classes"
        classes = torch.cat([image.get(field) for image in instances])
        # The branch judges the masks; its loss does not change them.
        masks = of_class(logits, classes)[:, None].sigmoid().detach()
        iou = self.mask_iou(x, masks, classes)
        if not self.training:
            scores = torch.cat([image.scores for image in instances]) * iou.clamp(0, 1)
            return with_fields(instances, pred_masks=masks, mask_scores=scores)
        loss = mask_rcnn_loss(logits, instances, self.vis_period) * self.loss_weight
        targets = mask_targets(instances, self.output_size)
        areas = full_areas(instances)
        boxes = Boxes.cat([image.proposal_boxes for image in instances]).tensor
        target = mask_iou(masks[:, 0] > 0.5, targets, boxes, areas)
        iou_loss = ((iou.float() - target) ** 2).sum() / max(len(target), 1)
        return {"loss_mask": loss, "loss_mask_iou": iou_loss * self.iou_loss_weight}


class _MaskIoUBranch(nn.Module):
    """RoI features and a mask -> the IoU of the mask with the object, for each class."""

    def __init__(
        self, shape: ShapeSpec, num_classes: int, conv_dims: Sequence[int], fc_dims: Sequence[int]
    ) -> None:
        super().__init__()
        self.side = shape.width
        self.convs = nn.Sequential()
        width = shape.channels + 1
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
        x = self.convs(torch.cat([features, small], dim=1))
        return of_class(self.predictor(self.fcs(x)), classes)


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
    mask = cfg.MODEL.ROI_MASK_HEAD
    mask.IN_FEATURES = list(in_features)
    mask.POINT_HEAD_ON = True
    mask.POOLER_RESOLUTION = 14
    mask.OUTPUT_SIDE_RESOLUTION = 7  # of the coarse masks
    mask.FC_DIM = fc_dim
    mask.NUM_FC = 2
    # The coarse head reduces channels to this number, and cannot make more of them.
    mask.CONV_DIM = min(256, sum(input_shape[name].channels for name in in_features))
    point = cfg.MODEL.POINT_HEAD
    point.NUM_CLASSES = num_classes
    point.IN_FEATURES = list(in_features)
    point.FC_DIM = point_fc_dim
    point.NUM_FC = 3

    class Head(PointRendMaskHead):
        def forward(self, features: Mapping[str, Tensor], instances: list[Instances]) -> Any:
            # Without an object, the losses are zeros with a gradient for every parameter.
            if self.training and not any(map(len, instances)):
                nothing = torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0
                return {"loss_mask": nothing, "loss_mask_point": nothing}
            return super().forward(features, instances)

    return Head(cfg, dict(input_shape))


# For the loaders, see `roilab.engine.build_data.annotations_for`.
point_rend.learns_from_bitmasks = True  # type: ignore[attr-defined]


def mask_targets(instances: Sequence[Instances], size: int) -> Tensor:
    """The annotated mask of each proposal, cut to its box: R x size x size cells, bool."""
    masks = [
        image.gt_masks.crop_and_resize(image.proposal_boxes.tensor, size)
        for image in instances
        if len(image)
    ]
    device = instances[0].proposal_boxes.device
    return torch.cat([torch.zeros(0, size, size, dtype=torch.bool, device=device), *masks])


def of_class(values: Tensor, classes: Tensor) -> Tensor:
    """Select each row's class, R x C x ... -> R x ...; a single output serves all classes."""
    if values.shape[1] == 1:
        return values[:, 0]
    return values[torch.arange(values.shape[0], device=values.device), classes]


def multinomial_loss(logits: Tensor, targets: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy over classes and background in each cell of a mask (Table 2b, "softmax").

    Logits are R x (C + 1) x M x M, the background last, and targets R x M x M, bool; with C = 1,
    the R classes of the objects count as one. The loss is the mean over all cells; a zero with a
    gradient where there is none.
    """
    if not len(logits):
        return logits.sum() * 0
    background = logits.shape[1] - 1
    labels = torch.where(targets, classes.clamp(max=background - 1)[:, None, None], background)
    return F.cross_entropy(logits.float(), labels)


def full_areas(instances: Sequence[Instances]) -> Tensor:
    """Area of each proposal's whole annotated mask, inside its box and outside, R, in pixels."""
    areas = [torch.zeros(0, device=instances[0].proposal_boxes.device)]
    for masks in (image.gt_masks for image in instances if len(image)):
        area = masks.tensor.sum(dim=(1, 2)) if isinstance(masks, BitMasks) else masks.area()
        areas.append(area.to(areas[0]))
    return torch.cat(areas)


def mask_iou(masks: Tensor, targets: Tensor, boxes: Tensor, areas: Tensor) -> Tensor:
    """IoU, R, of masks cut to their boxes with annotated masks that may reach beyond (Huang et al.,
    arXiv 1903.00241, Sec. 3.2).

    Args:
        masks, targets: R x M x M, bool, in the frame of the boxes, which are R x 4.
        areas: R, of the whole annotated masks, in pixels.
    """
    cell = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / masks.shape[1:].numel()
    both = (masks & targets).sum(dim=(1, 2)) * cell
    mine = masks.sum(dim=(1, 2)) * cell
    # Coarse cells may make the part in the box larger than the whole.
    theirs = areas.maximum(targets.sum(dim=(1, 2)) * cell)
    return both / (mine + theirs - both).clamp(min=1e-6)
