"""Weights of torchvision's models give the same detections in ours, and are refused otherwise."""

import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from detectron2.utils.file_io import PathManager
from torch import Tensor, nn
from torchvision.models import detection, get_weight
from torchvision.models.detection._utils import overwrite_eps
from torchvision.ops import box_iou

from roilab.engine import config
from roilab.engine.build_model import load_weights, weights_of
from roilab.engine.setup import fit_model
from roilab.errors import UserError
from roilab.inference import Predictor
from roilab.modeling import TorchvisionAnchorGenerator
from roilab.modeling.torchvision_weights import to_detectron2
from roilab.skeleton import COCO_PERSON

SIDE = 200  # of the image's shorter side: the coarsest map has 4 cells of 56 pixels, not of 64
COCO = {
    "mask": "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
    "keypoint": "KeypointRCNN_ResNet50_FPN_Weights.COCO_V1",
}
BY_NAME = "train.init_checkpoint=torchvision"
MOST = 30  # detections of an image
PREDICTOR = "model.roi_heads.box_predictor"
# Few proposals, and little overlap, so that every class has its share of the detections.
QUICK = [
    "model.proposal_generator.post_nms_topk=[1000,100]",
    f"{PREDICTOR}.test_nms_thresh=0.05",
    f"{PREDICTOR}.test_topk_per_image={MOST}",
    "train.device=cpu",
    "train.precision=float32",
    "dataloader.test.augmentations=[]",
]


def torchvision_model(task: str, num_classes: int, *, eps: float = 1e-5) -> nn.Module:
    """A random Mask or Keypoint R-CNN of torchvision, which finds things of several classes."""
    torch.manual_seed(0)
    model = getattr(detection, f"{task}rcnn_resnet50_fpn")(
        weights=None,
        weights_backbone=None,
        num_classes=num_classes + 1,
        min_size=SIDE,
        rpn_post_nms_top_n_test=100,
        box_nms_thresh=0.05,
        box_detections_per_img=MOST,
    ).eval()
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif name.endswith(("running_mean", "bias")):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.05)
        elif name.endswith("bn3.weight"):
            value.fill_(0.2)  # or else each block doubles its features
        elif "cls_score.weight" in name:
            value.mul_(2)  # apart, and yet all classes above the least score
        elif "bbox_pred.weight" in name:
            value.mul_(3)
    overwrite_eps(model, eps)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps
    return model


