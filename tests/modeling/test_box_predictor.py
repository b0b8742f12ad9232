"""The weights of classes change the classification loss alone, as a mean over all regions."""

from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor
from torch.nn import functional as F

from roilab.modeling.box_predictor import WeightedBoxPredictor, weighted_cross_entropy

CLASSES, CHANNELS = 3, 8


def predictor(kind: Any, **more: Any) -> Any:
    torch.manual_seed(0)
    transform = Box2BoxTransform(weights=(10, 10, 5, 5))
    shape = ShapeSpec(channels=CHANNELS)
    return kind(input_shape=shape, box2box_transform=transform, num_classes=CLASSES, **more)


def regions(*classes: int) -> Instances:
    image = Instances((50, 50))
    image.gt_classes = torch.tensor(classes, dtype=torch.int64)
    boxes = torch.tensor([[1.0, 2.0, 20.0, 30.0]] * len(classes)).reshape(-1, 4)
    image.proposal_boxes, image.gt_boxes = Boxes(boxes), Boxes(boxes + 1)
    return image


def losses(layer: Any, images: list[Instances]) -> dict[str, Tensor]:
    torch.manual_seed(1)
    x = torch.randn(sum(map(len, images)), CHANNELS)
    with EventStorage():
        return layer.losses(layer(x), images)


IMAGES = [regions(0, 2, CLASSES, CLASSES), regions(1, CLASSES)]


def test_equal_weights_are_the_stock_loss() -> None:
    stock = losses(predictor(FastRCNNOutputLayers), IMAGES)
    ours = losses(predictor(WeightedBoxPredictor, class_weights=[1] * CLASSES), IMAGES)
    assert ours.keys() == stock.keys()
    torch.testing.assert_close(ours["loss_cls"], stock["loss_cls"])
    assert ours["loss_box_reg"] == stock["loss_box_reg"]


def test_a_region_weighs_as_its_class_and_the_background_one() -> None:
    stock = predictor(FastRCNNOutputLayers)
    ours = predictor(WeightedBoxPredictor, class_weights=[3, 1, 1], loss_weight={"loss_cls": 2.0})
    alone = [losses(layer, [regions(0)])["loss_cls"] for layer in (stock, ours)]
    torch.testing.assert_close(alone[1], 2 * 3 * alone[0])
    of_background = [losses(layer, [regions(CLASSES)])["loss_cls"] for layer in (stock, ours)]
    torch.testing.assert_close(of_background[1], 2 * of_background[0])
    assert losses(ours, IMAGES)["loss_cls"] > 2 * losses(stock, IMAGES)["loss_cls"]


def test_shares_of_a_batch_add_up_to_its_mean() -> None:
    """So that it is the same however many processes share it."""
    torch.manual_seed(2)
    scores, weights = torch.randn(10, CLASSES + 1), torch.tensor([4.0, 0.5, 1.0, 1.0])
    classes = torch.tensor([0, 1, 1, 3, 3, 3, 2, 0, 3, 1])
    whole = weighted_cross_entropy(scores, classes, weights)
    parts = [
        weighted_cross_entropy(scores[s], classes[s], weights) for s in (slice(3), slice(3, 10))
    ]
    torch.testing.assert_close(whole, (3 * parts[0] + 7 * parts[1]) / 10)
    by_hand = [
        weights[k] * F.cross_entropy(row[None], k[None])
        for row, k in zip(scores, classes, strict=True)
    ]
    torch.testing.assert_close(whole, torch.stack(by_hand).mean())


def test_no_region_gives_a_zero_with_a_gradient() -> None:
    layer = predictor(WeightedBoxPredictor, class_weights=[1, 2, 3])
    loss = losses(layer, [regions()])["loss_cls"]
    loss.backward()
    assert loss == 0
    assert layer.cls_score.weight.grad.abs().sum() == 0


def test_its_checkpoint_is_the_stock_layers() -> None:
    stock, ours = (
        predictor(FastRCNNOutputLayers),
        predictor(WeightedBoxPredictor, class_weights=[1, 2, 3]),
    )
    assert ours.state_dict().keys() == stock.state_dict().keys()
    ours.load_state_dict(stock.state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_in_half_precision_the_loss_is_float32(dtype: torch.dtype) -> None:
    layer = predictor(WeightedBoxPredictor, class_weights=[1, 2, 3])
    with torch.autocast("cpu", dtype):
        assert losses(layer, IMAGES)["loss_cls"].dtype == torch.float32
