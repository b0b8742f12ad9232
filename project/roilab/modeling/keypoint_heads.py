"""Keypoint heads, Detectron2's and others, with their targets and losses (Sec. 5 and after).

`KeypointHead` is Detectron2's; all but SimCC have its layers, so its weights load. Every loss is a
free function of a head's output and of targets in its frame, and gives one number for each keypoint
of each instance, N x K, not yet reduced; the head leaves out what is not valid.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead
from detectron2.structures import Boxes, Instances, Keypoints
from torch import Tensor, nn
from torch.nn import functional as F

from roilab.errors import UserError
from roilab.modeling import decoders
from roilab.modeling.poolers import require_square, with_fields

_LEAST_HEAT = 1e-4  # of a cell, so that its logarithm is finite


class KeypointHead(KRCNNConvDeconvUpsampleHead):
    """Softmax over the cells of a heat map for each keypoint (Mask R-CNN, Sec. 5).

    Args:
        input_shape: channels and side of the RoI features; maps are four times as wide.
        num_keypoints: K.
        conv_dims: channels of the convolutions.
        decoder: how positions are read from the maps, a name in `roilab.modeling.DECODERS`.
        keypoint_weights: factor of the loss of each keypoint; None: 1 for all.
        loss_weight: factor of the whole loss.
        loss_normalizer: "visible": the loss is a mean over labelled keypoints; a number: a sum
            divided by it and by the number of images.

    Raises:
        UserError: an unknown decoder, or not one weight for each keypoint.
    """

    has_maps = True  # whether the output is a heat map for each keypoint

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_keypoints: int,
        conv_dims: Sequence[int] = (512,) * 8,
        decoder: str = "bicubic",
        keypoint_weights: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_normalizer: float | str = "visible",
    ) -> None:
        require_square(input_shape)
        if loss_normalizer != "visible" and not isinstance(loss_normalizer, int | float):
            raise UserError(
                "not a normalizer of a loss",
                key="loss_normalizer",
                found=loss_normalizer,
                expected='"visible" or a number',
            )
        if decoder not in decoders.DECODERS:
            names = ", ".join(decoders.DECODERS)
            raise UserError("unknown decoder", key="decoder", found=decoder, expected=names)
        weights = [1.0] * num_keypoints if keypoint_weights is None else list(keypoint_weights)
        if len(weights) != num_keypoints or not all(isinstance(w, int | float) for w in weights):
            problem = "the weights do not fit the keypoints"
            expected = f"{num_keypoints} numbers, one for each keypoint"
            raise UserError(problem, key="keypoint_weights", found=weights, expected=expected)
        super().__init__(
            input_shape,
            num_keypoints=num_keypoints,
            conv_dims=list(conv_dims),
            loss_weight=loss_weight,
            loss_normalizer="visible" if loss_normalizer == "visible" else float(loss_normalizer),
        )
        self.decoder = decoder
        self.decode_maps = decoders.DECODERS[decoder]
        self.side = 4 * input_shape.width  # of the maps, in cells
        self.keep_heatmaps = False
        self.register_buffer("keypoint_weights", torch.tensor(weights), persistent=False)

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Loss in training; else the instances with their keypoints.

        Args:
            x: R x C x S x S features of all instances.
            instances: of each image, in training with proposal_boxes and gt_keypoints.

        Returns:
            {"loss_keypoint": scalar}, or new Instances with `pred_keypoints`, N x K x 3: x, y and
            a score in [0, 1]; `pred_keypoint_heat`, N x K, which Detectron2 has in the score's
            place; and, where `keep_heatmaps` is set, `pred_keypoint_heatmaps`, N x K x H x W.
        """
        output = self.layers(x)
        if self.training:
            return {"loss_keypoint": self.loss(output, instances) * self.loss_weight}
        return self.with_keypoints(output, instances)

    def with_keypoints(self, output: Tensor, instances: Sequence[Instances]) -> list[Instances]:
        """New Instances with the keypoints of an output of the layers, see `forward`."""
        boxes = Boxes.cat([image.pred_boxes for image in instances]).tensor
        keypoints, heat = self.decode(output, boxes)
        fields = {"pred_keypoints": keypoints, "pred_keypoint_heat": heat}
        if self.keep_heatmaps and self.has_maps:
            fields["pred_keypoint_heatmaps"] = output.float()
        return with_fields(instances, **fields)

    def mirrored(self, output: Tensor) -> Tensor:
        """An output of the layers, mirrored left to right; the keypoints keep their order."""
        return output.flip(3)

    def loss(self, output: Tensor, instances: Sequence[Instances]) -> Tensor:
        """The loss of the labelled keypoints that lie in their proposal's box; a scalar."""
        # Images without objects have no keypoints, not even an empty field.
        present = [image for image in instances if len(image)]
        if not present:  # a zero with a gradient for every parameter, as distributed training needs
            return output.sum() * 0
        keypoints = torch.cat([image.gt_keypoints.tensor for image in present])
        boxes = torch.cat([image.proposal_boxes.tensor for image in present])
        cells, valid = target_cells(keypoints, boxes, self.side)
        places = decoders.to_cells(keypoints[..., :2], boxes, self.side, self.side)
        weighted = self.losses(output.float(), cells, places) * self.keypoint_weights
        total = torch.where(valid, weighted, 0).sum()
        if self.loss_normalizer == "visible":
            return total / valid.sum().clamp(min=1)
        return total / (float(self.loss_normalizer) * len(instances))

    def losses(self, output: Tensor, cells: Tensor, places: Tensor) -> Tensor:
        """The loss of each keypoint, N x K, of the float32 output of the layers.

        `cells` are N x K, of `target_cells`, and `places` N x K x 2, x and y in cells from the
        corner of the box.
        """
        return softmax_loss(output, cells)

    @torch.no_grad()
    def decode(self, output: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints, R x K x 3: x, y and a score in [0, 1]; and the heat at their peaks, R x K.

        The heat of a softmax is Detectron2's score, a density, which may exceed 1.
        """
        # Autocast would round the products of matrices that decoders use.
        with torch.autocast(output.device.type, enabled=False):
            log_heat, heat = self.heat(output.float())
            xy, value = self.decode_maps(log_heat, boxes)
        # A decoder knows the heat up to a factor, which the largest cell of each map tells.
        peak = (value - log_heat.flatten(2).amax(2)).exp() * heat.flatten(2).amax(2)
        score = self.score(heat, decoders.to_cells(xy, boxes, *heat.shape[2:])).clamp(0, 1)
        return torch.cat([xy, score[..., None]], dim=2), peak

    def heat(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of the heat, up to a constant for each map, and the heat."""
        return output, output.flatten(2).softmax(dim=2).view_as(output)

    def score(self, heat: Tensor, place: Tensor) -> Tensor:
        """The probability that the keypoint is at most a cell away, as the head has learnt it."""
        return decoders.window(heat, place.floor().long(), 1, outside=0.0).sum(dim=(2, 3))


class SigmoidKeypointHead(KeypointHead):
    """A sigmoid for each cell against the one-hot mask: cells do not compete."""

    def __init__(self, input_shape: ShapeSpec, **kwargs: Any) -> None:
        super().__init__(input_shape, **kwargs)
        # One cell of all is right: begin there (Lin et al., arXiv 1708.02002, Sec. 3.3).
        nn.init.constant_(self.score_lowres.bias, -math.log((4 * input_shape.width) ** 2 - 1))

    def losses(self, output: Tensor, cells: Tensor, places: Tensor) -> Tensor:
        return sigmoid_loss(output, cells)

    def heat(self, output: Tensor) -> tuple[Tensor, Tensor]:
        return F.logsigmoid(output), output.sigmoid()


class GaussianKeypointHead(KeypointHead):
    """Regression of a Gaussian around each keypoint, as in most networks for poses.

    `sigma` is the Gaussian's, in cells of the map; other arguments are as for `KeypointHead`.
    """

    def __init__(self, input_shape: ShapeSpec, *, sigma: float = 2.0, **kwargs: Any) -> None:
        super().__init__(input_shape, **kwargs)
        self.sigma = sigma
        nn.init.normal_(self.score_lowres.weight, std=0.001)  # nearly everywhere there is no heat

    def losses(self, output: Tensor, cells: Tensor, places: Tensor) -> Tensor:
        return gaussian_loss(output, places, self.sigma)

    def heat(self, output: Tensor) -> tuple[Tensor, Tensor]:
        heat = output.clamp(min=_LEAST_HEAT)
        return heat.log(), heat.clamp(max=1)

    def score(self, heat: Tensor, place: Tensor) -> Tensor:
        """The Gaussian of the distance to the keypoint, as the head expects it."""
        return decoders.window(heat, place.floor().long(), 0)[..., 0, 0]


class IntegralKeypointHead(KeypointHead):
    """Regression of the mean position under the softmax of a map (integral regression).

    `heatmap_weight` is the factor of the stock head's loss beside that of the position, 0: none;
    other arguments are as for `KeypointHead`.
    """

    def __init__(
        self, *args: Any, heatmap_weight: float = 0.0, decoder: str = "soft_argmax", **kwargs: Any
    ) -> None:
        super().__init__(*args, decoder=decoder, **kwargs)
        self.heatmap_weight = heatmap_weight

    def losses(self, output: Tensor, cells: Tensor, places: Tensor) -> Tensor:
        total = integral_loss(output, places)
        if self.heatmap_weight:
            total = total + self.heatmap_weight * softmax_loss(output, cells)
        return total


class SimCCKeypointHead(KeypointHead):
    """Two classifications for each keypoint, of its column and of its row (SimCC).

    Args:
        bins: classes of each; eight times the side of the RoI features puts two in a cell of the
            stock head's maps.
        sigma: of the Gaussian that smooths the labels, in bins.
        input_shape, kwargs: as for `KeypointHead`; there is no `decoder`, since there are no maps.
    """

    has_maps = False

    def __init__(
        self, input_shape: ShapeSpec, *, bins: int = 112, sigma: float = 2.0, **kwargs: Any
    ) -> None:
        super().__init__(input_shape, **kwargs)
        self.bins = bins
        self.sigma = sigma
        self.side = bins
        cells = (2 * input_shape.width) ** 2
        self.classify_x = nn.Linear(cells, bins)
        self.classify_y = nn.Linear(cells, bins)

    def layers(self, x: Tensor) -> Tensor:
        """Logits of columns and rows, R x K x 2 x bins."""
        for layer in list(self)[:-2]:  # without the two classifiers
            x = layer(x)
        flat = x.flatten(2)
        return torch.stack([self.classify_x(flat), self.classify_y(flat)], dim=2)

    def mirrored(self, output: Tensor) -> Tensor:
        columns, rows = output.unbind(dim=2)
        return torch.stack([columns.flip(2), rows], dim=2)

    def losses(self, output: Tensor, cells: Tensor, places: Tensor) -> Tensor:
        return simcc_loss(output, places, self.sigma)  # places are in bins

    @torch.no_grad()
    def decode(self, output: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints, R x K x 3, and their heat, R x K: products over the two axes."""
        lines = output.float().softmax(dim=3)
        peak, index = lines.max(dim=3)
        # The mean position, weighted with the probabilities, of the bins around the largest.
        radius = decoders.LOCAL_RADIUS
        near = index[..., None] + torch.arange(-radius, radius + 1, device=lines.device)
        inside = (near >= 0) & (near < self.bins)
        weight = torch.where(inside, lines.gather(3, near.clamp(0, self.bins - 1)), 0)
        mass = weight.sum(dim=3)
        place = (weight * (near + 0.5)).sum(dim=3) / mass
        xy = decoders.to_image(place, boxes, self.bins, self.bins)
        score = mass.prod(dim=2).clamp(0, 1)
        return torch.cat([xy, score[..., None]], dim=2), peak.prod(dim=2)


def target_cells(keypoints: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The cell of a heat map that each keypoint falls in, as Detectron2 has it (Sec. 5).

    Keypoints are N x K x 3, x, y in the image's continuous coordinates and visibility, boxes N x 4,
    and `size` is the side of the map, in cells. Returns row * size + column, N x K; and N x K,
    whether the keypoint is labelled and in the box.
    """
    cells, valid = Keypoints(keypoints).to_heatmap(boxes, size)
    return cells.view(keypoints.shape[:2]), valid.view(keypoints.shape[:2]).bool()


def softmax_loss(logits: Tensor, cells: Tensor) -> Tensor:
    """Cross-entropy over all cells of a map, of which one is right (Mask R-CNN, Sec. 5).

    `logits` are N x K x S x S, and `cells` N x K, as `target_cells` gives them.
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

    Maps, N x K x S x S, are heat itself, not its logarithm; places, N x K x 2, are x and y in cells
    from the corner of the box, not rounded; `sigma` is in cells, and the Gaussian's peak is 1.
    """
    falls = torch.exp(_log_gaussian(maps, places, sigma))
    target = falls[..., 1, :, None] * falls[..., 0, None, :]
    return ((maps - target) ** 2).sum(dim=(2, 3))


def _log_gaussian(values: Tensor, places: Tensor, sigma: float) -> Tensor:
    """Gaussians around N x K x 2 places at the centres of the cells of a row, N x K x 2 x cells."""
    centres = torch.arange(values.shape[3], device=values.device, dtype=values.dtype) + 0.5
    return -((centres - places[..., None]) ** 2) / (2 * sigma**2)


def integral_loss(logits: Tensor, places: Tensor) -> Tensor:
    """Distance of the map's mean position to the keypoint, |dx| + |dy| in cells (Sun et al.,
    arXiv 1711.08229). Arguments as for `softmax_loss` and `gaussian_loss`."""
    return (decoders.expectation(logits) - places).abs().sum(dim=2)


def simcc_loss(logits: Tensor, places: Tensor, sigma: float) -> Tensor:
    """Cross-entropy of two classifications, of the column and of the row (SimCC, Li et al.,
    arXiv 2107.03332), against labels smoothed with a Gaussian.

    Logits, N x K x 2 x B, are of columns and of rows; places, N x K x 2, are x and y in bins from
    the corner of the box; `sigma` is in bins.
    """
    labels = _log_gaussian(logits, places, sigma).softmax(dim=3)
    return -(labels * logits.log_softmax(dim=3)).sum(dim=(2, 3))