def older(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of torchvision before 0.13, which its COCO files have."""

    def name(new: str) -> str:
        new = re.sub(r"(_blocks\.\d)\.0\.", r"\1.", new)
        new = new.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        return re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", new)

    return {name(new): value for new, value in weights.items()}


@pytest.mark.parametrize(("task", "official"), [("mask", True), ("keypoint", False)])
def test_equal_detections(task: str, official: bool, tmp_path: Path) -> None:
    """Torchvision's model beside ours that a config makes of its weights, whole pipelines.

    Its own files have older names, and no eps in their normalisations.
    """
    classes = ("car", "dog", "cat") if task == "mask" else ("person",)
    theirs = torchvision_model(task, len(classes), eps=0.0 if official else 1e-5)
    weights = dict(theirs.state_dict())
    name = Path(get_weight(COCO[task]).url).name if official else "own.pth"
    torch.save(older(weights) if official else weights, tmp_path / name)
    ours = Predictor.from_config(
        f"configs/{task}_rcnn_R_50_FPN_1x.py",
        "torchvision",
        classes,
        COCO_PERSON if task == "keypoint" else None,
        [f"weights.torchvision.file={tmp_path / name}", *QUICK],
    )
    logits: list[Tensor] = []
    if task == "mask":  # as the heads give them: the two paste them by other methods
        for layer in (
            ours.model.roi_heads.mask_head.predictor,
            theirs.roi_heads.mask_predictor.mask_fcn_logits,
        ):
            layer.register_forward_hook(lambda *arguments: logits.append(arguments[2]))
    image = torch.randint(0, 256, (SIDE, 264, 3), dtype=torch.uint8).numpy()
    prediction = ours(image)
    with torch.inference_mode():
        expected = theirs([torch.from_numpy(image).permute(2, 0, 1) / 255])[0]
    assert len(prediction) == len(expected["scores"]) > MOST / 2
    assert torch.allclose(torch.tensor(prediction.scores), expected["scores"], atol=1e-4)
    assert prediction.labels == tuple(classes[label - 1] for label in expected["labels"])
    assert len(set(prediction.labels)) == len(classes)
    boxes = torch.tensor(prediction.boxes)
    assert torch.diagonal(box_iou(boxes, expected["boxes"])).min() > 0.999
    if task == "mask":
        assert torch.allclose(logits[0], logits[1][:, 1:], atol=1e-3)
    else:
        points = torch.as_tensor(prediction.keypoints)[..., :2]
        away = (points - expected["keypoints"][..., :2]).norm(dim=-1)
        assert away.median() < 0.5


def small_file(task: str, path: Path, num_classes: int = 90) -> str:
    """A file of zeros with the names and shapes of torchvision's own, which fills little space."""
    with torch.device("meta"):
        model = getattr(detection, f"{task}rcnn_resnet50_fpn")(
            weights=None, weights_backbone=None, num_classes=num_classes + 1
        )
    zero = {name: torch.zeros(()).expand(v.shape) for name, v in model.state_dict().items()}
    torch.save(zero, path)
    return str(path)


def shapes(task: str, num_classes: int) -> dict[str, torch.Size]:
    """Those of our model's parameters."""
    sizes = [f"data.num_classes={num_classes}", "data.num_keypoints=17"]
    cfg = config.load_config(f"configs/{task}_rcnn_R_50_FPN_1x.py", sizes)
    with torch.device("meta"):
        return {name: v.shape for name, v in config.build(cfg.model, "").state_dict().items()}


@pytest.mark.parametrize("names", [dict, older], ids=["new", "old"])
@pytest.mark.parametrize(("task", "theirs", "ours"), [("mask", 90, 80), ("keypoint", 1, 1)])
def test_every_parameter_has_its_place(task: str, theirs: int, ours, names: Any, tmp_path) -> None:
    weights = torch.load(small_file(task, tmp_path / "tv.pth", theirs), weights_only=True)
    renamed = to_detectron2(names(weights), ours)
    assert {name: value.shape for name, value in renamed.items()} == shapes(task, ours)


def test_classes_are_those_of_coco_and_the_background_is_last() -> None:
    numbers = torch.arange(91.0)
    weights = {
        "roi_heads.box_predictor.cls_score.bias": numbers,
        "roi_heads.box_predictor.bbox_pred.bias": numbers.repeat_interleave(4),
        "roi_heads.mask_predictor.mask_fcn_logits.bias": numbers,
    }
    scores, deltas, masks = to_detectron2(weights, 80).values()
    categories = get_weight(COCO["mask"]).meta["categories"]
    used = [number for number in range(1, 91) if categories[number] != "N/A"]
    assert scores.tolist() == [*used, 0]
    assert masks.tolist() == used
    assert deltas.tolist() == [number for number in used for _ in range(4)]
    # Another number of classes is the file's own.
    assert to_detectron2(weights, 90)["roi_heads.mask_head.predictor.bias"].shape == (90,)


def test_torchvisions_own_files_are_without_eps() -> None:
    name = "backbone.body.bn1.running_var"
    weights = {name: torch.full((3,), 1e-5)}
    for source, expected in (("own.pth", 1e-5), (get_weight(COCO["mask"]).url, 0.0)):
        (value,) = to_detectron2(weights, 1, source=source).values()
        assert value.tolist() == pytest.approx([expected] * 3, abs=1e-9)
    assert weights[name].tolist() == pytest.approx([1e-5] * 3)


@pytest.mark.parametrize("size", [(1, 1), (200, 264), (800, 1333)])
def test_anchors_are_torchvisions(size: tuple[int, int]) -> None:
    height, width = (-(-side // 32) * 32 for side in size)
    maps = [torch.zeros(1, 1, height // s, width // s) for s in (4, 8, 16, 32)]
    maps.append(maps[-1][..., ::2, ::2])
    sides = [(32,), (64,), (128,), (256,), (512,)]
    theirs = detection.rpn.AnchorGenerator(sides, ((0.5, 1.0, 2.0),) * 5)
    images = detection.image_list.ImageList(torch.zeros(1, 3, height, width), [size])
    ours = TorchvisionAnchorGenerator(
        sizes=sides, aspect_ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64], offset=0.0
    )
    boxes = torch.cat([level.tensor for level in ours(maps)])
    assert torch.equal(boxes, theirs(images, maps)[0])


def error_of(overrides: list[str], leaf: str = "mask_rcnn_R_50_FPN_1x") -> UserError | None:
    """What loading the initial weights of a config raises."""
    cfg = config.load_config(f"configs/{leaf}.py", ["data.num_classes=2", *overrides])
    try:
        load_weights(config.build(cfg.model, "model"), weights_of(cfg))
    except UserError as error:
        return error
    return None


def test_settings_that_are_missing_are_named_and_the_remedy_works(tmp_path: Path) -> None:
    file = small_file("mask", tmp_path / "tv.pth")
    error = error_of([f"train.init_checkpoint={file}"])
    assert error is not None
    for key in (
        "model.input_format=BGR",
        "model.pixel_mean=[103.53",
        "model.pixel_std=[1.0",
        "model.backbone.bottom_up.stages.stride_in_1x1=True",
    ):
        assert key in str(error.found)
    overrides = str(error.remedy).partition(": ")[2].split()
    assert overrides[0] == BY_NAME
    assert error_of(overrides) is None

    # An override that takes one of the settings back is named alone, with its right value.
    error = error_of([*overrides, "model.input_format=BGR"])
    assert error is not None
    assert error.found == "model.input_format=BGR"
    right = str(error.remedy).partition(": ")[2].split()
    assert error_of([*overrides, "model.input_format=BGR", *right]) is None


def test_an_unreachable_zoo_names_torchvision_and_that_works(tmp_path: Path, monkeypatch) -> None:
    file = small_file("mask", tmp_path / "tv.pth")

    def get_local_path(path: str, *_: object, **__: object) -> str:
        if path == get_weight(COCO["mask"]).url:
            return file
        raise URLError("no route")

    monkeypatch.setattr(PathManager, "get_local_path", get_local_path)
    error = error_of([])
    assert error is not None
    assert "no route" in str(error.found)
    assert BY_NAME in str(error.remedy)
    assert error_of([BY_NAME]) is None
    # Where they are not to be had, they are no remedy.
    monkeypatch.setattr(PathManager, "get_local_path", lambda path, **_: get_local_path(path + "x"))
    assert BY_NAME not in str(error_of([BY_NAME]).remedy)
    assert BY_NAME not in str(error_of([], "mask_rcnn_R_101_FPN_1x").remedy)


def test_settings_of_weights_yield_to_overrides_and_stay_in_a_saved_config(tmp_path: Path) -> None:
    leaf = "configs/mask_rcnn_R_50_FPN_1x.py"
    assert config.load_config(leaf).model.input_format == "BGR"
    assert config.load_config(leaf).train.init_checkpoint == "imagenet"
    cfg = config.load_config(leaf, [BY_NAME, "data.num_classes=2", "pooler.sampling_ratio=0"])
    assert cfg.model.input_format == cfg.dataloader.train.image_format == "RGB"
    assert cfg.dataloader.test.image_format == "RGB"
    assert not cfg.model.roi_heads.box_pooler.aligned
    assert cfg.model.roi_heads.box_pooler.sampling_ratio == 0
    assert list(cfg.model.pixel_mean) == [123.675, 116.28, 103.53]
    config.save_config(cfg, tmp_path / "config.yaml")
    again = config.load_config(tmp_path / "config.yaml")
    assert config.to_plain_data(again) == config.to_plain_data(cfg)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_loader_of_another_order_of_channels_is_refused(split: str) -> None:
    leaf, key = "configs/mask_rcnn_R_50_FPN_1x.py", f"dataloader.{split}.image_format"
    fit_model(config.load_config(leaf, [BY_NAME]), ["car"], None)
    with pytest.raises(UserError, match=re.escape(key)) as caught:
        fit_model(config.load_config(leaf, [f"{key}=RGB"]), ["car"], None)
    fit_model(config.load_config(leaf, [f"{key}=RGB", str(caught.value.remedy)]), ["car"], None)
