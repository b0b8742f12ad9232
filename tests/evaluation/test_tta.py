"""Test-time augmentation: what one view, mirrored views and several scales give, for every head."""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone, DatasetMapperTTA, GeneralizedRCNN, GeneralizedRCNNWithTTA
from detectron2.structures import Boxes, Instances
from omegaconf import DictConfig
from torch import Tensor, nn

from roilab.cpu import optimize as cpu_optimize
from roilab.cpu.optimize import optimize_for_inference
from roilab.engine import config
from roilab.engine.build_model import build_model
from roilab.engine.load_run import load_run, load_run_config
from roilab.engine.run_folder import Run
from roilab.engine.setup import prepare
from roilab.engine.validate import augmented_inference, evaluate_model
from roilab.errors import UserError
from roilab.evaluation import Views
from roilab.evaluation.memory_bound import MemoryBound, bounded_inference
from roilab.evaluation.tta import AugmentedInference
from roilab.inference import Predictor
from roilab.memory import NotEnoughMemory
from roilab.modeling import DECODERS, point_rend
from roilab.modeling.keypoint_heads import SimCCKeypointHead
from roilab.skeleton import COCO_PERSON

HEADS = "model.roi_heads"
QUICK = [f"{HEADS}.keypoint_head.decoder=dark"]  # bicubic decoding of flat maps takes long
KEYPOINT_HEADS = ("", "Sigmoid", "Gaussian", "Integral", "SimCC")
MASK_HEADS = ("", "Multinomial", "MLP", "class-agnostic", "Scoring", "PointRend")
ONE = Views((1.0,), flip=False)
FLIP = Views((1.0,), flip=True)
RESIZE = T.ResizeShortestEdge(96, 120)
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}
CHANNELS = 96


def keypoint_head(kind: str) -> list[str]:
    target = f"{HEADS}.keypoint_head._target_=roilab.modeling.{kind}KeypointHead"
    decoder = "soft_argmax" if kind == "Integral" else "dark"
    return [target] if kind == "SimCC" else [target, f"{HEADS}.keypoint_head.decoder={decoder}"]


def mask_head(kind: str) -> list[str]:
    if kind in ("", "PointRend"):
        return []
    if kind == "class-agnostic":
        return [f"{HEADS}.mask_head.num_classes=1"]
    name = {"Scoring": "MaskScoringHead"}.get(kind, f"{kind}MaskHead")
    target = f"{HEADS}.mask_head._target_=roilab.modeling.{name}"
    # An odd number of bins: the branch that rates masks has a stride.
    sides = (
        "mask_pooler.output_size",
        "mask_head.input_shape.width",
        "mask_head.input_shape.height",
    )
    return [target, *(f"{HEADS}.{side}=7" for side in sides)]


@functools.cache
def base_config(folder: Path) -> DictConfig:
    return load_run_config(Run(folder), keypoint_head(""))


def small_model(run: Run, overrides: Sequence[str] = (), masks: str = "") -> Any:
    """An untrained model that is as sure of what it detects as a trained one."""
    cfg = config.override(copy.deepcopy(base_config(run.folder)), [*overrides, *mask_head(masks)])
    torch.manual_seed(0)
    model: Any = build_model(cfg).eval()
    heads = model.roi_heads
    if masks == "PointRend":
        shape = {"p2": ShapeSpec(channels=CHANNELS, stride=4)}
        heads.mask_head = point_rend(shape, num_classes=2, fc_dim=32, point_fc_dim=32).eval()
        heads.mask_in_features, heads.mask_pooler = ["p2"], None
    factors = {
        model.proposal_generator.rpn_head.objectness_logits: 100,
        heads.box_predictor.cls_score: 5,
        heads.box_predictor.bbox_pred: 100,
        heads.keypoint_head.score_lowres: 100,
        getattr(heads.mask_head, "predictor", None): 100,
    }
    with torch.no_grad():
        for layer, factor in factors.items():
            if layer is not None:
                layer.weight *= factor
        if masks == "Scoring":
            heads.mask_head.mask_iou.predictor.bias += 0.5
    return model


def images(*sizes: tuple[int, int]) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8),
            "height": size[0],
            "width": size[1],
        }
        for size in sizes
    ]


def arrays(*sizes: tuple[int, int]) -> list[np.ndarray]:
    return [np.array(item["image"].permute(1, 2, 0), order="C") for item in images(*sizes)]


