"""Remedies of configs, weights, training and run folders."""

import copy
import errno
import json
import os
import re
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from omegaconf import OmegaConf

from roilab.cli.console import with_options
from roilab.data import dataset
from roilab.data.dataset import DetectionDataset
from roilab.engine import config, train_state, trusted
from roilab.engine.build_data import build_dataset, build_loader
from roilab.engine.build_model import build_model, load_weights, weights_of
from roilab.engine.checkpoint import InitialWeights, save_atomically
from roilab.engine.load_run import check_meaning, load_run
from roilab.engine.replay import replay
from roilab.engine.run_folder import Run, reading
from roilab.engine.run_record import read_record
from roilab.engine.setup import prepare
from roilab.engine.train import Trainer, evaluate_weights, train
from roilab.engine.training_log import ExperimentTracker, start_logging

from . import cases
from .cases import Attempts, Script, Wrong, case, run_remedy, with_remedy, wrong
from .conftest import CONFIG, Training
from .files import image, point, polygon, skeleton, via_json, write

# Configs.


def loading(training: Training) -> Callable[..., Wrong]:
    """Loads the config of the training with overrides."""
    return lambda *overrides: wrong(config.load_config, training.run.config_file, overrides)


@case("see the config file, or config.yaml in a run folder, for all keys")
def an_unknown_key(training: Training) -> Attempts:
    yield loading(training)("train.clipnorm=1")
    assert "clip_norm: " in training.run.config_file.read_text()
    yield loading(training)("train.clip_norm=1")


@case("a head is switched off by model.roi_heads.{}=null")
def a_head_taken_out(training: Training, tmp_path: Path) -> Attempts:
    yield wrong(training.setup, tmp_path, "model.roi_heads.mask_head=null")
    yield wrong(training.setup, tmp_path, "model.roi_heads.mask_in_features=null")


@case("leave it to the data: drop the override")
def another_number_of_classes(training: Training, tmp_path: Path) -> Attempts:
    yield wrong(training.setup, tmp_path, "model.roi_heads.num_classes=7")
    yield wrong(training.setup, tmp_path)


_PASTE = "data.augmentations.copy_paste.copy_paste"


@case("give {}, its default")
def a_probability_of_two() -> Attempts:
    def built(value: str) -> Wrong:
        cfg = config.load_config(CONFIG, [f"{_PASTE}.probability={value}"])
        return wrong(config.build, OmegaConf.select(cfg, _PASTE), _PASTE)

    first = built("2")
    yield first
    assert first[0].key == f"{_PASTE}.probability"
    yield built(str(first[0].remedy).removeprefix("give ").removesuffix(", its default"))


def pasting(training: Training, folder: Path, count: int, *, outlines: bool) -> Attempts:
    """Copy-paste between some images of boxes, and none, as the remedy shows it."""
    off = "model.roi_heads.mask_in_features=null"
    setup = training.setup(folder, "data.augmentation=copy_paste", off)
    records = copy.deepcopy(setup.training_set.records[:count])
    for anno in (anno for record in records for anno in record["annotations"]):
        if not outlines:
            del anno["segmentation"]
    part = replace(setup.training_set, records=records)

    def built(dataset: DetectionDataset, *overrides: str) -> None:  # the loader has no end
        cfg = config.override(copy.deepcopy(setup.cfg), overrides)
        build_loader(cfg, "dataloader.train", dataset)

    first = wrong(built, part)
    yield first
    yield wrong(built, part, str(first[0].remedy).rpartition(" ")[2])
    yield wrong(built, setup.training_set)


@case("add images, or train without copy-paste: copy_paste=null")
def copy_paste_with_a_single_image(training: Training, tmp_path: Path) -> Attempts:
    yield from pasting(training, tmp_path, 1, outlines=True)


@case(
    "draw its outline or delete it in the file, or train without copy-paste: copy_paste=null",
)
def copy_paste_without_outlines(training: Training, tmp_path: Path) -> Attempts:
    yield from pasting(training, tmp_path, 2, outlines=False)


@case(
    "{}.anchor_generator makes sizes x aspect_ratios anchors; set {}.head.num_anchors to their "
    "number"
)
def another_number_of_anchors(training: Training, tmp_path: Path) -> Attempts:
    rpn = "model.proposal_generator"
    more = f"{rpn}.anchor_generator.aspect_ratios=[0.5,0.7,1.0,1.5,2.0]"
    yield wrong(training.setup, tmp_path, more)
    yield wrong(training.setup, tmp_path, more, f"{rpn}.head.num_anchors=5")


