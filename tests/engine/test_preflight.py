"""Mistakes that a first step would meet are found before it and named by their key."""

import copy
import dataclasses
import os
from pathlib import Path

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.modeling import MViT, SimpleFeaturePyramid, SwinTransformer, ViT
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from omegaconf import DictConfig

from roilab.data.dataset import load_dataset
from roilab.engine import config
from roilab.engine.build_model import build_model
from roilab.engine.preflight import try_step
from roilab.engine.setup import check_best, prepare, warn_of_unlabelled_keypoints
from roilab.engine.train import train
from roilab.errors import UserError

from .running import checkpoint, configured, data_places, same, trained

RPN, HEADS = "model.proposal_generator", "model.roi_heads"
ANCHORS = f"{RPN}.anchor_generator"


def tried(cfg: DictConfig) -> torch.nn.Module:
    """The model of a config that has passed all that comes before a first step."""
    setup = prepare(cfg)
    assert setup.train is not None
    torch.manual_seed(0)
    model = build_model(setup.cfg)
    try_step(setup.cfg, model, setup.train, setup.val)
    return model


@pytest.mark.parametrize(
    ("override", "key", "value", "expected"),
    [
        (f"{ANCHORS}.aspect_ratios=[0.25,0.5,1.0,2.0,4.0]", f"{RPN}.head.num_anchors", "3", "5"),
        (f"{ANCHORS}.aspect_ratios=[[1],[1],[1],[1,2]]", f"{RPN}.head.num_anchors", "3", "1, 2]"),
        (f"{ANCHORS}.strides=[4,8,16,32]", f"{ANCHORS}.strides", "[4, 8, 16", "[8, 16, 32, 64]"),
        (f"{RPN}.in_features=[p3,p4,p5]", f"{ANCHORS}.strides", "64]", "[8, 16, 32]"),
        (f"{RPN}.in_features=[p3,p4,p5,p7]", f"{RPN}.in_features", "p7", "p2, p3, p4, p5, p6"),
        (f"{HEADS}.mask_in_features=[p2,p3]", f"{HEADS}.mask_pooler.scales", "0.03125", "0.125]"),
        # As many levels as there should be, but others.
        (f"{HEADS}.box_in_features=[p3,p4,p5,p6]", f"{HEADS}.box_pooler.scales", "0.25", "0.0156"),
        (f"{HEADS}.box_head.input_shape.channels=48", f"{HEADS}.box_head", "16 x 1568", ""),
        (f"{HEADS}.mask_head.input_shape.channels=48", f"{HEADS}.mask_head", "x 32 x 14 x 14", ""),
        (f"{HEADS}.box_predictor.input_shape.channels=65", f"{HEADS}.box_predictor", "64", ""),
        (f"{HEADS}.box_predictor.num_classes=1", HEADS, "Error", ""),
        (f"{RPN}.head.in_channels=48", f"{RPN}.head", "x 32 x ", ""),
        (f"{RPN}.head.box_dim=5", "model.", "Error", ""),
        ("model.pixel_mean=[1.0,2.0,3.0,4.0]", "model", "Error", ""),
        ("dataloader.train.masks=False", "dataloader.train.masks", "False", "the model's heads"),
    ],
)
def test_a_mistake_names_its_key(data, tmp_path, override, key, value: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        trained(data, tmp_path / "run", override)
    assert (error.value.key or "").startswith(key)
    assert value in str(error.value.found)
    assert expected in f"{error.value.expected}"
    assert not list(tmp_path.glob("run/*.pth"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_augmentation_that_fails(data: Path, tmp_path: Path, split: str) -> None:
    crop = "{_target_: detectron2.data.transforms.RandomCrop, crop_type: absolute, crop_size: [9]}"
    with pytest.raises(UserError) as error:
        trained(data, tmp_path / "run", f"dataloader.{split}.augmentations=[{crop}]")
    assert error.value.key == f"dataloader.{split}.augmentations"


def test_a_mistake_that_only_predictions_would_meet(data: Path, tmp_path: Path) -> None:
    cfg = configured(data, tmp_path)
    cfg.model.roi_heads.box_predictor.test_nms_thresh = "a"
    with pytest.raises(UserError, match="where it predicts") as error:
        tried(cfg)
    assert str(error.value.key).startswith("model")


def test_the_remedy_for_anchors_works(data: Path, tmp_path: Path) -> None:
    more = ("anchor_generator.aspect_ratios=[0.25,0.5,1.0,2.0,4.0]", "head.num_anchors=5")
    cfg = configured(data, tmp_path, *(f"{RPN}.{override}" for override in more))
    rpn = tried(cfg).proposal_generator
    assert rpn.rpn_head.objectness_logits.out_channels == 5
    assert set(rpn.anchor_generator.num_anchors) == {5}


def test_trying_leaves_weights_and_random_numbers_alone(data: Path, tmp_path: Path) -> None:
    cfg = configured(data, tmp_path, "model.backbone.norm=BN")
    model = tried(cfg)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    assert same(model.state_dict(), build_model(cfg).state_dict())
    assert torch.equal(after, torch.get_rng_state())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


@pytest.mark.parametrize("name", ["mask", "keypoint", "mask_keypoint"])
def test_sound_configs_pass(name: str, figures) -> None:
    """Each head of theirs has its losses and its answers."""
    places = data_places(figures.train, figures.val)
    setup = prepare(config.load_config(f"configs/figures_{name}.py", [*places, "train.device=cpu"]))
    torch.manual_seed(0)
    model = build_model(setup.cfg)
    runs = []
    for head in ("box_head", "mask_head", "keypoint_head"):
        if part := getattr(model.roi_heads, head, None):
            part.register_forward_pre_hook(
                lambda part, _, head=head: runs.append((head, part.training))
            )
    try_step(setup.cfg, model, setup.train, setup.val)
    heads = {"box_head", *(f"{task}_head" for task in name.split("_"))}
    assert set(runs) == {(head, training) for head in heads for training in (True, False)}


def swin(model: DictConfig) -> None:
    model.backbone.bottom_up = L(SwinTransformer)(
        depths=[1, 1, 1, 1], embed_dim=24, num_heads=[1, 1, 1, 1], window_size=4
    )
    model.backbone.in_features = ["p0", "p1", "p2", "p3"]


def mvit(model: DictConfig) -> None:
    model.backbone.bottom_up = L(MViT)(
        embed_dim=24, depth=4, num_heads=1, last_block_indexes=(0, 1, 2, 3), residual_pooling=True,
        out_features=["scale2", "scale3", "scale4", "scale5"],
    )  # fmt: skip
    model.backbone.in_features = "${.bottom_up.out_features}"


def vit(model: DictConfig) -> None:
    model.backbone = L(SimpleFeaturePyramid)(
        net=L(ViT)(
            img_size=64, embed_dim=24, depth=2, num_heads=2, window_size=2,
            window_block_indexes=[0], use_rel_pos=True, out_feature="last_feat",
        ),
        in_feature="${.net.out_feature}",
        out_channels=32,
        scale_factors=(4.0, 2.0, 1.0, 0.5),
        top_block=L(LastLevelMaxPool)(),
        norm="LN",
        square_pad=64,
    )  # fmt: skip


@pytest.mark.parametrize("change", [swin, mvit, vit], ids=lambda change: change.__name__)
def test_detectron2s_transformers_train(data: Path, tmp_path: Path, change) -> None:
    """They cannot be built on the meta device."""
    cfg = configured(data, tmp_path / "run", "train.max_iter=2")
    change(cfg.model)
    with torch.device("meta"), pytest.raises(UserError, match="meta"):
        config.build(cfg.model, "model")
    train(prepare(cfg))
    assert checkpoint(tmp_path / "run")["iteration"] == 1


def test_the_best_is_by_a_metric_with_ground_truth(data: Path, tmp_path: Path) -> None:
    """Three images with a square and a bar each, all below 32 x 32 pixels."""
    cfg = configured(data, tmp_path)
    val = prepare(cfg, training=False).val
    for task in ("bbox", "segm"):
        for name in ("AP", "APs", "AP-square", "AP50-bar"):
            cfg.train.best = f"{task}/{name}"
            check_best(cfg, val)
        for name in ("APm", "APl"):
            cfg.train.best = f"{task}/{name}"
            with pytest.raises(UserError, match=f"0 objects of 3 images\n.*{task}/APs"):
                check_best(cfg, val)


def test_images_that_are_trained_and_evaluated_on_are_counted(figures, caplog) -> None:
    def log(val: Path) -> str:
        caplog.clear()
        sets = {"train": figures.train, "val": val}
        places = [
            f"data.{split}.{key}"
            for split, file in sets.items()
            for key in (f"files={file}", f"images={os.path.relpath(file.parent)}")
        ]
        prepare(config.load_config("configs/figures_mask.py", [*places, "train.device=cpu"]))
        return caplog.text

    assert "are trained on" not in log(figures.val)
    every, filled = (
        len(load_dataset(str(figures.train), drop_empty=empty)) for empty in (False, True)
    )
    assert f"{filled} of {every} images of the val set are trained on" in log(figures.train)


def test_keypoints_that_are_all_unlabelled_are_counted(figures, caplog) -> None:
    place = [f"data.val.files={figures.val}", f"data.val.images={figures.val.parent}"]
    cfg = config.load_config("configs/figures_keypoint.py", place)
    dataset = config.build(cfg.data.val, "data.val")
    warn_of_unlabelled_keypoints(dataset, "data.val")
    assert not caplog.text
    for name in ("AP", "AP-person"):
        cfg.train.best = f"keypoints/{name}"
        check_best(cfg, dataset)
    for name in ("APs", "AP-car"):
        cfg.train.best = f"keypoints/{name}"
        with pytest.raises(UserError, match="no evaluation gives such a metric"):
            check_best(cfg, dataset)

    records = copy.deepcopy(dataset.records)
    for record in records:
        for anno in record["annotations"]:
            anno["keypoints"] = [0.0] * len(anno["keypoints"])
    bare = dataclasses.replace(dataset, records=records)
    warn_of_unlabelled_keypoints(bare, "data.val")
    person = 1 + dataset.classes.index("person")
    persons = sum(row["category_id"] == person for row in dataset.coco_json()["annotations"])
    assert f"all {17 * persons} of {persons} objects" in caplog.text
    cfg.train.best = "keypoints/AP"
    with pytest.raises(UserError, match="no object that counts") as error:
        check_best(cfg, bare)
    assert "keypoints" not in error.value.expected
