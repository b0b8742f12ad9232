"""One key chooses a training's augmentation: what it stands for, mistakes, and resumed runs."""

import copy
import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from roilab.data.copy_paste import CopyPaste
from roilab.engine import config
from roilab.engine.build_data import build_loader
from roilab.engine.run_folder import Run
from roilab.engine.setup import prepare
from roilab.errors import UserError

from .running import checkpoint, configured, same, trained

# Those that say something of presets; the others are their relatives.
CONFIGS = [f"configs/{name}_mask.py" for name in ("balloon", "figures", "small")]
FIGURES, LEAF = CONFIGS[1], "configs/mask_rcnn_R_50_FPN_1x.py"
KEY = "data.augmentation"
PASTE = f"{KEY}=copy_paste"


read_config = functools.cache(config.read_config)


def loader(file: str, *overrides: str) -> dict[str, Any]:
    """The node of the training loader as plain data."""
    cfg = config.override(copy.deepcopy(read_config(file)), overrides)
    return config.to_plain_data(cfg.dataloader.train)


def names(node: dict[str, Any]) -> list[str]:
    return [entry["_target_"].rpartition(".")[2] for entry in node["augmentations"]]


JITTER = ["ResizeScale", "FixedSizeCrop", "RandomFlip"]
SMALL = ["ResizeScale", "RandomRotation", "FixedSizeCrop", "RandomFlip"]
SMALL += ["RandomBrightness", "RandomContrast", "RandomSaturation"]


@pytest.mark.parametrize("file", [*CONFIGS, LEAF])
def test_every_config_has_every_preset(file: str) -> None:
    default = read_config(file).data.augmentation
    assert default == {LEAF: "flip", FIGURES: "flip", CONFIGS[0]: "crops"}.get(file, "mild")
    assert loader(file, f"{KEY}={default}") == loader(file)
    assert names(loader(file, f"{KEY}=flip"))[-1] == "RandomFlip"
    assert names(loader(file, f"{KEY}=lsj")) == JITTER
    small, paste = loader(file, f"{KEY}=small"), loader(file, PASTE)
    assert names(small) == names(paste) == SMALL
    assert small["copy_paste"] is None
    assert paste["copy_paste"]["probability"] == 1.0
    assert {**paste, "copy_paste": None} == small
    for node in (small, paste, loader(file, f"{KEY}=lsj")):
        assert node["recompute_boxes"], "crops need it"
        scale, *_, crop = (e for e in node["augmentations"] if "crop_size" in e or "min_scale" in e)
        side = scale["target_height"]
        assert [side, side] == crop["crop_size"] == [scale["target_width"]] * 2


def test_a_jitter_is_that_of_detectron2() -> None:
    theirs = config.upstream("new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py").dataloader.train
    node = loader(LEAF, f"{KEY}=lsj")
    [crop] = (entry for entry in node["augmentations"] if "crop_size" in entry)
    assert crop.pop("seg_pad_value") == 0  # of masks that are no polygons: see augmentation.py
    expected = config.to_plain_data(theirs.mapper)
    assert node["augmentations"] == expected["augmentations"]
    assert node["recompute_boxes"] == expected["recompute_boxes"]


@pytest.mark.parametrize("run", ["run_3c816bb", "run_fe98d7c"])
def test_the_sample_set_is_flipped_as_ever(run: str) -> None:
    saved = config.load_config(Path(__file__).parent / run / "config.yaml")
    before = config.to_plain_data(saved)["dataloader"]["train"]["augmentations"]
    assert loader(FIGURES)["augmentations"] == before


def test_the_size_is_one_key() -> None:
    node = loader(FIGURES, PASTE, f"{KEY}_size=96")
    assert node["augmentations"][0]["target_width"] == 96
    assert node["augmentations"][2]["crop_size"] == [96, 96]


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("load", [config.load_config, config.base_config])
def test_an_override_changes_the_chosen_list(
    load: Callable[[str, list[str]], DictConfig], is_first: bool
) -> None:
    """In either order, and not the preset that other lists may come from."""
    overrides = [f"{KEY}=lsj", "dataloader.train.augmentations.0.max_scale=1.5"]
    cfg = load(FIGURES, overrides if is_first else overrides[::-1])
    assert cfg.dataloader.train.augmentations[0].max_scale == 1.5
    assert cfg.dataloader.train.recompute_boxes
    assert cfg.data.augmentations.lsj.augmentations[0].max_scale == 2.0


def test_overrides_of_copy_paste() -> None:
    for key in ("dataloader.train", "data.augmentations.copy_paste"):
        node = loader(FIGURES, PASTE, f"{key}.copy_paste.share=0.25")
        assert node["copy_paste"]["share"] == 0.25
        assert node["copy_paste"]["probability"] == 1.0
    assert loader(FIGURES, PASTE, "dataloader.train.copy_paste=null")["copy_paste"] is None


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    """As docs/augmentation.md has it, beside the configs of RoILab."""
    text = Path("docs/augmentation.md").read_text(encoding="utf-8")
    source = text.partition("```python\n")[2].partition("```")[0]
    file = Path(shutil.copytree("configs", tmp_path / "configs")) / "mine.py"
    file.write_text(source, encoding="utf-8")
    node = loader(str(file))
    assert names(node) == ["ResizeScale", "RandomFlip"]
    assert loader(str(file), f"{KEY}=lsj")["recompute_boxes"]