@case("evaluation.max_detections=null")
def a_limit_for_a_model_that_has_none(training: Training) -> Attempts:
    none = "model.roi_heads.box_predictor=null"
    yield from with_remedy(loading(training), none, "evaluation.max_detections=200")


@case("let both say one number: {}={} {}={}")
def another_limit_of_the_model(training: Training) -> Attempts:
    load, own = loading(training), "model.roi_heads.box_predictor.test_topk_per_image=50"
    first = load("evaluation.max_detections=200", own)
    yield first
    yield load(*str(first[0].remedy).partition(": ")[2].split())


# Weights.


@case("weights.{}.file=PATH")
def named_weights_without_a_file(training: Training) -> Attempts:
    load, path = loading(training), str(training.run.weights)
    first = load(f"weights.mine={path}")
    yield first
    yield load(str(first[0].remedy).replace("PATH", path), "train.init_checkpoint=mine")


@case(
    "check the path or the network",
    "train from scratch: train.init_checkpoint='' "
    "(with the R50 and R101 configs, model.backbone.bottom_up.freeze_at=0 too)",
)
def weights_that_are_not_there(training: Training, tmp_path: Path) -> Attempts:
    cfg = training.setup(tmp_path).cfg
    model = build_model(cfg)

    def begin(source: str) -> None:
        weights = weights_of(config.override(cfg, [f"train.init_checkpoint={source}"]))
        if weights.source:
            load_weights(model, weights)

    yield wrong(begin, "model_finale.pth")
    yield wrong(begin, str(training.run.weights))
    yield wrong(begin, "''")


@case("take other weights, or, where these parts are new, name them: 'train.may_differ=[{}]'")
def weights_of_another_model(training: Training, tmp_path: Path) -> Attempts:
    yield from weights_in_part(training, tmp_path, lambda name: "mask_head" not in name)


@case("take other weights, or, where these parts are new, name them: 'train.may_differ=[{}]'")
def weights_that_differ_in_most_parts(training: Training, tmp_path: Path) -> Attempts:
    yield from weights_in_part(training, tmp_path, lambda name: "fpn_output" in name)


def weights_in_part(training: Training, folder: Path, kept: Callable[[str], bool]) -> Attempts:
    """Load weights that a model has more than."""
    weights, other = torch.load(training.run.weights, weights_only=True)["model"], folder / "o.pth"
    save_atomically({"model": {name: weights[name] for name in filter(kept, weights)}}, other)
    model = build_model(training.setup(folder).cfg)
    first = wrong(load_weights, model, InitialWeights(str(other)))
    yield first
    override = re.search(r"'(train.may_differ=.*)'", first[0].remedy or "")
    assert override
    cfg = config.load_config(training.run.config_file, [override.group(1)])
    yield wrong(load_weights, model, InitialWeights(str(other), cfg.train.may_differ))
    yield wrong(load_weights, model, InitialWeights(str(training.run.weights)))


@case(
    "none of the names fits, so they are of another kind of model: take weights of Detectron2's or "
    "torchvision's R-CNNs, or train from scratch: train.init_checkpoint=''"
)
def weights_of_another_kind(training: Training, tmp_path: Path) -> Attempts:
    other = tmp_path / "other.pth"
    save_atomically({"model": {"encoder.weight": torch.zeros(1)}}, other)
    model = build_model(training.setup(tmp_path).cfg)
    yield wrong(load_weights, model, InitialWeights(str(other)))
    yield wrong(load_weights, model, InitialWeights(str(training.run.weights)))
    yield wrong(train, training.setup(tmp_path / "new", "train.init_checkpoint=''"))


@case("train.process_invariant=False")
def a_norm_of_each_process(training: Training, tmp_path: Path) -> Attempts:
    begin = partial(wrong, training.setup, tmp_path)
    yield from with_remedy(begin, "model.backbone.norm=BN", "train.process_invariant=True")


@case("train.class_balance=null")
def a_loss_without_weights_for_classes(training: Training, tmp_path: Path) -> Attempts:
    more = ("train.class_balance=0.9", "model.roi_heads.box_predictor.use_sigmoid_ce=True")
    yield from with_remedy(partial(wrong, training.setup, tmp_path), *more)


@case("data.class_weights=null")
def weights_of_classes_that_are_not_balanced(training: Training, tmp_path: Path) -> Attempts:
    yield from with_remedy(partial(wrong, training.setup, tmp_path), "data.class_weights=[2]")


