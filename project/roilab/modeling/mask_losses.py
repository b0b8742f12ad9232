"""Targets and losses of mask heads as free functions."""

from collections.abc import Sequence

import torch
from detectron2.structures import BitMasks, Instances
from torch import Tensor
from torch.nn import functional as F


def mask_targets(instances: Sequence[Instances], size: int, device: torch.device) -> Tensor:
    """The annotated mask of each proposal, cut to its box: R x size x size, bool.

    Args:
        instances: of each image, with proposal_boxes and gt_masks.
        size: side of a mask, in cells.
    """
    masks = [torch.zeros(0, size, size, dtype=torch.bool, device=device)]
    for image in filter(len, instances):
        cut = image.gt_masks.crop_and_resize(image.proposal_boxes.tensor, size)
        masks.append(cut.to(device) > 0)
    return torch.cat(masks)


def true_classes(instances: Sequence[Instances], device: torch.device) -> Tensor:
    """The class of each proposal, R."""
    classes = [image.gt_classes.to(device) for image in instances if len(image)]
    return torch.cat([torch.zeros(0, dtype=torch.long, device=device), *classes])


def of_class(values: Tensor, classes: Tensor) -> Tensor:
    """R x C x ... -> R x ..., of the class of each; of one output for all classes, that one."""
    if values.shape[1] == 1:
        return values[:, 0]
    return values[torch.arange(values.shape[0], device=values.device), classes]


def multinomial_loss(logits: Tensor, targets: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy over classes and background in each cell of a mask (Table 2b, "softmax").

    Args:
        logits: R x (C + 1) x M x M, the background last.
        targets: R x M x M, bool.
        classes: R, of the objects.

    Returns:
        The mean over all cells; a zero with a gradient where there is none.
    """
    if not len(logits):
        return logits.sum() * 0
    background = logits.shape[1] - 1
    labels = torch.where(targets, classes[:, None, None], background)
    return F.cross_entropy(logits.float(), labels)


def full_areas(instances: Sequence[Instances], device: torch.device) -> Tensor:
    """Area of each proposal's whole annotated mask, inside its box and outside, R, in pixels."""
    areas = [torch.zeros(0, device=device)]
    for masks in (image.gt_masks for image in instances if len(image)):
        is_bitmap = isinstance(masks, BitMasks)
        area = masks.tensor.sum(dim=(1, 2)) if is_bitmap else torch.as_tensor(masks.area())
        areas.append(area.to(device, torch.float32))
    return torch.cat(areas)


def mask_iou(masks: Tensor, targets: Tensor, boxes: Tensor, areas: Tensor) -> Tensor:
    """IoU of masks cut to their boxes with annotated masks that may reach beyond (Huang et al.,
    arXiv 1903.00241, Sec. 3.2).

    Args:
        masks, targets: R x M x M, bool, in the frame of the boxes.
        boxes: R x 4.
        areas: R, of the whole annotated masks, in pixels.

    Returns:
        R, in [0, 1].
    """
    cell = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / masks.shape[1:].numel()
    both = (masks & targets).sum(dim=(1, 2)) * cell
    mine = masks.sum(dim=(1, 2)) * cell
    # Coarse cells may make the part in the box larger than the whole.
    theirs = areas.maximum(targets.sum(dim=(1, 2)) * cell)
    return both / (mine + theirs - both).clamp(min=1e-6)