def plain(model: Any, batch: Sequence[dict[str, Any]], *augmentations: Any) -> list[Instances]:
    """The instances without augmentation, of images resized as for an evaluation."""
    resized = []
    for item in batch:
        view = T.AugInput(np.array(item["image"].permute(1, 2, 0), order="C"))
        T.AugmentationList(augmentations)(view)
        image = torch.from_numpy(np.array(view.image.transpose(2, 0, 1), order="C"))
        resized.append({**item, "image": image})
    with torch.inference_mode():
        return list(bounded_inference(model, resized))


def augmented(
    model: Any, batch: Sequence[dict[str, Any]], views: Views, *augmentations: Any
) -> list[Instances]:
    tta = AugmentedInference(getattr(model, "model", model), views, augmentations, COCO_PERSON)
    with torch.inference_mode():
        return list(bounded_inference(model, batch, tta=tta))


def assert_equal(one: Instances, other: Instances, tolerance: float = 0.0) -> None:
    assert one.image_size == other.image_size
    assert set(one.get_fields()) == set(other.get_fields())
    assert len(one) == len(other)
    for name, value in one.get_fields().items():
        a, b = (getattr(v, "tensor", v) for v in (value, other.get(name)))
        assert a.dtype == b.dtype
        if a.dtype == torch.bool:
            assert (a != b).float().mean().nan_to_num() <= tolerance, name
        else:
            torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