@case("dataloader.{}.image_format={}")
def images_in_another_order_of_channels(training: Training, tmp_path: Path) -> Attempts:
    begin = partial(wrong, training.setup, tmp_path)
    yield from with_remedy(begin, "dataloader.train.image_format=RGB")


@case("take weights that this run has saved, and do not override its model")
def a_run_with_another_model(training: Training) -> Attempts:
    yield wrong(load_run, training.run, ["model.roi_heads.mask_head.conv_dims=[32,32]"])
    yield wrong(load_run, training.run)


@case("take weights that this run has saved, and do not override its model")
def a_run_with_weights_of_another(run: Run, tmp_path: Path) -> Attempts:
    other = tmp_path / "run" / "other.pth"
    save_atomically({"model": {}}, other)
    yield wrong(load_run, Run(run.folder, other.name))
    yield wrong(load_run, run)


@case("rename and drop classes with 'data.val.rules.class_map={OLD: NEW, UNWANTED: null}'")
def data_of_other_classes(training: Training, tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="hound")])

    def evaluate(*typed: str) -> None:
        own = (f"data.val.files={file}", "data.val.images=null", "data.val.classes=null")
        cfg = config.load_config(training.run.config_file, ["data.classes=null", *own, *typed])
        check_meaning(training.run, build_dataset(cfg, "data.val"))

    yield wrong(evaluate)
    yield wrong(evaluate, "data.val.rules.class_map={hound: dog}")


@case("evaluate with the run's own skeleton.json")
def data_of_another_skeleton(run: Run, tmp_path: Path) -> Attempts:
    shutil.copy(skeleton(tmp_path), run.folder / "skeleton.json")
    file = via_json(tmp_path, [polygon(kind="dog"), point(9, 9, part="nose")])

    def evaluate(bones: Path) -> None:
        check_meaning(run, dataset.load_dataset(str(file), skeleton=str(bones)))

    yield wrong(evaluate, skeleton(tmp_path, "other", keypoints=["tail", "nose"]))
    yield wrong(evaluate, run.folder / "skeleton.json")


# Run folders.


@case("continue it with resume=true, choose another folder, or delete this one")
def a_folder_that_holds_a_run(run: Run, training: Training, tmp_path: Path) -> Attempts:
    setup = training.setup(run.folder)
    yield wrong(train, setup)
    yield wrong(train, setup, resume=True)
    yield wrong(train, training.setup(tmp_path / "other"))
    shutil.rmtree(run.folder)
    yield wrong(train, setup)


@case("leave out resume=true, or correct train.output_dir")
def nothing_to_resume(training: Training, tmp_path: Path) -> Attempts:
    yield wrong(train, training.setup(tmp_path / "new"), resume=True)
    yield wrong(train, training.setup(tmp_path / "new"))
    yield wrong(train, training.setup(training.copy(tmp_path / "run").folder), resume=True)


@case("resume with the run's own config, {}, or train in another folder")
def resumed_with_another_config(run: Run, training: Training, tmp_path: Path) -> Attempts:
    other = "optimizer.lr=0.5"
    yield wrong(train, training.setup(run.folder, other), resume=True)
    own = config.load_config(run.config_file, [f"train.output_dir={run.folder}"])
    yield wrong(train, prepare(own), resume=True)
    yield wrong(train, training.setup(tmp_path / "other", other))


@case(
    "put them back; or go on with the data as they are: allow_changed_data=true; or train in "
    "another folder"
)
def resumed_with_other_data(run: Run, training: Training, tmp_path: Path) -> Attempts:
    image = Path(training.setup(run.folder).training_set[0]["file_name"])
    before = image.read_bytes()
    try:
        image.write_bytes(before + b"more")  # behind its end, where no reader looks
        setup = training.setup(run.folder)
        yield wrong(train, setup, resume=True)
        yield wrong(train, setup, resume=True, allow_changed_data=True)
        yield wrong(train, training.setup(tmp_path / "other"))
    finally:
        image.write_bytes(before)
    run = training.copy(tmp_path / "again")
    yield wrong(train, training.setup(run.folder), resume=True)


@case("resume with the run's own config, or train in another folder")
def a_state_of_another_model(training: Training, tmp_path: Path) -> Attempts:
    setup = training.setup(tmp_path)
    wide = training.setup(tmp_path, "model.roi_heads.mask_head.conv_dims=[32,32]")
    for cfg in (wide.cfg, setup.cfg):
        trainer = Trainer(cfg, build_model(cfg, training=True))
        yield wrong(train_state.load_train_state, training.run.weights, trainer)