@pytest.mark.parametrize(
    ("value", "nearest"),
    [("lsg", "lsj"), ("copypaste", "copy_paste"), ("none", "flip"), ("null", "flip")],
)
def test_a_typo_names_the_presets(value: str, nearest: str) -> None:
    with pytest.raises(UserError, match="flip, lsj, small, copy_paste, mild") as error:
        config.load_config(FIGURES, [f"{KEY}={value}"])
    assert error.value.key == KEY
    remedy = str(error.value.remedy).removeprefix("give ")
    assert remedy == f"{KEY}={nearest}"
    assert str(error.value.found) == value
    assert config.load_config(FIGURES, [remedy])


def test_the_key_is_below_data() -> None:
    with pytest.raises(UserError, match="unknown key") as error:
        config.load_config(FIGURES, ["augmentation=lsj"])
    assert str(error.value.expected).startswith(f"perhaps {KEY} or ")


def test_a_saved_config_has_what_was_chosen(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    cfg = config.load_config(FIGURES, [PASTE, "data.num_classes=2"])
    config.save_config(cfg, file)
    saved = config.load_config(file, [f"{KEY}=copy_paste"])
    assert saved.data.augmentation == "copy_paste"
    assert "augmentations" not in saved.data
    node = config.to_plain_data(saved)["dataloader"]["train"]
    assert node == config.to_plain_data(cfg)["dataloader"]["train"]
    assert config.build(saved.dataloader.train.copy_paste, "copy_paste") == CopyPaste()
    config.save_config(saved, tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_text() == file.read_text()
    with pytest.raises(UserError, match="only the augmentations of its training") as error:
        config.load_config(file, [f"{KEY}=lsj"])
    assert error.value.key == KEY
    for key in (f"{KEY}_size", f"{KEY}s.lsj.recompute_boxes"):
        with pytest.raises(UserError, match="unknown key"):
            config.load_config(file, [f"{key}=1"])


def test_a_run_goes_on_with_its_own_preset(data: Path, run: Path) -> None:
    steps = ("train.max_iter=3", "train.checkpoint_period=2", f"{KEY}_size=64")
    whole = trained(data, run, *steps, PASTE)
    assert checkpoint(run, "model_0000001.pth")["iteration"] == 1
    with pytest.raises(UserError, match="another config") as error:
        trained(data, run, *steps, f"{KEY}=small", resume=True)
    assert KEY in str(error.value)
    assert "copy_paste" in str(error.value)
    for name in ("model_final.pth", "results.json"):
        (run / name).unlink()
    assert same(trained(data, run, *steps, PASTE, resume=True), whole)


def test_an_older_run_goes_on(data: Path, run: Path) -> None:
    """Its config names neither a preset nor the arguments that a preset sets."""
    steps = ("train.max_iter=3", "train.checkpoint_period=2")
    whole = trained(data, run, *steps)
    (run / "model_final.pth").unlink()
    saved = OmegaConf.load(run / "config.yaml")
    assert isinstance(saved, DictConfig)
    del saved.data["augmentation"]
    for name in ("recompute_boxes", "copy_paste"):
        del saved.dataloader.train[name]
    Run(run).write({"config.yaml": config.to_yaml(config.to_plain_data(saved))})
    assert same(trained(data, run, *steps, resume=True), whole)
    with pytest.raises(UserError, match="another config"):
        trained(data, run, *steps, f"{KEY}=small", resume=True)


@pytest.mark.parametrize(
    ("override", "key", "reason"),
    [
        ("probability=2", "probability", "from 0 to 1"),
        ("min_visible=-1", "min_visible", "from 0 to 1"),
    ],
)
def test_mistakes_before_the_first_batch(
    data: Path, run: Path, override: str, key: str, reason: str
) -> None:
    node = "data.augmentations.copy_paste.copy_paste"
    with pytest.raises(UserError, match=reason) as error:
        trained(data, run, PASTE, f"{node}.{override}")
    assert error.value.key == f"{node}.{key}"
    assert not Run(run).states()


def test_one_image(data: Path, run: Path) -> None:
    setup = prepare(configured(data, run, PASTE))
    one = replace(setup.training_set, records=setup.training_set.records[:1])
    with pytest.raises(UserError, match="another image") as error:
        build_loader(setup.cfg, "dataloader.train", one)
    assert error.value.key == "data.augmentations.copy_paste.copy_paste"
    assert str(error.value.remedy).endswith("data.augmentations.copy_paste.copy_paste=null")
