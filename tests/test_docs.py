"""Promises of the documents: parts one edit away, files of a prediction, overrides, rooms, ways."""

import copy
import functools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tests.test_imports import LAYERS

from roilab import modeling
from roilab.engine import config
from roilab.engine.overrides import choices, write
from roilab.inference.formats import csv_columns
from roilab.inference.sinks import DATA_FILES, KINDS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "heads.md").read_text(encoding="utf-8")
# Rows of tables with overrides in code marks; the rows of stock parts say "default".
LINES = {
    " ".join(lines): (lines, "default" in row)
    for row in TEXT.splitlines()
    if row.startswith("|") and (lines := re.findall(r"`((?:model|pooler)\.[^`]*=[^`]+)`", row))
}
SIZES = ["data.num_classes=2", "data.num_keypoints=2"]


@functools.cache
def load(name: str) -> Any:
    return config.load_config(ROOT / "configs" / f"{name}.py", SIZES)


def parts(cfg: Any) -> str:
    """The RoI heads as they are built, with settings that a printed model does not show."""
    with torch.device("meta"):
        heads = config.build(cfg.model, "model").roi_heads
    head = heads.keypoint_head
    return f"{heads} {head.decoder} {cfg.model.roi_heads.keypoint_head} {cfg.pooler}"


@pytest.mark.parametrize("name", ["mask_keypoint_rcnn_R_101_FPN_1x", "figures_mask_keypoint"])
@pytest.mark.parametrize(("overrides", "stock"), LINES.values(), ids=LINES)
def test_config_lines_build(name: str, overrides: list[str], stock: bool) -> None:
    plain = load(name)
    changed = parts(config.override(copy.deepcopy(plain), overrides))
    assert stock or changed != parts(plain)


def test_every_part_is_in_the_tables() -> None:
    assert len(LINES) > 20
    offered = {name for name, part in vars(modeling).items() if callable(part)}
    names = {*offered, *modeling.DECODERS}
    assert {name for name in names if f"{name}`" not in TEXT} == set()


def test_every_output_of_a_prediction_is_documented() -> None:
    text = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
    promised = {*KINDS, *DATA_FILES.values(), *csv_columns(None)}
    assert {name for name in promised if f"`{name}`" not in text} == set()


OVERRIDES = (ROOT / "docs" / "overrides.md").read_text(encoding="utf-8")


def test_how_to_write_a_text_that_would_mean_something_else() -> None:
    rows = re.findall(r"^\| `(.+?)`.*\| `('.+')` \|$", OVERRIDES, re.MULTILINE)
    assert len(rows) == 4
    for text, command in rows:
        (override,) = shlex.split(command)
        cfg = config.load_config(ROOT / "configs" / "small_mask.py", [override])
        assert OmegaConf.select(cfg, override.partition("=")[0]) == text


def test_names_in_a_dict_and_files_in_a_sweep() -> None:
    (named,) = re.findall(r"'(data\.rules\.class_map=\{\".+\})'", OVERRIDES)
    cfg = config.load_config(ROOT / "configs" / "small_mask.py", [named])
    expected = {"a, b": "ab", "c:": "c", "fenêtre (ouverte)": "fenêtre"}
    assert dict(cfg.data.train.rules.class_map) == expected
    (single,) = re.findall(r"'(data\.train\.files=\".+\")'", OVERRIDES)
    assert choices(single) == [single]


def test_the_remedy_for_a_folder_of_brackets_is_the_documented_one() -> None:
    assert f"'{write('data.train.images', '[photos]')}'" in OVERRIDES


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_room_is_in_the_table() -> None:
    table = CONTRIBUTING.partition("## Rooms")[2].partition("##")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    rooms = set().union(*LAYERS) - {"", "__main__"}
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(rooms)


def test_the_ways_name_files_and_what_is_in_them() -> None:
    package = ROOT / "project" / "roilab"
    ways = CONTRIBUTING.partition("## The way of a polygon")[2].partition("## House rules")[0]
    steps = re.findall(r"^\d+\. `(\S+\.py)`:((?:.*\n)(?:   .*\n)*)", ways, re.MULTILINE)
    assert len(steps) > 20
    for file, text in steps:
        code = (package / file).read_text(encoding="utf-8")
        names = [name.rpartition(".")[2] for name in re.findall(r"`([\w.]+)`", text)]
        assert [name for name in names if name not in code] == [], file
    files = {Path(name).name for name in re.findall(r"`(\S+\.py)`", ways)}
    assert files - {path.name for path in package.rglob("*.py")} == set()
