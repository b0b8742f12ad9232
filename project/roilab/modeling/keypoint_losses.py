"""Targets and losses of keypoint heads as free functions.

Every loss takes a head's output and targets in its frame, and gives one number for each keypoint of
each instance, N x K, not yet reduced; callers leave out what is not valid.
"""

import torch
from detectron2.structures import Keypoints
from torch import Tensor
from torch.nn import functional as F

from roilab.modeling.decoders import expectation


def target_cells(keypoints: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The cell of a heat map that each keypoint falls in, as Detectron2 has it (Sec. 5).

    Args:
        keypoints: N x K x 3, x, y in the image's continuous coordinates and visibility.
        boxes: N x 4.
        size: side of the map, in cells.

    Returns:
        Row * size + column, N x K; and N x K, whether the keypoint is labelled and in the box.
    """
    cells, valid = Keypoints(keypoints).to_heatmap(boxes, size)
    return cells.view(keypoints.shape[:2]), valid.view(keypoints.shape[:2]).bool()


def softmax_loss(logits: Tensor, cells: Tensor) -> Tensor:
    """Cross-entropy over all cells of a map, of which one is right (Mask R-CNN, Sec. 5).

    Args:
        logits: N x K x S x S.
        cells: N x K, as `target_cells` gives them.
    """
    flat = logits.flatten(0, 1).flatten(1)
    return F.cross_entropy(flat, cells.flatten(), reduction="none").view(cells.shape)


def sigmoid_loss(logits: Tensor, cells: Tensor) -> Tensor:
    """Binary cross-entropy of each cell against the one-hot mask, summed over the cells.

    Cells do not compete, as the classes of Mask R-CNN's masks do not (Sec. 3). Arguments as for
    `softmax_loss`.
    """
    flat = logits.flatten(2)
    right = flat.gather(2, cells[..., None])[..., 0]
    return F.softplus(flat).sum(dim=2) - right


def gaussian_loss(maps: Tensor, places: Tensor, sigma: float) -> Tensor:
    """Squared difference to a Gaussian around the keypoint (Tompson et al., arXiv 1406.2984).

    Args:
        maps: N x K x S x S, heat itself, not its logarithm.
        places: N x K x 2, x and y in cells from the corner of the box, not rounded.
        sigma: of the Gaussian, in cells; its peak is 1.
    """
    centres = torch.arange(maps.shape[3], device=maps.device, dtype=maps.dtype) + 0.5
    falls = torch.exp(-((centres - places[..., None]) ** 2) / (2 * sigma**2))
    target = falls[..., 1, :, None] * falls[..., 0, None, :]
    return ((maps - target) ** 2).sum(dim=(2, 3))


def integral_loss(logits: Tensor, places: Tensor) -> Tensor:
    """Distance of the map's mean position to the keypoint, |dx| + |dy| in cells (Sun et al.,
    arXiv 1711.08229). Arguments as for `softmax_loss` and `gaussian_loss`."""
    return (expectation(logits) - places).abs().sum(dim=2)


def simcc_loss(logits: tuple[Tensor, Tensor], places: Tensor, sigma: float) -> Tensor:
    """Cross-entropy of two classifications, of the column and of the row (SimCC, Li et al.,
    arXiv 2107.03332), against labels smoothed with a Gaussian.

    Args:
        logits: for x and for y, N x K x B.
        places: N x K x 2, x and y in bins from the corner of the box.
        sigma: of the smoothing, in bins.
    """
    centres = torch.arange(logits[0].shape[2], device=places.device, dtype=logits[0].dtype) + 0.5
    labels = (-((centres - places[..., None]) ** 2) / (2 * sigma**2)).softmax(dim=3)
    return -(labels * torch.stack(logits, dim=2).log_softmax(dim=3)).sum(dim=(2, 3))
