"""Data nodes of a config: a registered data set trains, and nodes of another kind are refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetCatalog,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import BitMasks, PolygonMasks
from omegaconf import DictConfig

from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.data.from_catalog import from_catalog
from roilab.engine import build_data, config
from roilab.engine.setup import prepare
from roilab.engine.train import train
from roilab.errors import UserError
from roilab.via import LabelRules

from .running import CONFIG, configured, shapes

BY_NAME = LabelRules(class_attribute="name")
NAMES = ("shapes_of_the_catalog_train", "shapes_of_the_catalog_val")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VIA data set; the same as COCO files with ids of their own, and a file to register them."""
    folder = shapes(tmp_path_factory.mktemp("shapes"))
    lines = ["from detectron2.data.datasets import register_coco_instances"]
    for split, name in zip(("train", "val"), NAMES, strict=True):
        images = folder / split
        truth = load_dataset(str(images / "via.json"), rules=BY_NAME).coco_json()
        ids = {1: 500, 2: 3}
        for row in truth["annotations"]:
            row["category_id"] = ids[row["category_id"]]
        for category in truth["categories"]:
            category["id"] = ids[category["id"]]
        (images / "coco.json").write_text(json.dumps(truth))
        lines.append(
            f"register_coco_instances({name!r}, {{}}, {str(images / 'coco.json')!r}, "
            f"{str(images)!r})"
        )
    (folder / "register.py").write_text("\n".join(lines))
    return folder


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    yield
    forget()


def forget() -> None:
    """As in another process."""
    for name in NAMES:
        if name in DatasetCatalog:
            DatasetCatalog.pop(name)
        MetadataCatalog.pop(name, None)


def catalog_config(data: Path, run: Path, *more: str) -> DictConfig:
    cfg = configured(data, run, *more)
    cfg.data.train, cfg.data.val = (
        L(from_catalog)(name=name, register=str(data / "register.py"), drop_empty=True)
        for name in NAMES
    )
    return cfg


def test_a_registered_data_set_trains_and_evaluates(data: Path, tmp_path: Path, script) -> None:
    run = tmp_path / "run"
    results = train(prepare(catalog_config(data, run, "train.max_iter=2")))
    assert results["bbox"]["AP"] is not None
    assert json.loads((run / "classes.json").read_text()) == ["square", "bar"]
    assert json.loads((run / "category_ids.json").read_text()) == [3, 500]
    detections = json.loads((run / "coco_instances_results.json").read_text())
    assert {row["category_id"] for row in detections} <= {3, 500}

    forget()
    own = json.loads((run / "results.json").read_text())
    script("evaluate", "--run", run)
    again = json.loads((run / "results.json").read_text())
    assert again["bbox"] == pytest.approx(own["bbox"])
    # Files take the place of what is registered.
    other = data / "val" / "coco.json"
    out = tmp_path / "out.json"
    more = ("--data", other, "--images", data / "val", "--output", out)
    script("evaluate", "--run", run, *more)
    assert json.loads(out.read_text())["bbox"]["AP"] == pytest.approx(results["bbox"]["AP"])
    done = script("evaluate", "--run", run, "--images", data / "val", status=2)
    assert "--data" in done.stderr


def test_a_data_set_that_only_the_config_registered_has_a_remedy(data, run: Path, script) -> None:
    cfg = catalog_config(data, run, "train.max_iter=1")
    prepare(catalog_config(data, run))  # registers, as the code of a config file would
    del cfg.data.train["register"], cfg.data.val["register"]
    train(prepare(cfg))
    forget()
    done = script("evaluate", "--run", run, status=2)
    assert "data.val.register" in done.stderr
    script("evaluate", "--run", run, f"data.val.register={data / 'register.py'}")


@pytest.mark.parametrize(
    ("key", "node", "named"),
    [
        (
            "data.train",
            L(get_detection_dataset_dicts)(names=NAMES[0]),
            ("detectron2.data.build.get_detection_dataset_dicts", f"data.train.name={NAMES[0]}"),
        ),
        ("data.val", L(get_detection_dataset_dicts)(names=[NAMES[1]]), (f".name={NAMES[1]}",)),
        (
            "dataloader.train",
            L(build_detection_train_loader)(mapper=None, total_batch_size=2),
            ("build_detection_train_loader", "seed", "roilab.data.loaders.train_loader"),
        ),
        (
            "dataloader.test",
            L(build_detection_test_loader)(mapper=None),
            ("build_detection_test_loader", "roilab.data.loaders.eval_loader"),
        ),
        ("dataloader.evaluator", L(COCOEvaluator)(dataset_name="x"), ("COCOEvaluator", "del ")),
        ("data.train", None, ("configs/common/data.py",)),
    ],
)
def test_detectron2s_own_nodes_are_refused_by_name(data, tmp_path, key, node, named) -> None:
    cfg = configured(data, tmp_path)
    parent, _, leaf = key.partition(".")
    cfg[parent][leaf] = node
    with pytest.raises(UserError) as caught:
        prepare(cfg)
    assert caught.value.key == key
    assert all(part in str(caught.value) for part in named), str(caught.value)


def test_the_remedy_for_a_node_of_detectron2_works(data: Path, tmp_path: Path) -> None:
    prepare(catalog_config(data, tmp_path))  # registers
    cfg = configured(data, tmp_path)
    for key, name in zip(("train", "val"), NAMES, strict=True):
        cfg.data[key] = L(get_detection_dataset_dicts)(names=name)
    for _ in NAMES:
        with pytest.raises(UserError) as caught:
            build_data.check_data_nodes(cfg)
        config.override(cfg, str(caught.value.remedy).split())
    assert prepare(cfg).val.classes == ("square", "bar")


