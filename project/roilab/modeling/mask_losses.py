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
    masks = [
        each.gt_masks.crop_and_resize(each.proposal_boxes.tensor, size).to(device) > 0
        for each in instances
        if len(each)
    ]
    return (
        torch.cat(masks) if masks else torch.zeros(0, size, size, dtype=torch.bool, device=device)
    )


def true_classes(instances: Sequence[Instances], device: torch.device) -> Tensor:
    """The class of each proposal, R."""
    classes = [each.gt_classes for each in instances if len(each)]
    return torch.cat(classes).to(device) if classes else torch.zeros(0, device=device).long()


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
    areas = []
    for each in instances:
        if len(each):
            masks = each.gt_masks
            is_bitmap = isinstance(masks, BitMasks)
            area = masks.tensor.sum(dim=(1, 2)) if is_bitmap else torch.as_tensor(masks.area())
            areas.append(area.to(device, torch.float32))
    return torch.cat(areas) if areas else torch.zeros(0, device=device)


def mask_iou(found: Tensor, targets: Tensor, boxes: Tensor, areas: Tensor) -> Tensor:
    """IoU of masks cut to their boxes with annotated masks that may reach beyond (Huang et al.,
    arXiv 1903.00241, Sec. 3.2).

    Args:
        found, targets: R x M x M, bool, in the frame of the boxes.
        boxes: R x 4.
        areas: R, of the whole annotated masks, in pixels.

    Returns:
        R, in [0, 1].
    """
    cell = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / found[0].numel() if len(found) else areas
    both = (found & targets).sum(dim=(1, 2)) * cell
    mine = found.sum(dim=(1, 2)) * cell
    # Coarse cells may make the part in the box larger than the whole.
    theirs = areas.maximum(targets.sum(dim=(1, 2)) * cell)
    return both / (mine + theirs - both).clamp(min=1e-6)
