"""Remedies of overrides."""

import re
import shlex
from pathlib import Path

import torch

from roilab.engine import config
from roilab.sweep import load_sweep

from .cases import Attempts, Wrong, case, wrong
from .conftest import CONFIG, Training


@case("a text is quoted, and all of it once more for the shell: {}")
def a_list_that_is_not_closed(training: Training) -> Attempts:
    first = wrong(config.load_config, training.run.config_file, ["data.train.classes=[dog"])
    yield first
    quoted = shlex.split(str(first[0].remedy).partition("shell: ")[2])
    yield wrong(config.load_config, training.run.config_file, quoted)


@case("take {}, with train.schedule=3x")
def a_config_of_an_earlier_version() -> Attempts:
    name = "mask_rcnn_R_101_FPN_3x"
    first = wrong(config.load_config, config.find_config(name))
    yield first
    words = re.fullmatch("take (.*), with (.*)", str(first[0].remedy))
    assert words is not None
    yield wrong(config.load_config, config.find_config(words[1]), [words[2]])


@case("give it another name")
def a_text_that_marks_a_missing_value(training: Training) -> Attempts:
    for name in ("???", "what"):
        override = f"data.train.rules.class_attribute={name}"
        yield wrong(config.load_config, training.run.config_file, [override])


@case("add {}=VALUE to the command")
def a_value_that_is_left_open(training: Training, tmp_path: Path) -> Attempts:
    def shown(*overrides: str) -> Wrong:
        cfg = config.load_config(file, overrides)
        return wrong(config.to_plain_data, cfg)

    file = tmp_path / "config.yaml"
    text = training.run.config_file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"init_checkpoint: .*", "init_checkpoint: ???", text), encoding="utf-8")
    first = shown()
    yield first
    yield shown(str(first[0].remedy).split()[1].replace("VALUE", "model.pth"))


@case("quote a text with commas: {}")
def an_empty_choice_of_a_sweep() -> Attempts:
    first = wrong(load_sweep, CONFIG, ["data.rules.class_attribute=a,,b"])
    yield first
    quoted = str(first[0].remedy).partition("commas: ")[2]
    yield wrong(load_sweep, "configs/ablations/mask_loss.py", [quoted])


@case("give {}")
def a_mistyped_preset_of_augmentations() -> Attempts:
    first = wrong(config.load_config, CONFIG, ["data.augmentation=lsg"])
    yield first
    yield wrong(config.load_config, CONFIG, [str(first[0].remedy).removeprefix("give ")])


@case(
    "take the config file that the training was begun with, such as configs/small_mask.py, for a "
    "training with another preset"
)
def another_preset_in_a_saved_config(training: Training) -> Attempts:
    for file in (training.run.config_file, CONFIG):
        yield wrong(config.load_config, file, ["data.augmentation=lsj"])


@case("give {}")
def a_mistyped_op_of_all_poolers() -> Attempts:
    def built(op: str) -> Wrong:
        cfg = config.load_config(CONFIG, ["data.num_classes=1", op])
        with torch.device("meta"):
            return wrong(config.build, cfg.model, "model")

    first = built("pooler.op=roi_aling")
    yield first
    assert first[0].key == "pooler.op"
    assert first[0].remedy == "give pooler.op=roi_align"
    yield built("pooler.op=roi_align")
