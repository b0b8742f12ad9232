"""Mask heads: the stock one is Detectron2's, and all do what a head has to do."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import MaskRCNNConvUpsampleHead
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from roilab.errors import UserError
from roilab.modeling import mask_heads, point_rend

from .regions import detections, features, proposals

SHAPE = ShapeSpec(channels=16, width=14, height=14)
CLASSES = 3
SMALL = {"num_classes": CLASSES, "conv_dims": [16] * 2}

fcn = partial(mask_heads.MaskHead, SHAPE, **SMALL)
agnostic = partial(mask_heads.MaskHead, SHAPE, **{**SMALL, "num_classes": 1})
multinomial = partial(mask_heads.MultinomialMaskHead, SHAPE, **SMALL)
mlp = partial(mask_heads.MLPMaskHead, SHAPE, num_classes=CLASSES, fc_dims=[32, 32, 32])
branch = {"iou_conv_dims": [16, 16], "iou_fc_dims": [32]}
scoring = partial(mask_heads.MaskScoringHead, SHAPE, **SMALL, **branch)
NAMES = ("fcn", "agnostic", "multinomial", "mlp", "scoring")
HEADS = [fcn, agnostic, multinomial, mlp, scoring]


def make(kind: Callable[..., Any], **arguments: Any) -> Any:
    torch.manual_seed(0)
    return kind(**arguments)


def losses_of(head: Any, x: Tensor, images: list[Instances]) -> dict[str, Tensor]:
    with EventStorage():
        return head.train()(x, images)


def as_bitmaps(images: list[Instances]) -> list[Instances]:
    for image in images:
        image.gt_masks = BitMasks.from_polygon_masks(image.gt_masks, *image.image_size)
    return images


class TestStock:
    @pytest.mark.parametrize("classes", [CLASSES, 1])
    def test_same_loss_and_masks(self, classes: int) -> None:
        ours = make(fcn, num_classes=classes)
        theirs = MaskRCNNConvUpsampleHead(SHAPE, num_classes=classes, conv_dims=[16] * 2)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        heads = (ours, theirs)
        losses = [losses_of(head, features(), proposals())["loss_mask"] for head in heads]
        assert torch.equal(*losses)
        predictions = [head.eval()(features(), detections(proposals())) for head in heads]
        for one, other in zip(*predictions, strict=True):
            assert torch.equal(one.pred_masks, other.pred_masks)


@pytest.mark.parametrize("kind", HEADS, ids=NAMES)
class TestEvery:
    @pytest.mark.parametrize("size", [14, 28, 56])
    def test_side_of_the_masks(self, kind: Callable[..., Any], size: int) -> None:
        head = make(kind, output_size=size)
        assert all(torch.isfinite(x) for x in losses_of(head, features(), proposals()).values())
        predictions = head.eval()(features(), detections(proposals((3, 2))))
        assert [image.pred_masks.shape for image in predictions] == [
            (3, 1, size, size),
            (2, 1, size, size),
        ]
        assert all((image.pred_masks >= 0).all() for image in predictions)
        assert all((image.pred_masks <= 1).all() for image in predictions)

    @pytest.mark.parametrize("counts", [(0, 0), (0,), (2, 0)])
    def test_images_without_objects(self, kind, counts: tuple[int, ...]) -> None:
        head, count = make(kind), sum(counts)
        loss = sum(losses_of(head, features(count), proposals(counts)).values())
        loss.backward()
        assert all(parameter.grad is not None for parameter in head.parameters())
        assert (loss > 0) == (count > 0)
        predictions = head.eval()(features(count), detections(proposals(counts)))
        assert [len(image.pred_masks) for image in predictions] == list(counts)

    def test_channels_last_and_bfloat16(self, kind: Callable[..., Any]) -> None:
        plain = losses_of(make(kind), features(), proposals())
        head = make(kind).to(memory_format=torch.channels_last)
        x = features().to(memory_format=torch.channels_last).requires_grad_()
        last = losses_of(head, x, proposals())
        assert torch.allclose(last["loss_mask"], plain["loss_mask"], rtol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = losses_of(head, x, proposals())
            head.eval()(x, detections(proposals()))
        sum(rounded.values()).backward()
        # How good the masks are is not compared: those of an untrained head hang on the last bit.
        assert torch.allclose(rounded["loss_mask"], plain["loss_mask"], rtol=0.05)
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())

    def test_bitmaps_are_targets_too(self, kind: Callable[..., Any]) -> None:
        """Polygons and their bitmaps, which differ by the rounding of a border."""
        head, images = make(kind), (proposals(), as_bitmaps(proposals()))
        both = [sum(losses_of(head, features(), targets).values()) for targets in images]
        assert torch.allclose(*both, rtol=0.1)

    def test_loss_weight(self, kind: Callable[..., Any]) -> None:
        one = losses_of(make(kind), features(), proposals())["loss_mask"]
        two = losses_of(make(kind, loss_weight=2.0), features(), proposals())["loss_mask"]
        assert torch.allclose(two, 2 * one)


class TestMultinomial:
    def test_loss_is_that_of_a_classification_of_cells(self) -> None:
        logits = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
        targets = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(1)) > 0.5
        classes = torch.tensor([2, 0])
        expected = []
        for r, i, j in itertools.product(range(2), range(3), range(3)):
            label = int(classes[r]) if targets[r, i, j] else 3
            expected.append(-logits[r, :, i, j].log_softmax(0)[label])
        loss = mask_heads.multinomial_loss(logits, targets, classes)
        assert torch.allclose(loss, torch.stack(expected).mean())

    def test_classes_compete(self) -> None:
        """A cell that is surely of one class is not of another; with sigmoids it may be."""
        head = make(multinomial).eval()
        total = 0
        for index in range(CLASSES):
            images = detections(proposals())
            for image in images:
                image.pred_classes.fill_(index)
            total = total + torch.cat([image.pred_masks for image in head(features(), images)])
        assert (total <= 1 + 1e-6).all()

    def test_class_agnostic(self) -> None:
        """Of all classes the same mask, which is not the background."""
        head = make(multinomial, num_classes=1)
        with torch.no_grad():
            head.predictor.bias += torch.tensor([5.0, 0.0])
        images = proposals()
        loss = losses_of(head, features(), images)["loss_mask"]
        for image in images:
            image.gt_classes = 2 - image.gt_classes
        assert losses_of(head, features(), images)["loss_mask"] == loss
        for image in head.eval()(features(), detections(images)):
            assert (image.pred_masks > 0.5).all()


class TestScoring:
    @pytest.mark.parametrize(
        ("corners", "part", "expected"),
        [
            # The box is the square, or twice as wide, or holds half of it.
            ((10, 10, 50, 50), "all", 1.0),
            ((10, 10, 50, 50), "left", 0.5),
            ((10, 10, 90, 50), "all", 0.5),
            ((10, 10, 90, 50), "left", 1.0),
            ((30, 10, 50, 50), "all", 0.5),
            ((30, 10, 50, 50), "left", 0.25),
            ((10, 10, 50, 50), "none", 0.0),
        ],
    )
    def test_iou_counts_what_lies_outside_the_box(self, corners, part: str, expected) -> None:
        boxes = torch.tensor([corners])
        square = PolygonMasks([[torch.tensor([10.0, 10, 50, 10, 50, 50, 10, 50]).numpy()]])
        image = Instances((100, 100), proposal_boxes=Boxes(boxes), gt_masks=square)
        masks = torch.zeros(1, 28, 28, dtype=torch.bool)
        masks[:, :, : {"all": 28, "left": 14, "none": 0}[part]] = True
        iou = mask_heads.mask_iou(
            masks, mask_heads.mask_targets([image], 28), boxes, mask_heads.full_areas([image])
        )
        assert torch.allclose(iou, torch.tensor([expected]), atol=0.04)

    def test_area_of_bitmaps_is_that_of_polygons(self) -> None:
        both = [mask_heads.full_areas(images) for images in (proposals(), as_bitmaps(proposals()))]
        assert torch.allclose(*both, rtol=0.05)
        assert (both[0] > 100).all()

    def test_iou_is_of_the_class_that_the_box_head_found(self) -> None:
        head = make(scoring).eval()
        with torch.no_grad():
            head.mask_iou.predictor.weight.zero_()
            head.mask_iou.predictor.bias.copy_(torch.tensor([0.1, 0.5, 3.0]))
        for image in head(features(), detections(proposals())):
            expected = torch.tensor([0.1, 0.5, 1.0])[image.pred_classes]
            assert torch.allclose(image.mask_scores / image.scores, expected)

    def test_the_mask_that_is_rated_is_that_of_the_class(self) -> None:
        """Of class 2 alone the mask is the whole box; all others are empty, and IoU 0 is right."""
        head = make(scoring)
        with torch.no_grad():
            head.predictor.weight.zero_()
            head.predictor.bias.copy_(torch.tensor([-9.0, -9.0, 9.0]))
            head.mask_iou.predictor.weight.zero_()
        for index, whole in ((0, False), (2, True)):
            images = proposals((3,))
            images[0].gt_classes.fill_(index)
            loss = losses_of(head, features(3), images)["loss_mask_iou"]
            assert (loss > 0.5) == whole  # an ellipse fills pi / 4 of its box
            assert whole or loss == 0

    def test_loss_of_the_branch_is_weighed_and_leaves_the_masks_alone(self) -> None:
        one, two = make(scoring), make(scoring, iou_loss_weight=2.0)
        losses = [losses_of(head, features(), proposals())["loss_mask_iou"] for head in (one, two)]
        assert torch.allclose(losses[1], 2 * losses[0])
        losses[0].backward()
        assert one.predictor.weight.grad is None
        assert one.mask_iou.predictor.weight.grad is not None

    def test_masks_are_ranked_by_score_times_iou(self) -> None:
        head = make(scoring).eval()
        nn.init.constant_(head.mask_iou.predictor.bias, 0.5)
        images = detections(proposals())
        for image, detection in zip(head(features(), images), images, strict=True):
            assert torch.equal(image.scores, detection.scores)
            ratio = image.mask_scores / image.scores
            assert ((ratio > 0.2) & (ratio < 0.8)).all()

    def test_branch_learns_how_good_a_mask_is(self) -> None:
        head, images = make(scoring), proposals((6,))
        optimizer = torch.optim.Adam(head.mask_iou.parameters(), lr=1e-3)
        losses = []
        for _ in range(60):
            optimizer.zero_grad()
            losses.append(losses_of(head, features(6), images)["loss_mask_iou"])
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < 0.1 * losses[0]


P2 = torch.randn(2, 16, 30, 30, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def points() -> nn.Module:
    torch.manual_seed(0)
    shape = {"p2": ShapeSpec(channels=16, stride=4)}
    return point_rend(shape, CLASSES, fc_dim=32, point_fc_dim=16)


def test_point_rend_trains_and_predicts(points: nn.Module) -> None:
    x = {"p2": P2}
    losses = losses_of(points, x, as_bitmaps(proposals()))
    assert set(losses) == {"loss_mask", "loss_mask_point"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in points.parameters())
    predictions = points.eval()(x, detections(proposals()))
    assert [image.pred_masks.shape[1:] for image in predictions] == [(1, 224, 224)] * 2


def test_point_rend_without_objects_in_channels_last_and_bfloat16(points: nn.Module) -> None:
    nothing = sum(losses_of(points, {"p2": P2}, proposals((0, 0))).values())
    nothing.backward()
    assert nothing == 0
    assert all((parameter.grad == 0).all() for parameter in points.parameters())
    plain = losses_of(points, {"p2": P2}, as_bitmaps(proposals()))["loss_mask"]
    points = points.to(memory_format=torch.channels_last)
    x = {"p2": P2.to(memory_format=torch.channels_last).requires_grad_()}
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(points, x, as_bitmaps(proposals()))
        points.eval()(x, detections(proposals()))
    sum(losses.values()).backward()
    assert torch.allclose(losses["loss_mask"], plain, rtol=0.05)
    assert x["p2"].grad.abs().sum() > 0


@pytest.mark.parametrize("kind", [fcn, multinomial, scoring], ids=["fcn", "softmax", "scoring"])
def test_oblong_features_are_refused(kind: Callable[..., Any], monkeypatch) -> None:
    monkeypatch.setattr(SHAPE, "height", 7)
    with pytest.raises(UserError, match="square"):
        kind()


def test_an_mlp_is_not_linear() -> None:
    head = make(mlp)
    x, y = features().split([2, 3])[0], features().split([3, 2])[1]
    zero = head.layers(torch.zeros_like(x))
    sum_of_both = head.layers(x) + head.layers(y) - zero
    assert not torch.allclose(head.layers(x + y), sum_of_both, rtol=1e-3, atol=1e-7)


def test_another_side_is_a_resize_that_keeps_the_border() -> None:
    """Of cells as areas (align_corners=False): the mean of a mask does not change."""
    small, large = (make(fcn, output_size=size).layers(features()) for size in (28, 56))
    assert torch.allclose(small.mean(dim=(2, 3)), large.mean(dim=(2, 3)), atol=1e-7)
    assert torch.allclose(large[..., 0, 0], small[..., 0, 0])
