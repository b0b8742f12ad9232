"""Keypoint heads: the stock one is Detectron2's, and all do what a head has to do; their losses are
what the words say, number by number."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from torch import Tensor

from roilab.errors import UserError
from roilab.modeling import DECODERS, keypoint_heads
from roilab.modeling.decoders import to_cells
from roilab.modeling.keypoint_heads import KeypointHead

from .regions import detections, features, proposals

NAMES = ("", "Sigmoid", "Gaussian", "Integral", "SimCC")
HEADS = [getattr(keypoint_heads, f"{name}KeypointHead") for name in NAMES]
_, Sigmoid, Gaussian, Integral, SimCC = HEADS
SHAPE = ShapeSpec(channels=16, width=14, height=14)
K = 5


def make(kind: Callable[..., KeypointHead], **arguments: Any) -> KeypointHead:
    torch.manual_seed(0)
    return kind(SHAPE, **{"num_keypoints": K, "conv_dims": [16] * 2, **arguments})


def loss_of(head: Any, x: Tensor, images: list[Instances]) -> Tensor:
    with EventStorage():
        return head.train()(x, images)["loss_keypoint"]


class TestStock:
    def pair(self, **arguments: Any) -> tuple[KeypointHead, KRCNNConvDeconvUpsampleHead]:
        ours = make(KeypointHead, **arguments)
        theirs = KRCNNConvDeconvUpsampleHead(
            SHAPE, num_keypoints=K, conv_dims=[16] * 2, loss_normalizer="visible"
        )
        for name, value in arguments.items():
            setattr(theirs, name, value)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        return ours, theirs

    @pytest.mark.parametrize(
        "arguments",
        [{}, {"loss_normalizer": 20.0}, {"loss_normalizer": 20}, {"loss_weight": 0.5}],
        ids=str,
    )
    @pytest.mark.parametrize("counts", [(3, 2), (5, 0)])
    def test_same_loss(self, arguments: dict[str, Any], counts: tuple[int, int]) -> None:
        heads = self.pair(**arguments)
        ours, theirs = (loss_of(head, features(), proposals(counts)) for head in heads)
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=0)
        assert ours > 0

    def test_same_keypoints(self) -> None:
        results = [head.eval()(features(), detections(proposals())) for head in self.pair()]
        for mine, stock in zip(*results, strict=True):
            places, heat = mine.pred_keypoints[..., :2], mine.pred_keypoint_heat[..., None]
            assert torch.allclose(torch.cat([places, heat], 2), stock.pred_keypoints, atol=1e-4)


@pytest.mark.parametrize("kind", HEADS)
class TestEvery:
    def test_two_keypoints_of_instances_that_are_not_touched(self, kind) -> None:
        head, instances = make(kind, num_keypoints=2), detections(proposals((3, 2)))
        loss_of(head, features(), proposals((5,), keypoints=2)).backward()
        predictions = head.eval()(features(), instances)
        assert [image.pred_keypoints.shape for image in predictions] == [(3, 2, 3), (2, 2, 3)]
        assert [image.pred_keypoint_heat.shape for image in predictions] == [(3, 2), (2, 2)]
        assert not any(image.has("pred_keypoints") for image in instances)

    @pytest.mark.parametrize("counts", [(0, 0), (0,), (2, 0)])
    def test_images_without_objects(self, kind, counts: tuple[int, ...]) -> None:
        head, count = make(kind), sum(counts)
        loss = loss_of(head, features(count), proposals(counts))
        loss.backward()
        assert all(parameter.grad is not None for parameter in head.parameters())
        assert (loss > 0) == (count > 0)
        predictions = head.eval()(features(count), detections(proposals(counts)))
        assert [len(image.pred_keypoints) for image in predictions] == list(counts)

    def test_nothing_labelled_is_a_zero_with_a_gradient(self, kind: type[KeypointHead]) -> None:
        images = proposals()
        for image in images:
            image.gt_keypoints.tensor.zero_()
        head = make(kind)
        loss = loss_of(head, features(), images)
        loss.backward()
        assert loss == 0
        assert all((parameter.grad == 0).all() for parameter in head.parameters())

    def test_unlabelled_keypoints_do_not_matter(self, kind: type[KeypointHead]) -> None:
        images, others = proposals(), proposals()
        for image in others:
            points = image.gt_keypoints.tensor
            points[..., :2] += 7 * (points[..., 2:] == 0)
        head = make(kind)
        assert loss_of(head, features(), images) == loss_of(head, features(), others)

    def test_weights_of_keypoints(self, kind: type[KeypointHead]) -> None:
        losses = [
            loss_of(make(kind, keypoint_weights=weights), features(), proposals())
            for weights in (None, [1] * K, [2] * K, [2, 0, 0, 0, 0], [0, 2, 2, 2, 2])
        ]
        assert losses[0] == losses[1]
        assert torch.allclose(losses[2], 2 * losses[1])
        assert torch.allclose(losses[3] + losses[4], losses[2])
        assert 0 < losses[3] < losses[2]

    def test_channels_last_and_bfloat16(self, kind: type[KeypointHead]) -> None:
        plain = loss_of(make(kind), features(), proposals())
        head = make(kind).to(memory_format=torch.channels_last)
        x = features().to(memory_format=torch.channels_last).requires_grad_()
        assert torch.allclose(loss_of(head, x, proposals()), plain, rtol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(head, x, proposals())
            predictions = head.eval()(x, detections(proposals()))
        loss.backward()
        assert torch.allclose(loss, plain, rtol=0.05)
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())
        assert all(image.pred_keypoints.dtype == torch.float32 for image in predictions)

    def test_scores_are_in_the_unit_interval(self, kind: type[KeypointHead]) -> None:
        head = make(kind).eval()
        with torch.no_grad():
            for scale in (0.0, 1.0, 100.0):
                for image in head(scale * features(), detections(proposals())):
                    assert (image.pred_keypoints[..., 2] >= 0).all()
                    assert (image.pred_keypoints[..., 2] <= 1).all()

    def test_what_is_learnt_is_what_is_decoded(self, kind: type[KeypointHead]) -> None:
        """The output that has the least loss is read as the annotated keypoints."""
        head, images = make(kind), proposals((4,))
        keypoints, boxes = images[0].gt_keypoints.tensor, images[0].proposal_boxes.tensor
        output = torch.zeros_like(head.layers(features(4)), requires_grad=True)
        optimizer = torch.optim.Adam([output], lr=0.3)
        for _ in range(150):
            optimizer.zero_grad()
            head.loss(output, images).backward()
            optimizer.step()
        points, _ = head.decode(output, boxes)
        labelled = keypoints[..., 2] > 0
        cell = (boxes[:, 2:] - boxes[:, :2])[:, None] / 56
        # A decoder may round to pixels of the image, which can be larger than a cell.
        off = ((points[..., :2] - keypoints[..., :2]).abs() / cell.clamp(min=1)).amax(dim=2)
        assert off[labelled].max() < 1
        if kind is not Integral:  # which may reach a mean without a peak
            assert points[..., 2][labelled].min() > 0.5


class TestScores:
    def test_a_score_is_how_often_the_keypoint_is_within_a_cell(self) -> None:
        """Keypoints drawn from the distribution that the maps state."""
        generator = torch.Generator().manual_seed(0)
        side, count = 56, 4000
        sharpness = torch.linspace(0.3, 12, count)[:, None, None, None]
        maps = sharpness * torch.nn.functional.interpolate(
            torch.randn(count, 1, 7, 7, generator=generator), (side, side), mode="bilinear"
        )
        boxes = torch.tensor([0.0, 0, side, side]).expand(count, 4)
        points, _ = make(KeypointHead, num_keypoints=1).decode(maps, boxes)
        scores = points[..., 2]
        drawn = torch.multinomial(maps.flatten(1).softmax(dim=1), 1, generator=generator)[:, 0]
        cell = points[:, 0, :2].floor()
        hit = ((cell[:, 0] - drawn % side).abs() <= 1) & ((cell[:, 1] - drawn // side).abs() <= 1)
        for part in scores[:, 0].argsort().split(count // 4):
            assert abs(scores[part, 0].mean() - hit[part].float().mean()) < 0.04
        assert scores.max() - scores.min() > 0.3

    def test_heat_of_a_sigmoid_is_its_peak(self) -> None:
        head = make(Sigmoid, decoder="quarter_shift")
        maps = torch.randn(2, K, 56, 56, generator=torch.Generator().manual_seed(0))
        _, heat = head.decode(maps, torch.tensor([[0.0, 0, 50, 50]] * 2))
        assert torch.allclose(heat, maps.sigmoid().amax(dim=(2, 3)))

    def test_score_of_a_gaussian_is_its_value_where_it_was_found(self) -> None:
        head = make(Gaussian, decoder="quarter_shift", num_keypoints=1)
        maps = torch.zeros(1, 1, 56, 56)
        maps[0, 0, 20, 30], maps[0, 0, 20, 31] = 0.7, 0.5
        points, heat = head.decode(maps, torch.tensor([[0.0, 0, 56, 56]]))
        assert torch.allclose(points[0, 0, 0], torch.tensor(30.75))
        assert torch.allclose(points[..., 2], torch.tensor(0.7))
        assert torch.allclose(heat, torch.tensor(0.7))

    def test_scores_of_simcc_are_products_over_both_axes(self) -> None:
        head = make(SimCC, num_keypoints=1)
        lines = torch.full((1, 1, 2, 112), -20.0)
        x, y = lines.unbind(2)
        x[..., 0], x[..., 60] = math.log(0.75), math.log(0.25)  # at the border, all in one bin
        y[..., 50], y[..., 51], y[..., 90] = (math.log(p) for p in (0.4, 0.2, 0.4 - 1e-3))
        points, heat = head.decode(lines, torch.tensor([[0.0, 0, 112, 112]]))
        assert torch.allclose(points[0, 0, :2], torch.tensor([0.5, 50.5 + 1 / 3]), atol=1e-3)
        assert torch.allclose(heat, torch.tensor(0.75 * 0.4), atol=1e-3)
        assert torch.allclose(points[0, 0, 2], torch.tensor(0.75 * 0.6), atol=1e-3)

    def test_a_sigmoid_head_begins_sure_that_a_cell_is_not_the_one(self) -> None:
        _, heat = make(Sigmoid).heat(make(Sigmoid).layers(0 * features()))
        assert torch.allclose(heat, torch.tensor(1 / 56**2), rtol=1e-3)


class TestChoices:
    @pytest.mark.parametrize("decoder", DECODERS)
    @pytest.mark.parametrize("kind", HEADS[:-1])
    def test_every_decoder_reads_every_map(self, kind: type[KeypointHead], decoder: str) -> None:
        head = make(kind, decoder=decoder).eval()
        with torch.no_grad():
            for image in head(features(), detections(proposals())):
                assert torch.isfinite(image.pred_keypoints).all()

    def test_heat_map_term_of_the_integral_head(self) -> None:
        both = make(Integral, heatmap_weight=0.5)
        heads = (make(Integral), both, make(KeypointHead))
        plain, both, stock = (loss_of(head, features(), proposals()) for head in heads)
        assert torch.allclose(both, plain + 0.5 * stock)

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"decoder": "darc"}, "quarter_shift"),
            ({"loss_normalizer": "seen"}, "visible"),
            ({"keypoint_weights": ["a"] * 5}, "5 numbers"),
            ({"keypoint_weights": [1.0, 2.0]}, "5 numbers, one for each keypoint"),
        ],
    )
    def test_mistakes_are_named(self, arguments: dict[str, Any], expected: str) -> None:
        with pytest.raises(UserError, match=expected):
            make(KeypointHead, **arguments)


BOX = torch.tensor([[10.0, 20, 26, 52]])  # 16 x 32 pixels
POINT = torch.tensor([[[16.5, 30.0, 2.0]]])


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_places_and_cells_are_of_one_frame() -> None:
    place = to_cells(POINT[..., :2], BOX, 8, 8)
    assert place.tolist() == [[[3.25, 2.5]]]
    cells, valid = keypoint_heads.target_cells(POINT, BOX, 8)
    assert (cells.item(), valid.item()) == (2 * 8 + 3, True)


def test_places_of_a_box_without_extent_are_finite() -> None:
    assert torch.isfinite(to_cells(POINT[..., :2], torch.full((1, 4), 16.5), 8, 8)).all()


def test_softmax_and_sigmoid() -> None:
    maps = random(1, 1, 3, 3)
    flat = maps.flatten().tolist()
    cells = torch.tensor([[4]])
    softmax = math.log(sum(map(math.exp, flat))) - flat[4]
    assert math.isclose(keypoint_heads.softmax_loss(maps, cells).item(), softmax, rel_tol=1e-5)
    p = [1 / (1 + math.exp(-value)) for value in flat]
    sigmoid = -sum(math.log(p[i] if i == 4 else 1 - p[i]) for i in range(9))
    assert math.isclose(keypoint_heads.sigmoid_loss(maps, cells).item(), sigmoid, rel_tol=1e-5)


def test_gaussian() -> None:
    maps, x, y, sigma = random(1, 1, 3, 3), 1.2, 0.7, 0.8
    expected = 0.0
    for i, j in itertools.product(range(3), range(3)):
        target = math.exp(-((j + 0.5 - x) ** 2 + (i + 0.5 - y) ** 2) / (2 * sigma**2))
        expected += (maps[0, 0, i, j].item() - target) ** 2
    loss = keypoint_heads.gaussian_loss(maps, torch.tensor([[[x, y]]]), sigma).item()
    assert math.isclose(loss, expected, rel_tol=1e-5)


def test_integral() -> None:
    maps = random(1, 1, 3, 3)
    heat = maps.flatten().softmax(0).view(3, 3)
    mean_x = sum(heat[i, j].item() * (j + 0.5) for i in range(3) for j in range(3))
    mean_y = sum(heat[i, j].item() * (i + 0.5) for i in range(3) for j in range(3))
    loss = keypoint_heads.integral_loss(maps, torch.tensor([[[0.2, 2.9]]])).item()
    assert math.isclose(loss, abs(mean_x - 0.2) + abs(mean_y - 2.9), rel_tol=1e-5)


def test_simcc() -> None:
    logits, places, sigma = random(1, 1, 2, 5), [1.3, 3.8], 0.7
    expected = 0.0
    for axis in range(2):
        weights = [math.exp(-((b + 0.5 - places[axis]) ** 2) / (2 * sigma**2)) for b in range(5)]
        logs = logits[0, 0, axis].log_softmax(0).tolist()
        total = sum(weights)
        expected -= sum(w / total * log for w, log in zip(weights, logs, strict=True))
    loss = keypoint_heads.simcc_loss(logits, torch.tensor([[places]]), sigma).item()
    assert math.isclose(loss, expected, rel_tol=1e-5)


def test_the_score_is_the_heat_of_nine_cells() -> None:
    head = make(KeypointHead)
    heat = torch.arange(25.0).view(1, 1, 5, 5)
    inside, corner = torch.tensor([[[2.2, 1.9]]]), torch.tensor([[[0.1, 4.9]]])
    assert head.score(heat, inside).item() == heat[0, 0, 0:3, 1:4].sum()
    assert head.score(heat, corner).item() == heat[0, 0, 3:5, 0:2].sum()