class TestOneView:
    """The run's own size, not mirrored, is the plain result to the last bit."""

    @pytest.mark.parametrize("kind", KEYPOINT_HEADS)
    def test_of_keypoint_heads(self, tiny_run: Run, kind: str) -> None:
        model = small_model(tiny_run, keypoint_head(kind))
        model.roi_heads.mask_on = False
        self.assert_same(model)

    @pytest.mark.parametrize("kind", MASK_HEADS)
    def test_of_mask_heads(self, tiny_run: Run, kind: str) -> None:
        model = small_model(tiny_run, masks=kind)
        model.roi_heads.keypoint_on = False
        self.assert_same(model)

    def assert_same(self, model: Any) -> None:
        batch = images((70, 100), (80, 60))  # the smaller one is padded
        expected = plain(model, batch, RESIZE)
        for one, other in zip(augmented(model, batch, ONE, RESIZE), expected, strict=True):
            assert len(one) > 3
            assert_equal(one, other)

    def test_of_boxes_alone(self, tiny_run: Run) -> None:
        model = small_model(tiny_run)
        model.roi_heads.mask_on = model.roi_heads.keypoint_on = False
        self.assert_same(model)
        (result,) = augmented(model, images((64, 64)), Views())
        assert set(result.get_fields()) == {"pred_boxes", "scores", "pred_classes"}

    def test_in_the_fast_mode(self, tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cpu_optimize, "dtype_of", lambda *_: torch.bfloat16)
        model = optimize_for_inference(small_model(tiny_run), fast=True)
        assert model.model.roi_heads.box_head.fc1.weight.dtype == torch.bfloat16
        batch = images((64, 96), (64, 96))
        bound = MemoryBound(model, [], 10**12)
        with torch.inference_mode():
            expected = list(bounded_inference(model, batch, bound))
        for one, other in zip(augmented(model, batch, ONE), expected, strict=True):
            assert_equal(one, other)
        assert all(map(len, augmented(model, batch, Views())))

    def test_of_a_predictor(self, tiny_run: Run) -> None:
        predictor = Predictor.from_run(tiny_run, QUICK)
        with_views = Predictor.from_run(tiny_run, QUICK, tta=ONE)
        pixels = arrays((64, 96), (64, 96))
        predictions = zip(
            predictor(pixels, heatmaps=True), with_views(pixels, heatmaps=True), strict=True
        )
        for one, other in predictions:
            assert one.labels == other.labels
            for name in ("boxes", "scores", "masks", "keypoints", "heatmaps"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


class Patches(Backbone):
    """Features of patches that do not overlap, so that a mirrored image has mirrored features."""

    size_divisibility = 64

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleDict(
            {name: nn.Conv2d(3, CHANNELS, s, stride=s) for name, s in STRIDES.items()}
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: conv(x).relu() / 20 for name, conv in self.levels.items()}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {name: ShapeSpec(channels=CHANNELS, stride=s) for name, s in STRIDES.items()}


@torch.no_grad()
def symmetrise(model: Any) -> Any:
    """The model with a backbone and weights that do the same to an image and to its mirror image.

    Kernels equal their mirrors; nothing moves a box to one side; and a left keypoint has the mirror
    of the right one's kernel.
    """
    torch.manual_seed(1)
    model.backbone = Patches()
    heads, rpn = model.roi_heads, model.proposal_generator.rpn_head
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight += layer.weight.flip(3)
    # Anchors in the centres of cells.
    model.proposal_generator.anchor_generator.offset = 0.5
    for layer in (rpn.anchor_deltas, heads.box_predictor.bbox_pred):
        layer.weight[::4], layer.bias[::4] = 0, 0  # dx
    mirror_inputs(heads.box_head.fc1, 7)
    head = heads.keypoint_head
    swap = list(COCO_PERSON.flip_indices)
    lowres = torch.randn(head.score_lowres.weight.shape) * 0.3
    head.score_lowres.weight.copy_(lowres + lowres[:, swap].flip(3))
    head.score_lowres.bias += head.score_lowres.bias[swap].clone()
    if isinstance(head, SimCCKeypointHead):
        mirror_inputs(head.classify_y, 28)
        weight = head.classify_x.weight.view(head.bins, 28, 28)
        weight += weight.flip(0, 2)
        head.classify_x.bias += head.classify_x.bias.flip(0)
    symmetrise_masks(heads.mask_head)
    return model


def symmetrise_masks(head: Any) -> None:
    if hasattr(head, "fcs"):  # of an MLP
        mirror_inputs(head.fcs[1], 7)
        mirror_outputs(head.predictor, head.output_size)
    if hasattr(head, "mask_iou"):
        mirror_inputs(head.mask_iou.fcs[1], 4)
    if hasattr(head, "coarse_head"):  # of PointRend
        mirror_inputs(head.coarse_head.fcs[0], 7)
        mirror_outputs(head.coarse_head.prediction, 7)


def mirror_inputs(layer: nn.Linear, side: int) -> None:
    weight = layer.weight.view(len(layer.weight), -1, side, side)
    weight += weight.flip(3)


def mirror_outputs(layer: nn.Linear, side: int) -> None:
    weight = layer.weight.view(-1, side, side, layer.in_features)
    weight += weight.flip(2)
    bias = layer.bias.view(-1, side, side)
    bias += bias.flip(2)


class TestMirrored:
    """A model that does the same to mirror images gives the same with mirrored views."""

    def assert_same(self, model: Any) -> Instances:
        symmetrise(model)
        batch = images((64, 128))
        (expected,), (result,) = plain(model, batch), augmented(model, batch, FLIP)
        assert len(expected) > 10
        assert_equal(result, expected, 1e-3)
        return expected

    @pytest.mark.parametrize("kind", KEYPOINT_HEADS)
    def test_keypoint_heads(self, tiny_run: Run, kind: str) -> None:
        model = small_model(tiny_run, keypoint_head(kind))
        model.roi_heads.mask_on = False
        expected = self.assert_same(model)
        # Left and right are apart, so that not to exchange them would show.
        left, right = (COCO_PERSON.keypoints.index(f"{side}_knee") for side in ("left", "right"))
        points = expected.pred_keypoints
        assert (points[:, left] - points[:, right]).abs().max() > 1

    def test_decoders(self, tiny_run: Run) -> None:
        model = symmetrise(small_model(tiny_run))
        model.roi_heads.mask_on = False
        batch = images((64, 128))
        for decoder in DECODERS.values():
            model.roi_heads.keypoint_head.decode_maps = decoder
            (expected,), (result,) = plain(model, batch), augmented(model, batch, FLIP)
            # Of a place between two cells, as the bicubic decoder gives it, either has the score.
            places = (one.pred_keypoints[..., :2] for one in (result, expected))
            torch.testing.assert_close(*places, atol=0.01, rtol=0)

    @pytest.mark.parametrize("kind", MASK_HEADS)
    def test_mask_heads(self, tiny_run: Run, kind: str) -> None:
        model = small_model(tiny_run, masks=kind)
        model.roi_heads.keypoint_on = False
        self.assert_same(model)


def test_boxes_and_masks_are_detectron2s(tiny_run: Run) -> None:
    model = small_model(tiny_run)
    heads = model.roi_heads
    heads.keypoint_on = False
    heads.box_predictor.test_score_thresh = 0.01
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = heads.num_classes
    cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST = heads.box_predictor.test_nms_thresh
    cfg.TEST.DETECTIONS_PER_IMAGE = heads.box_predictor.test_topk_per_image
    mapper = DatasetMapperTTA(min_sizes=[48, 64, 80], max_size=1000, flip=True)
    theirs = GeneralizedRCNNWithTTA(cfg, model, mapper, batch_size=1)
    batch = images((64, 96), (64, 96))
    with torch.inference_mode():
        expected = [output["instances"] for output in theirs(batch)]
    for one, other in zip(augmented(model, batch, Views()), expected, strict=True):
        assert len(one) > 10
        assert_equal(one, other, 1e-4)


def test_keypoint_maps_are_averaged_before_they_are_decoded(tiny_run: Run) -> None:
    model = small_model(tiny_run)
    heads = model.roi_heads
    (item,) = images((64, 96))
    (result,) = augmented(model, [item], FLIP)
    boxes = result.pred_boxes.tensor
    mirrored = boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([96, 0, 96, 0])
    outputs = []
    with torch.inference_mode():
        for image, places in ((item["image"], boxes), (item["image"].flip(2), mirrored)):
            features = model.backbone(model.preprocess_image([{"image": image}]).tensor)
            maps = [features[name] for name in heads.keypoint_in_features]
            outputs.append(heads.keypoint_head.layers(heads.keypoint_pooler(maps, [Boxes(places)])))
        back = outputs[1].flip(3)[:, list(COCO_PERSON.flip_indices)]
        expected, _ = heads.keypoint_head.decode((outputs[0] + back) / 2, boxes)
        apart, _ = heads.keypoint_head.decode(outputs[0], boxes)
    torch.testing.assert_close(result.pred_keypoints, expected, atol=1e-4, rtol=1e-4)
    assert (expected - apart).abs().max() > 1


class TestImages:
    def test_without_detections(self, tiny_run: Run) -> None:
        model = small_model(tiny_run)
        model.roi_heads.box_predictor.test_score_thresh = 1.1
        batch = images((64, 96), (40, 50))
        for one, other in zip(
            augmented(model, batch, Views(), RESIZE), plain(model, batch, RESIZE), strict=True
        ):
            assert len(one) == 0
            assert_equal(one, other)

    def test_in_one_of_two(self, tiny_run: Run) -> None:
        model = small_model(tiny_run)
        batch = images((64, 96), (64, 96))
        batch[1]["image"] = torch.zeros_like(batch[1]["image"])
        scores = [result.scores.max() for result in plain(model, batch)]
        model.roi_heads.box_predictor.test_score_thresh = float(sum(scores) / 2)
        counts = [len(result) for result in augmented(model, batch, ONE)]
        assert sorted(map(bool, counts)) == [False, True]

    def test_smaller_than_a_stride(self, tiny_run: Run) -> None:
        model = small_model(tiny_run)
        for size in ((1, 1), (3, 2), (5, 40)):
            batch = images(size)
            assert_equal(*augmented(model, batch, ONE), *plain(model, batch))
            (result,) = augmented(model, batch, Views((0.1, 1, 3)))
            assert result.image_size == size

    def test_all_scales_give_masks_and_keypoints_in_the_image(self, tiny_run: Run) -> None:
        model = small_model(tiny_run)
        batch = images((70, 100), (81, 60))
        results = augmented(model, batch, Views(), RESIZE)
        for item, result in zip(batch, results, strict=True):
            size = (item["height"], item["width"])
            assert result.image_size == size
            assert result.pred_masks.shape == (len(result), *size)
            x0, y0, x1, y1 = result.pred_boxes.tensor.unbind(1)
            x, y, _ = result.pred_keypoints.unbind(2)
            # Keypoints of a flat box are in one that is a pixel high.
            assert ((x >= x0[:, None] - 1) & (x <= x1[:, None] + 1)).all()
            assert ((y >= y0[:, None] - 1) & (y <= y1[:, None] + 1)).all()
            assert x1.max() <= size[1] + 1e-3
            assert y1.max() <= size[0] + 1e-3
            assert (result.scores.diff() <= 0).all()

    def test_views_are_made_of_the_image_itself(
        self, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = small_model(tiny_run)
        seen: list[Tensor] = []
        prepared = model.preprocess_image

        def record(inputs: list[dict[str, Any]]) -> Any:
            seen.append(inputs[0]["image"])
            return prepared(inputs)

        monkeypatch.setattr(model, "preprocess_image", record)
        (item,) = images((64, 96))
        once, twice = [T.ResizeShortestEdge(32, 1000)], [T.Resize((90, 90)), T.Resize((32, 48))]
        for resizing in (once, twice):
            seen.clear()
            augmented(model, [item], Views((2.0, 0.5)), *resizing)
            assert [tuple(view.shape[1:]) for view in seen] == [(64, 96)] * 2 + [(16, 24)] * 2
            assert torch.equal(seen[1], seen[0].flip(2))
            if len(resizing) == 1:
                assert torch.equal(seen[0], item["image"])
        seen.clear()
        augmented(model, [item], Views((1.5, 1.0), flip=False))
        assert [tuple(view.shape[1:]) for view in seen] == [(96, 144), (64, 96)]

    def test_several_are_what_they_are_alone(self, tiny_run: Run) -> None:
        predictor = Predictor.from_run(tiny_run, QUICK, tta=Views((1.5,)))
        pixels = arrays((64, 96), (80, 72), (64, 96))
        for image, together in zip(pixels, predictor(pixels), strict=True):
            alone = predictor(image)
            assert together.labels == alone.labels
            np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-3)
            np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)


