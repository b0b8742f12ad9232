"""With nothing exchanged, ours is Detectron2's: names, shapes, losses and detections.

Detectron2's side is the lazy config of the installed package, untouched.
"""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances, Keypoints, PolygonMasks
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from roilab.cpu.heatmap_argmax import bicubic_by_windows
from roilab.cpu.optimize import optimize, replace_layers
from roilab.engine import config
from roilab.engine.build_model import load_weights
from roilab.engine.checkpoint import InitialWeights
from roilab.errors import UserError
from roilab.modeling import RoIPooler

CASES = [
    ("mask_rcnn_R_50_FPN_1x", "mask_rcnn_fpn", 50),
    ("mask_rcnn_R_101_FPN_1x", "mask_rcnn_fpn", 101),
    ("keypoint_rcnn_R_50_FPN_1x", "keypoint_rcnn_fpn", 50),
]
DETECTIONS = 10  # an image
PREDICTOR = "model.roi_heads.box_predictor"
OURS = [
    "data.num_keypoints=17",
    f"{PREDICTOR}.test_score_thresh=0.0",
    f"{PREDICTOR}.test_topk_per_image={DETECTIONS}",
]


def configs(name: str, stock: str, depth: int) -> tuple[Any, Any]:
    """Ours and Detectron2's, both keeping detections of any score."""
    theirs = config.upstream(f"common/models/{stock}.py").model
    theirs.backbone.bottom_up.stages.depth = depth
    theirs.roi_heads.box_predictor.update(test_score_thresh=0.0, test_topk_per_image=DETECTIONS)
    classes = theirs.roi_heads.num_classes
    ours = config.load_config(f"configs/{name}.py", [*OURS, f"data.num_classes={classes}"])
    return ours.model, theirs


def pair(case: tuple[str, str, int]) -> tuple[nn.Module, nn.Module]:
    """The two models with the same weights."""
    torch.manual_seed(0)
    ours, theirs = (instantiate(cfg) for cfg in configs(*case))
    # Without trained statistics each block would double its features, to no end.
    for name, module in ours.backbone.bottom_up.named_modules():
        if name.endswith("conv3.norm"):
            module.weight.fill_(0.1)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def with_fast_regions(model: nn.Module) -> nn.Module:
    """The model with those faster layers whose rounding is that of the slower ones."""

    def build(layer: nn.Module) -> nn.Module | None:
        return optimize(layer) if isinstance(layer, RoIPooler) else None

    if model.roi_heads.keypoint_on:
        model.roi_heads.keypoint_head.decode_maps = bicubic_by_windows
    return replace_layers(model, build)


def batch(classes: int) -> list[dict[str, Any]]:
    """Two images of noise with a few instances, with masks and keypoints."""
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for height, width in ((128, 160), (160, 96)):
        low = torch.rand(3, 2, generator=generator) * 30
        boxes = torch.cat([low, low + 30 + torch.rand(3, 2, generator=generator) * 28], dim=1)
        target = Instances((height, width))
        target.gt_boxes = Boxes(boxes)
        target.gt_classes = torch.randint(0, classes, (3,), generator=generator)
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].double().numpy()
        target.gt_masks = PolygonMasks([[ring] for ring in corners])
        place = torch.rand(3, 17, 2, generator=generator)
        xy = boxes[:, None, :2] + place * (boxes[:, 2:] - boxes[:, :2])[:, None]
        target.gt_keypoints = Keypoints(torch.cat([xy, torch.full((3, 17, 1), 2.0)], dim=2))
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        inputs.append({"image": image, "instances": target, "height": height, "width": width})
    return inputs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_same_names_and_shapes(case: tuple[str, str, int]) -> None:
    with torch.device("meta"):
        ours, theirs = (instantiate(cfg).state_dict() for cfg in configs(*case))
    assert list(ours) == list(theirs)
    assert [weight.shape for weight in ours.values()] == [
        weight.shape for weight in theirs.values()
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_same_losses_and_detections(case: tuple[str, str, int]) -> None:
    """With the faster poolers and decoder for the CPU, and without."""
    plain, stock = pair(case)
    inputs = batch(plain.roi_heads.num_classes)

    def results(model: nn.Module) -> tuple[dict[str, Tensor], list[Instances]]:
        torch.manual_seed(1)  # the sampling of anchors and proposals
        with EventStorage(), torch.no_grad():
            losses = model.train()(inputs)
            return losses, [output["instances"] for output in model.eval()(inputs)]

    expected_losses, expected = results(stock)
    for model in (plain, with_fast_regions(plain)):
        losses, detections = results(model)
        assert losses.keys() == expected_losses.keys()
        for name, loss in losses.items():
            assert 0 < loss < 1e3, name
            assert torch.allclose(loss, expected_losses[name], rtol=1e-6, atol=0), name
        for ours, theirs in zip(detections, expected, strict=True):
            assert_same(ours, theirs)


def assert_same(ours: Instances, theirs: Instances) -> None:
    assert len(ours) == len(theirs) == DETECTIONS
    assert torch.equal(ours.pred_classes, theirs.pred_classes)
    for field in ("scores", "pred_masks", "pred_keypoints"):
        assert ours.has(field) == theirs.has(field)
        if ours.has(field):
            one, other = (side.get(field).float() for side in (ours, theirs))
            if field == "pred_keypoints":
                one = torch.cat([one[..., :2], ours.pred_keypoint_heat[..., None]], dim=2)
            # Relative only for Detectron2's keypoint scores, which may be far above 1.
            assert torch.allclose(one[..., :2], other[..., :2], rtol=0, atol=1e-4), field
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4), field
    one, other = ours.pred_boxes.tensor, theirs.pred_boxes.tensor
    assert torch.allclose(one, other, rtol=0, atol=1e-4)