@case("to start from its weights: train.init_checkpoint, in a new folder")
def a_state_of_weights_alone(run: Run, training: Training, tmp_path: Path) -> Attempts:
    weights = torch.load(run.weights, weights_only=True)["model"]
    train_state.save_weights(run, "model_best.pth", weights, 0)
    setup = training.setup(run.folder)
    yield wrong(replay, setup, "model_best.pth")
    new = training.setup(tmp_path / "new", f"train.init_checkpoint={run.folder}/model_best.pth")
    yield wrong(train, new)


@case("delete this file: it is a record, and the run is whole without it, but unverified")
def a_damaged_record(run: Run) -> Attempts:
    write(run.provenance_file, "{")
    yield wrong(read_record, run.folder)
    run.provenance_file.unlink()
    yield wrong(read_record, run.folder)
    yield wrong(load_run, run)


@case("delete this file: it is a record, and the run is whole without it, but unverified")
def a_record_of_other_content(run: Run) -> Attempts:
    write(run.provenance_file, {"layout": 1, "starts": "yesterday"})
    yield wrong(read_record, run.folder)
    run.provenance_file.unlink()
    yield wrong(read_record, run.folder)


@case("put a sound copy in its place; if it is meant to be so: {}")
def a_file_that_is_not_as_it_was_written(run: Run, script: Script) -> Attempts:
    path = run.folder / "classes.json"
    before = path.read_text()
    for text in (json.dumps(["other"]), before):
        path.write_text(text)
        yield wrong(run.classes)
    write(path, ["other"])
    *_, accepted = run_remedy(script, lambda: wrong(run.classes))
    yield accepted
    assert run.classes() == ("other",)


@case("put a copy in its place; if it is meant to be so: {}")
def a_file_that_is_gone(run: Run, script: Script) -> Attempts:
    run.category_ids_file.unlink()
    yield from run_remedy(script, lambda: wrong(run.category_ids))


@case("{}; the ids are then 1, 2, ...")
def category_ids_that_were_accepted(run: Run, script: Script) -> Attempts:
    run.write({run.category_ids_file.name: "[1, 2, 3]"})
    yield from run_remedy(script, lambda: wrong(run.category_ids), delete=run.category_ids_file)


@case("delete this file")
def metrics_of_a_folder_without_digests(run: Run) -> Attempts:
    run.provenance_file.unlink()
    write(run.metrics_file, "[]")
    yield wrong(run.metrics)
    run.metrics_file.unlink()
    yield wrong(run.metrics)


@case("delete this file and say so: {}")
def metrics_that_were_accepted(run: Run, script: Script) -> Attempts:
    run.write({run.metrics_file.name: "[]\n"})
    yield from run_remedy(script, lambda: wrong(run.metrics), delete=run.metrics_file)


@case("put a sound copy in place, or delete them: the training then begins anew")
def checkpoints_none_of_which_is_sound(run: Run, training: Training) -> Attempts:
    setup = training.setup(run.folder)
    for path in run.states():
        path.write_bytes(b"")
    yield wrong(train, setup, resume=True)
    assert run.results_file.is_file()  # nothing is taken away before it is known to go on
    for path in run.states():
        path.unlink()
    yield wrong(train, setup, resume=True)


@case("see what differs from the config file that it was trained with: {}")
def a_config_that_is_damaged(run: Run, script: Script) -> Attempts:
    run.provenance_file.unlink()
    before = run.config_file.read_text()
    run.config_file.write_text(before.replace("roi_heads:", "roi_haeds:"))

    def load() -> None:
        with reading(run):
            load_run(run)

    first = wrong(load)
    yield first
    command = (first[0].remedy or "").replace("CONFIG", CONFIG)
    assert "roi_haeds" in cases.follow_command(script, command).stdout
    run.config_file.write_text(before)
    yield wrong(load)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may be longer than 100 kB within it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@case("make room and go on with resume=true; none was written before")
def a_disk_that_is_full_at_the_first_checkpoint(training: Training, tmp_path: Path) -> Attempts:
    setup = training.setup(tmp_path / "run")
    with full_disk():
        first = wrong(train, setup)
    yield first
    yield wrong(train, setup, resume=True)


@case("make room and go on with resume=true; these are whole: {}")
def a_disk_that_is_full_at_a_later_checkpoint(run: Run, training: Training) -> Attempts:
    longer = training.setup(run.folder, "train.max_iter=2")
    with full_disk():
        first = wrong(train, longer, resume=True)
    yield first
    yield wrong(train, longer, resume=True)