def test_every_config_passes_until_a_node_is_taken_away() -> None:
    for path in Path("configs").glob("*.py"):
        cfg = config.load_config(path)
        build_data.check_data_nodes(cfg)
        del cfg.lr_multiplier
        with pytest.raises(UserError, match="no such node"):
            build_data.check_data_nodes(cfg)


def test_a_node_that_gives_no_data_set(data: Path, tmp_path: Path) -> None:
    cfg = configured(data, tmp_path)
    cfg.data.train = {"_target_": "collections.Counter", "a": 1}
    with pytest.raises(UserError, match=r"Counter gives Counter") as caught:
        build_data.build_dataset(cfg, "data.train")
    assert caught.value.key == "data.train"


def test_settings_that_a_node_leaves_out_are_refused(data: Path, tmp_path: Path) -> None:
    cfg = catalog_config(data, tmp_path, "data.rules.class_map={bar: square}")
    with pytest.raises(UserError, match="does not take a setting of data") as caught:
        prepare(cfg)
    assert caught.value.key == "data.rules.class_map"
    for split in ("train", "val"):
        cfg.data[split].rules = "${..rules}"  # the remedy
    assert prepare(cfg).val.classes == ("square",)

    cfg = catalog_config(data, tmp_path, "data.classes=[bar,square]")
    with pytest.raises(UserError, match=r"not data\.classes") as caught:
        prepare(cfg)
    for split in ("train", "val"):
        cfg.data[split].classes = "${..classes}"
    assert prepare(cfg).val.classes == ("bar", "square")


def test_keypoints_of_both_splits_agree(data: Path) -> None:
    def posed(names: list[str]) -> DetectionDataset:
        name = f"posed_{'_'.join(names)}"
        dicts = load_dataset(str(data / "val" / "via.json"), rules=BY_NAME).records
        DatasetCatalog.register(name, lambda: dicts)
        metadata = {"thing_classes": ["bar", "square"], "keypoint_names": names}
        MetadataCatalog.get(name).set(**metadata, keypoint_flip_map=[])
        return from_catalog(name)

    one, other = posed(["top", "end"]), posed(["end", "top"])
    build_data.check_keypoints(one, one)
    with pytest.raises(UserError, match="keypoints of training and validation"):
        build_data.check_keypoints(one, other)
    for name in ("posed_top_end", "posed_end_top"):
        DatasetCatalog.pop(name)
        MetadataCatalog.pop(name)


@pytest.mark.parametrize("key", ["data.skeleton", "data.val.skeleton"])
def test_a_mistake_has_the_key_that_sets_it(data: Path, key: str) -> None:
    """What both splits share is set once, by a key of `data`; a split may have its own."""
    file = data / "val" / "via.json"
    own = [f"data.val.files={file}", "data.val.images=null"]
    cfg = config.load_config(CONFIG, [*own, f"{key}=coco_persn"])
    with pytest.raises(UserError) as error:
        build_data.build_dataset(cfg, "data.val")
    assert error.value.key == key
    assert error.value.remedy == f"give {key}=coco_person, or {key}=FILE"


def test_problems_are_logged_with_keys_of_the_config(data: Path, caplog: Any) -> None:
    file = data / "val" / "via.json"
    own = [f"data.val.files={file}", "data.val.images=null", "data.rules.class_attribute=name"]
    more = ["data.rules.keypoint_attribute=null", "data.skeleton=null"]
    cfg = config.load_config(CONFIG, [*own, *more])
    caplog.set_level("INFO")
    name = build_data.build_dataset(cfg, "data.val").classes[0]
    caplog.clear()
    config.override(cfg, [f"data.val.rules.class_map={{{name}: null}}"])
    build_data.build_dataset(cfg, "data.val")
    assert f"leave out 'data.val.rules.class_map={{{name}: null}}' to keep them" in caplog.text


@pytest.mark.parametrize(
    ("name", "without", "masks", "has_keypoints"),
    [
        ("mask_rcnn_R_50_FPN_1x", (), PolygonMasks, False),
        ("keypoint_rcnn_R_50_FPN_1x", (), None, True),
        ("mask_keypoint_rcnn_R_50_FPN_1x", (), PolygonMasks, True),
        ("point_rend_R_50_FPN_1x", (), BitMasks, False),
        ("mask_keypoint_rcnn_R_50_FPN_1x", ("mask", "keypoint"), None, False),
    ],
    ids=["mask", "keypoint", "both", "PointRend", "box only"],
)
def test_the_loaders_follow_the_model(figures, name, without, masks, has_keypoints: bool) -> None:
    off = [f"model.roi_heads.{task}_in_features=null" for task in without]
    cfg = config.load_config(f"configs/{name}.py", off)
    dataset = load_dataset(str(figures.train), skeleton="coco_person")
    single = {"augmentations": [], "num_workers": 0}
    for batches in (
        build_data.build_loader(cfg, "dataloader.train", dataset, total_batch_size=1, **single),
        build_data.build_loader(cfg, "dataloader.test", dataset, **single),
    ):
        instances = next(iter(batches))[0]["instances"]
        assert instances.has("gt_keypoints") == has_keypoints
        assert instances.has("gt_masks") == (masks is not None)
        assert masks is None or isinstance(instances.gt_masks, masks)