class TestZooWeights:
    CASE = CASES[2]

    def file(self, model: nn.Module, path: Path, part: str = "", **changed: Any) -> str:
        """A file as the model zoo's, of the model's own weights, or those of a part."""
        weights = {k: v.numpy() for k, v in model.state_dict().items() if k.startswith(part)}
        arrays = {k: v for k, v in {**weights, **changed}.items() if v is not None}
        content = {"model": arrays, "__author__": "Detectron2 Model Zoo"}
        path.write_bytes(pickle.dumps(content))
        return str(path)

    def test_load_strictly(self, tmp_path: Path) -> None:
        ours, theirs = (instantiate(cfg) for cfg in configs(*self.CASE))
        load_weights(ours, InitialWeights(self.file(theirs, tmp_path / "zoo.pkl")))
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name

    def test_differences_are_listed(self, tmp_path: Path) -> None:
        cfg, _ = configs(*self.CASE)
        model = instantiate(cfg)
        name = "roi_heads.keypoint_head.score_lowres"
        changed = {f"{name}.weight": torch.zeros(512, 3, 4, 4).numpy(), f"{name}.bias": None}
        changed["roi_heads.extra.bias"] = torch.zeros(2).numpy()
        path = self.file(model, tmp_path / "zoo.pkl", **changed)
        with pytest.raises(UserError) as caught:
            load_weights(model, InitialWeights(path))
        for words in (
            f"1 missing: {name}.bias",
            "1 not in the model: roi_heads.extra.bias",
            f"{name}.weight (512, 3, 4, 4) for (512, 17, 4, 4)",
            f"train.may_differ=[roi_heads.extra.*, {name}.*]",
        ):
            assert words in str(caught.value)
        before = model.roi_heads.keypoint_head.score_lowres.weight.clone()
        load_weights(model, InitialWeights(path, ["roi_heads.extra.*", f"{name}.*"]))
        assert torch.equal(model.roi_heads.keypoint_head.score_lowres.weight, before)

    @pytest.mark.parametrize("depth", [50, 101])
    def test_imagenet_weights_lack_what_the_config_says(self, depth: int, tmp_path: Path) -> None:
        """A file of the backbone alone, with a classifier left over, loads; nothing less does."""
        cfg = config.load_config(f"configs/mask_rcnn_R_{depth}_FPN_1x.py", ["data.num_classes=2"])
        model = instantiate(cfg.model)
        changed = {"stem.fc.weight": torch.zeros(2, 2).numpy()}
        arguments, may_differ = (model, tmp_path / "R.pkl"), cfg.weights.imagenet.may_differ
        path = self.file(*arguments, "backbone.bottom_up.", **changed)
        load_weights(model, InitialWeights(path, may_differ))
        changed["backbone.bottom_up.res2.0.conv1.weight"] = None
        self.file(*arguments, "backbone.bottom_up.", **changed)
        with pytest.raises(UserError, match=r"res2\.0\.conv1"):
            load_weights(model, InitialWeights(path, may_differ))

    @pytest.mark.parametrize("name", ["mask_rcnn", "keypoint_rcnn", "mask_keypoint_rcnn"])
    def test_coco_weights_start_a_model_of_other_classes(self, name: str, tmp_path: Path) -> None:
        """All but the last layers are taken; a model with both heads takes those of one."""
        sizes = ["data.num_classes=2", "data.num_keypoints=3"]
        cfg = config.load_config(f"configs/{name}_R_50_FPN_1x.py", sizes)
        stock = "mask_rcnn_fpn" if name == "mask_rcnn" else "keypoint_rcnn_fpn"
        theirs = instantiate(config.upstream(f"common/models/{stock}.py").model)
        ours = instantiate(cfg.model)
        path = self.file(theirs, tmp_path / "coco.pkl")
        load_weights(ours, InitialWeights(path, cfg.weights.coco.may_differ))
        assert torch.equal(ours.backbone.fpn_output2.weight, theirs.backbone.fpn_output2.weight)
        assert torch.equal(ours.roi_heads.box_head.fc1.weight, theirs.roi_heads.box_head.fc1.weight)
        with pytest.raises(UserError, match="box_predictor"):
            load_weights(ours, InitialWeights(path))
