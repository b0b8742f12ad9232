"""Remedies of data sets of Detectron2's DatasetCatalog, and of the data nodes of a config."""

import json
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from omegaconf import DictConfig

from roilab.data import dataset
from roilab.data.from_catalog import from_catalog
from roilab.engine import config
from roilab.engine.build_data import build_dataset, check_data_nodes, check_keypoints
from roilab.errors import UserError
from roilab.via import Problem

from . import reading
from .cases import Attempts, Wrong, case, wrong
from .conftest import Registry, Training
from .files import image, point, polygon, skeleton, via_json, write

POINTS = {"keypoints": [9.0, 9.0, 2, 12.0, 12.0, 2]}
POSE = {"keypoint_names": ["left_eye", "right_eye"], "thing_classes": ["dog"]}
SWAPPED = {**POSE, "keypoint_flip_map": [("left_eye", "right_eye")]}


def load(name: str = "dogs", **options: Any) -> Wrong:
    """What is wrong when a registered data set is loaded."""
    if reading.as_typed is not None:
        return reading.as_typed("from_catalog", name, **options)
    return wrong(from_catalog, name, **options)


@case('give a Python file that registers it, register="FILE.py", to each split')
def a_name_that_is_not_registered(registry: Registry, tmp_path: Path) -> Attempts:
    data = json.dumps(registry.dicts())
    program = f"""
from detectron2.data import DatasetCatalog, MetadataCatalog
DatasetCatalog.register("remedies_cats", lambda: {data})
MetadataCatalog.get("remedies_cats").thing_classes = ["dog"]
"""
    file = write(tmp_path / "register.py", program)
    yield load("remedies_cats")
    yield load("remedies_cats", register=str(file))
    DatasetCatalog.pop("remedies_cats")
    MetadataCatalog.pop("remedies_cats")


@case("let the file call DatasetCatalog.register('{}', FUNCTION)")
def a_file_that_registers_another(registry: Registry, tmp_path: Path) -> Attempts:
    file = write(tmp_path / "register.py", "")
    yield load(register=str(file))
    registry.add(registry.dicts())  # as the file then does
    yield load(register=str(file))


@case("see that DatasetCatalog.get('{}') works in Python")
def a_function_that_fails(registry: Registry) -> Attempts:
    for dicts in (RuntimeError("no such folder"), registry.dicts()):
        registry.add(dicts)
        yield load()


@case("MetadataCatalog.get('{}').thing_classes = [...], where it is registered")
def metadata_without_classes(registry: Registry) -> Attempts:
    for classes in (None, ["dog"]):
        registry.add(registry.dicts(), thing_classes=classes)
        yield load()


@case("MetadataCatalog.get('{}').keypoint_flip_map = [...]")
def metadata_without_a_mirror(registry: Registry) -> Attempts:
    for metadata in (POSE, SWAPPED):
        registry.add(registry.dicts(**POINTS), **metadata)
        yield load()


@case("leave the skeleton to the metadata: skeleton=null")
def a_skeleton_beside_that_of_the_metadata(registry: Registry, tmp_path: Path) -> Attempts:
    registry.add(registry.dicts(**POINTS), **SWAPPED)
    yield load(skeleton=str(skeleton(tmp_path)))
    yield load(skeleton=None)


@case("register images with such annotations")
def registered_images_without_objects(registry: Registry) -> Attempts:
    empty = [{**row, "annotations": []} for row in registry.dicts()]
    for dicts in (empty, registry.dicts()):
        registry.add(dicts)
        yield load(drop_empty=True)


@case("put them there, or leave them out with missing_images=skip")
def registered_images_that_are_missing(registry: Registry, tmp_path: Path) -> Attempts:
    missing = [
        {**row, "file_name": str(tmp_path / "1.png"), "image_id": 2} for row in registry.dicts()
    ]
    registry.add([*registry.dicts(), *missing])
    yield load()
    yield load(missing_images="skip")
    image(tmp_path / "1.png", 3)
    yield load()


@case("correct them, or leave them out: they are then read from the image")
def registered_images_of_another_size(registry: Registry) -> Attempts:
    for size in ({"width": 1, "height": 1}, {"width": 64, "height": 48}, {}):
        registry.add([{**row, **size} for row in registry.dicts()])
        yield load()


@case("see that bbox_mode is that of bbox: XYXY_ABS or XYWH_ABS")
def a_registered_box_in_another_mode(registry: Registry, caplog: Any) -> Attempts:
    for mode in (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS):
        caplog.clear()
        registry.add(registry.dicts(bbox_mode=mode))
        yield load() + logged(caplog, "see that bbox_mode is that of bbox: XYXY_ABS or XYWH_ABS")


def logged(caplog: Any, remedy: str) -> Wrong:
    """The warnings in the log that have a remedy."""
    texts = [record.getMessage() for record in caplog.records]
    return [Problem("warning", text, remedy, "") for text in texts if remedy in text]