def test_an_evaluation_sees_the_images_before_they_are_resized(tiny_run: Run) -> None:
    resize = "{_target_:detectron2.data.transforms.ResizeShortestEdge,short_edge_length:64}"
    overrides = [
        f"dataloader.test.augmentations=[{resize}]",
        "dataloader.test.batch_size=3",
        *QUICK,
    ]
    cfg, model = load_run(tiny_run, overrides)
    dataset = prepare(cfg, training=False).val
    before = cfg.copy()
    expected = evaluate_model(cfg, model, dataset)
    for views, is_same in ((ONE, True), (FLIP, False)):
        tta = augmented_inference(cfg, model, views, tiny_run.skeleton())
        evaluation = evaluate_model(cfg, model, dataset, tta=tta)
        assert (evaluation.detections == expected.detections) == is_same
        assert len(evaluation.image_seconds) == len(dataset) == 4
    assert cfg == before


def test_the_features_of_all_views_count_for_the_memory(tiny_run: Run) -> None:
    views = Views((0.5, 1.0, 2.0))
    assert views.pixels == 2 * (0.25 + 1 + 4)
    limit = 10**9
    once, often = (Predictor.from_run(tiny_run, max_memory=limit, tta=v) for v in (None, views))
    pixels = np.zeros((900, 900, 3), np.uint8)
    once.memory.check_image(900, 900)
    for look in (lambda: often.memory.check_image(900, 900), lambda: often(pixels)):
        with pytest.raises(NotEnoughMemory, match="900 x 900"):
            look()