@case("make room and go on with resume=true; none was written before")
def a_disk_that_is_full_when_the_file_is_ended(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Attempts:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    weights = torch.load(training.run.weights, weights_only=True)["model"]
    run = Run(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)  # as some network disks do
        first = wrong(train_state.save_weights, run, "model_best.pth", weights, 0)
    yield first
    yield wrong(train_state.save_weights, run, "model_best.pth", weights, 0)


@case("to evaluate a run folder: roilab evaluate run=RUN")
def no_weights_to_evaluate(training: Training, tmp_path: Path, script: Script) -> Attempts:
    yield wrong(evaluate_weights, training.setup(tmp_path, "train.init_checkpoint=''"))
    yield cases.printed(script("evaluate", "--run", training.run.folder))


# Training.


@case(
    "look at these images and their annotations; lower optimizer.lr, lengthen the warm-up, or set "
    "train.clip_norm=1; replay={} repeats the step"
)
def a_loss_that_is_not_finite(training: Training, tmp_path: Path) -> Attempts:
    fast = ("optimizer._target_=torch.optim.SGD", "optimizer.lr=1e12")
    fast += ("lr_multiplier.warmup_iters=0", "train.max_iter=20")
    setup = training.setup(tmp_path / "run", *fast)
    first = wrong(train, setup)
    yield first
    state = re.search(r"replay=(\S+)", first[0].remedy or "")
    assert state
    yield wrong(replay, setup, state.group(1))
    slow = ("optimizer.lr=0.001", "train.max_iter=2")
    yield wrong(train, training.setup(tmp_path / "slow", *fast, *slow))


@case("repair or remove these files, or allow a larger share")
def images_that_cannot_be_read(training: Training, tmp_path: Path) -> Attempts:
    dog = [polygon(kind="dog")]
    file = via_json(tmp_path / "data", dog, dog)
    own = (f"data.train.files={file}", f"data.train.images={file.parent}")

    def begin(folder: str, *overrides: str, repaired: bool = False) -> None:
        image(file.parent / "0.png")
        setup = training.setup(tmp_path / folder, *own, *overrides)
        if not repaired:
            write(file.parent / "0.png", "no image")
        train(setup)

    yield wrong(begin, "1")
    yield wrong(begin, "2", repaired=True)
    yield wrong(begin, "3", "train.max_unreadable=0.5")


@case("follow its message, or train without: train.tracker=null")
def a_tracker_that_does_not_start(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Attempts:
    module = ModuleType("wandb")

    def init(**_: object) -> None:
        raise RuntimeError("log in first")

    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    yield wrong(ExperimentTracker, "wandb", "run", {})
    yield wrong(train, training.setup(tmp_path, "train.tracker=null"))
    module.init = lambda **_: None  # type: ignore[attr-defined]
    yield wrong(ExperimentTracker, "wandb", "run", {})


@case("delete the link")
def a_log_that_is_elsewhere(tmp_path: Path) -> Attempts:
    kept = write(tmp_path / "kept.txt", "mine")
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    run.metrics_file.symlink_to(kept)
    yield wrong(start_logging, run)
    run.metrics_file.unlink()
    yield wrong(start_logging, run)


# What run folders may name.


@case(
    "if you know this code and want it to run, add to the command: {}",
    "do not use this file, or correct it: it was not written by roilab train",
)
def a_part_that_is_not_allowed(
    run: Run, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Attempts:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    saved = training.run.config_file.read_text()
    own = saved.replace("roilab.modeling.mask_heads.MaskHead", "roilab.modeling.mask_heads._Conv")
    run.write({"config.yaml": own})
    first = wrong(config.load_config, run.config_file)
    run.write({"config.yaml": f"{own}evil: ${{oc.env:HOME}}\n"})
    second = wrong(config.load_config, run.config_file)
    yield [*first, *second]
    run.write({"config.yaml": own})
    option, name = with_options(str(first[0].remedy)).rpartition(": ")[2].split()
    assert option == "--trust"
    trusted.allow([name])
    yield wrong(config.load_config, run.config_file)


@case("correct this file, or delete it: trust=NAME makes a new one")
def damaged_names_that_are_trusted(training: Training) -> Attempts:
    path = trusted.settings_file()
    before = path.read_text() if path.is_file() else None
    write(path, "{")
    try:
        yield wrong(config.load_config, training.run.config_file)
        path.unlink()
        yield wrong(config.load_config, training.run.config_file)
    finally:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_text(before)