@case("delete the annotation, or see that the image is the annotated one")
def a_registered_annotation_outside(registry: Registry, tmp_path: Path) -> Attempts:
    outside = {"bbox": [70.0, 5.0, 80.0, 15.0], "segmentation": [[70.0, 5, 80, 5, 80, 15]]}
    for size, anno in (((64, 48), outside), ((128, 96), outside), ((64, 48), {})):
        registry.add(registry.dicts(**anno))
        image(tmp_path / "0.png", size=size)
        yield listed(load(strict=True))


def listed(errors: Wrong) -> Wrong:
    """The problems that the one error of a strict reading lists."""
    texts = [str(error.found) for error in errors if isinstance(error, UserError)]
    return [Problem("error", text, text.rpartition("(")[2].rstrip(")"), "") for text in texts]


# Nodes of a config.


def saved(training: Training) -> DictConfig:
    """The config of the training."""
    return config.load_config(training.run.config_file)


@case(
    "take data and dataloader from one of RoILab's configs, and train and lr_multiplier with them"
)
def a_config_without_a_loader(training: Training) -> Attempts:
    cfg = saved(training)
    del cfg.dataloader.test
    yield wrong(check_data_nodes, cfg)
    cfg.data, cfg.dataloader = (saved(training)[key] for key in ("data", "dataloader"))
    yield wrong(check_data_nodes, cfg)


@case("{}._target_={} {}.name={}")
def a_data_node_of_detectron2(training: Training, registry: Registry) -> Attempts:
    registry.add(registry.dicts())
    cfg = saved(training)
    for split in ("train", "val"):
        cfg.data[split] = {
            "_target_": "detectron2.data.get_detection_dataset_dicts",
            "names": "dogs",
        }
    first = wrong(check_data_nodes, cfg)
    yield first
    fixed = str(first[0].remedy).split()
    fixed += [text.replace("data.train.", "data.val.") for text in fixed]
    cfg = config.override(cfg, fixed)
    yield wrong(check_data_nodes, cfg)
    cfg.data.classes = cfg.data.rules = cfg.data.skeleton = None
    yield wrong(build_dataset, cfg, "data.train")


@case("take dataloader from one of RoILab's configs; it takes Detectron2's augmentations")
def a_loader_of_detectron2(training: Training) -> Attempts:
    cfg = saved(training)
    cfg.dataloader.train["_target_"] = "detectron2.data.build_detection_train_loader"
    yield wrong(check_data_nodes, cfg)
    cfg.dataloader = saved(training).dataloader
    yield wrong(check_data_nodes, cfg)


@case("delete it in the config file: del {}")
def a_node_that_nothing_uses(training: Training) -> Attempts:
    cfg = saved(training)
    cfg.dataloader.evaluator = {"_target_": "detectron2.evaluation.COCOEvaluator"}
    yield wrong(check_data_nodes, cfg)
    del cfg.dataloader.evaluator
    yield wrong(check_data_nodes, cfg)


@case('give the node in the config file {}="${..{}}"')
def a_setting_that_a_node_leaves_out(training: Training, registry: Registry) -> Attempts:
    registry.add(registry.dicts())
    cfg = saved(training)
    cfg.data.train = {"_target_": "roilab.data.from_catalog.from_catalog", "name": "dogs"}
    cfg.data.rules.class_map, cfg.data.classes, cfg.data.skeleton = {"dog": "hound"}, None, None
    yield wrong(build_dataset, cfg, "data.train")
    cfg.data.train.rules = "${..rules}"
    yield wrong(build_dataset, cfg, "data.train")


@case('give the node in the config file classes="${..classes}"')
def classes_that_a_node_leaves_out(training: Training, registry: Registry) -> Attempts:
    registry.add(registry.dicts())
    cfg = saved(training)
    cfg.data.train = {"_target_": "roilab.data.from_catalog.from_catalog", "name": "dogs"}
    cfg.data.classes, cfg.data.rules, cfg.data.skeleton = ["cat", "dog"], None, None
    yield wrong(build_dataset, cfg, "data.train")
    cfg.data.train.classes = "${..classes}"
    yield wrong(build_dataset, cfg, "data.train")


@case("correct keypoint_names in the metadata of one of them")
def keypoints_of_another_order(tmp_path: Path) -> Attempts:
    def split(*names: str) -> dataset.DetectionDataset:
        regions = [polygon(kind="dog"), point(9, 9, part="nose")]
        bones = skeleton(tmp_path, keypoints=names)
        return dataset.load_dataset(str(via_json(tmp_path, regions)), skeleton=str(bones))

    yield wrong(check_keypoints, split("nose", "tail"), split("tail", "nose"))
    yield wrong(check_keypoints, split("nose", "tail"), split("nose", "tail"))


@case("{}; the ids are then 1, 2, ...")
def category_ids_of_other_classes(training: Training, tmp_path: Path) -> Attempts:
    run = training.copy(tmp_path / "run")
    write(run.category_ids_file, [1, 2, 3])
    run.provenance_file.unlink()
    yield wrong(run.category_ids)
    run.category_ids_file.unlink()
    yield wrong(run.category_ids)
    assert run.category_ids() == (1,)