class TestRefused:
    @pytest.mark.parametrize(
        "scales", [(), (0.0,), (-1.0, 1.0), (1.0, 1.0), (9.0,), (float("nan"),)]
    )
    def test_scales(self, scales: tuple[float, ...]) -> None:
        with pytest.raises(UserError, match="scales"):
            Views(scales)

    def test_models_of_another_kind(self, tiny_run: Run) -> None:
        class Other(GeneralizedRCNN):
            pass

        model = small_model(tiny_run)
        model.__class__ = Other
        with pytest.raises(UserError, match="Other"):
            AugmentedInference(model, FLIP, [], COCO_PERSON)
        with pytest.raises(UserError, match="NoneType"):
            AugmentedInference(None, FLIP, [], COCO_PERSON)

    def test_a_skeleton_of_other_keypoints(self, tiny_run: Run) -> None:
        model = small_model(tiny_run)
        with pytest.raises(UserError, match="0 keypoints"):
            AugmentedInference(model, FLIP, [], None)
        AugmentedInference(model, ONE, [], None)

    def test_larger_views_of_a_backbone_that_pads_to_one_size(
        self, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = small_model(tiny_run)
        square = property(lambda _: {"square_size": 64, "size_divisibility": 32})
        monkeypatch.setattr(type(model.backbone), "padding_constraints", square)
        with pytest.raises(UserError, match="64 x 64"):
            AugmentedInference(model, Views(), [], COCO_PERSON)
        (result,) = augmented(model, images((64, 64)), Views((0.5, 1.0)))
        assert len(result)
