"""Keypoint heads: Detectron2's, and others with other targets and losses (Sec. 5 and after).

`KeypointHead` is Detectron2's; all but SimCC have its layers, so its weights load.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from roilab.errors import UserError
from roilab.modeling import decoders
from roilab.modeling import keypoint_losses as losses
from roilab.modeling.decoders import DECODERS, LOCAL_RADIUS, Decoder
from roilab.modeling.poolers import require_square, with_fields

_LEAST_HEAT = 1e-4  # of a map without heat


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
        super().__init__(
            input_shape,
            num_keypoints=num_keypoints,
            conv_dims=list(conv_dims),
            loss_weight=loss_weight,
            loss_normalizer="visible" if loss_normalizer == "visible" else float(loss_normalizer),
        )
        if decoder not in DECODERS:
            raise UserError(
                "unknown decoder", key="decoder", found=decoder, expected=", ".join(DECODERS)
            )
        weights = [1.0] * num_keypoints if keypoint_weights is None else list(keypoint_weights)
        if len(weights) != num_keypoints or not all(isinstance(w, int | float) for w in weights):
            raise UserError(
                "the weights do not fit the keypoints",
                key="keypoint_weights",
                found=weights,
                expected=f"{num_keypoints} numbers, one for each keypoint",
            )
        self.decoder = decoder
        self.decode_maps: Decoder = DECODERS[decoder]
        self.side = 4 * input_shape.width  # of the maps, in cells
        self.keep_heatmaps = False
        self.register_buffer("keypoint_weights", torch.tensor(weights), persistent=False)

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Loss in training; else the instances with their keypoints.

        Args:
            x: R x C x S x S features of all instances.
            instances: of each image; in training with proposal_boxes and gt_keypoints, else with
                pred_boxes.

        Returns:
            {"loss_keypoint": scalar}, or new Instances with `pred_keypoints`, N x K x 3: x, y and
            a score in [0, 1]; `pred_keypoint_heat`, N x K, which Detectron2 has in the score's
            place; and, where `keep_heatmaps` is set, `pred_keypoint_heatmaps`, N x K x H x W.
        """
        output = self.layers(x)
        if self.training:
            return {"loss_keypoint": self.loss(output, instances) * self.loss_weight}
        boxes = Boxes.cat([image.pred_boxes for image in instances]).tensor
        keypoints, heat = self.decode(output, boxes)
        fields = {"pred_keypoints": keypoints, "pred_keypoint_heat": heat}
        if self.keep_heatmaps and isinstance(output, Tensor):
            fields["pred_keypoint_heatmaps"] = output.float()
        return with_fields(instances, **fields)

    def loss(self, output: Any, instances: Sequence[Instances]) -> Tensor:
        """The loss of the labelled keypoints that lie in their proposal's box; a scalar."""
        # Images without objects have no keypoints, not even an empty field.
        present = [image for image in instances if len(image)]
        if not present:  # a zero with a gradient for every parameter, as distributed training needs
            parts = [output] if isinstance(output, Tensor) else output
            return torch.stack([part.sum() for part in parts]).sum() * 0
        keypoints = torch.cat([image.gt_keypoints.tensor for image in present])
        boxes = torch.cat([image.proposal_boxes.tensor for image in present])
        cells, valid = losses.target_cells(keypoints, boxes, self.side)
        places = decoders.to_cells(keypoints[..., :2], boxes, self.side, self.side)
        weighted = self.losses(output, cells, places) * self.keypoint_weights
        total = torch.where(valid, weighted, 0).sum()
        if self.loss_normalizer == "visible":
            return total / valid.sum().clamp(min=1)
        return total / (float(self.loss_normalizer) * len(instances))

    def losses(self, output: Any, cells: Tensor, places: Tensor) -> Tensor:
        """The loss of each keypoint, N x K.

        Args:
            output: of the layers.
            cells: N x K, of `target_cells`.
            places: N x K x 2, x and y in cells from the corner of the box.
        """
        return losses.softmax_loss(output.float(), cells)

    @torch.no_grad()
    def decode(self, output: Any, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints, R x K x 3: x, y and a score in [0, 1]; and the heat at their peaks, R x K.

        The heat of a softmax is Detectron2's score, a density, which may exceed 1.
        """
        # Autocast would round the products of matrices that decoders use.
        with torch.autocast(output.device.type, enabled=False):
            log_heat, heat = self.heat(output.float())
            xy, value = self.decode_maps(log_heat, boxes)
        peak = (value - log_heat.flatten(2).amax(2)).exp() * heat.flatten(2).amax(2)
        score = self.score(heat, decoders.to_cells(xy, boxes, *heat.shape[2:])).clamp(0, 1)
        return torch.cat([xy, score[..., None]], dim=2), peak

    def heat(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of the heat, up to a constant for each map, and the heat."""
        return output, output.flatten(2).softmax(dim=2).view_as(output)

    def score(self, heat: Tensor, place: Tensor) -> Tensor:
        """The probability that the keypoint is at most a cell away, as the head has learnt it."""
        return decoders.mass_around(heat, place)


class SigmoidKeypointHead(KeypointHead):
    """A sigmoid for each cell against the one-hot mask: cells do not compete."""

    def __init__(self, input_shape: ShapeSpec, **kwargs: Any) -> None:
        super().__init__(input_shape, **kwargs)
        # One cell of all is right: begin there (Lin et al., arXiv 1708.02002, Sec. 3.3).
        nn.init.constant_(self.score_lowres.bias, -math.log((4 * input_shape.width) ** 2 - 1))

    def losses(self, output: Any, cells: Tensor, places: Tensor) -> Tensor:
        return losses.sigmoid_loss(output.float(), cells)

    def heat(self, output: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.logsigmoid(output), output.sigmoid()


class GaussianKeypointHead(KeypointHead):
    """Regression of a Gaussian around each keypoint, as in most networks for poses.

    Args:
        sigma: of the Gaussian, in cells of the map.
        input_shape, kwargs: as for `KeypointHead`.
    """

    def __init__(self, input_shape: ShapeSpec, *, sigma: float = 2.0, **kwargs: Any) -> None:
        super().__init__(input_shape, **kwargs)
        self.sigma = sigma
        nn.init.normal_(self.score_lowres.weight, std=0.001)  # nearly everywhere there is no heat

    def losses(self, output: Any, cells: Tensor, places: Tensor) -> Tensor:
        return losses.gaussian_loss(output.float(), places, self.sigma)

    def heat(self, output: Tensor) -> tuple[Tensor, Tensor]:
        heat = output.clamp(min=_LEAST_HEAT)
        return heat.log(), heat.clamp(max=1)

    def score(self, heat: Tensor, place: Tensor) -> Tensor:
        """The Gaussian of the distance to the keypoint, as the head expects it."""
        return decoders.window(heat, place.floor().long(), 0)[..., 0, 0]


class IntegralKeypointHead(KeypointHead):
    """Regression of the mean position under the softmax of a map (integral regression).

    Args:
        heatmap_weight: of the stock head's loss beside that of the position; 0: none.
        input_shape, kwargs: as for `KeypointHead`.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        heatmap_weight: float = 0.0,
        decoder: str = "soft_argmax",
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, decoder=decoder, **kwargs)
        self.heatmap_weight = heatmap_weight

    def losses(self, output: Any, cells: Tensor, places: Tensor) -> Tensor:
        logits = output.float()
        total = losses.integral_loss(logits, places)
        if self.heatmap_weight:
            total = total + self.heatmap_weight * losses.softmax_loss(logits, cells)
        return total


class SimCCKeypointHead(KeypointHead):
    """Two classifications for each keypoint, of its column and of its row (SimCC).

    Args:
        bins: classes of each; eight times the side of the RoI features puts two in a cell of the
            stock head's maps.
        sigma: of the Gaussian that smooths the labels, in bins.
        input_shape, kwargs: as for `KeypointHead`; there is no `decoder`, since there are no maps.
    """

    def __init__(
        self, input_shape: ShapeSpec, *, bins: int = 112, sigma: float = 2.0, **kwargs: Any
    ) -> None:
        super().__init__(input_shape, **kwargs)
        self.bins, self.sigma, self.side = bins, sigma, bins
        cells = (2 * input_shape.width) ** 2
        self.classify_x, self.classify_y = nn.Linear(cells, bins), nn.Linear(cells, bins)

    def layers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of columns and rows, each R x K x bins."""
        axes = ("classify_x", "classify_y")
        for name, layer in self.named_children():
            x = layer(x) if name not in axes else x
        flat = x.flatten(2)
        return self.classify_x(flat), self.classify_y(flat)

    def losses(self, output: Any, cells: Tensor, places: Tensor) -> Tensor:
        """The loss of each keypoint, N x K; places are in bins."""
        x, y = (logits.float() for logits in output)
        return losses.simcc_loss((x, y), places, self.sigma)

    @torch.no_grad()
    def decode(self, output: Any, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints, R x K x 3, and their heat, R x K: products over the two axes."""
        places, peaks, masses = [], [], []
        for logits in output:
            line = logits.float().softmax(dim=2)
            peak, index = line.max(dim=2)
            steps = torch.arange(-LOCAL_RADIUS, LOCAL_RADIUS + 1, device=line.device)
            near = index[..., None] + steps
            inside = (near >= 0) & (near < self.bins)
            weight = torch.where(inside, line.gather(2, near.clamp(0, self.bins - 1)), 0)
            masses.append(weight.sum(dim=2))
            places.append((weight * (near + 0.5)).sum(dim=2) / masses[-1])
            peaks.append(peak)
        xy = decoders.to_image(torch.stack(places, dim=2), boxes, self.bins, self.bins)
        score = (masses[0] * masses[1]).clamp(0, 1)
        return torch.cat([xy, score[..., None]], dim=2), peaks[0] * peaks[1]
