"""A training on a tree of Cityscapes, from the config to its table."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.cityscapes_tree import CASES, CLASSES, write_tree

from roilab.engine.run_folder import Run

from .running import NARROW

CONFIG = "configs/mask_rcnn_R_50_FPN_cityscapes.py"
TINY = [text for text in NARROW if not text.startswith("data.")]
TINY += [
    "train.init_checkpoint=''",
    "model.backbone.bottom_up.freeze_at=0",
    "model.roi_heads.box_predictor.test_score_thresh=0.0",
    "dataloader.train.augmentations.0.short_edge_length=[64]",
    "dataloader.test.augmentations.0.short_edge_length=64",
    "optimizer.lr=1e-6",
    "train.max_iter=2",
    "train.eval_period=0",
    "train.best=segm/AP-car",
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cityscapes")
    write_tree(root, CASES["all classes"], ("train", "val"), frames=1)
    return root


def test_a_training_ends_with_the_table(
    tree: Path, tmp_path: Path, script: Callable[..., Any]
) -> None:
    run = Run(tmp_path / "run")
    arguments = _arguments(tree, run.folder)
    script("train", *arguments)
    assert run.classes() == tuple(CLASSES)
    results = run.results()
    assert {f"AP-{name}" for name in CLASSES} <= results["segm"].keys()
    assert "APs" in results["bbox"]
    assert "APs" not in results["segm"]  # COCO's
    # It continues, with the folder of labels in the place of a file.
    script("train", *arguments, "--resume")
    page, out = tmp_path / "page.html", tmp_path / "out.json"
    done = script("evaluate", "--run", run.folder, "--html", page, "--output", out)
    assert json.loads(out.read_text())["segm"] == results["segm"]
    columns = ["AP val", "AP50", *(name.replace("motorcycle", "mcycle") for name in CLASSES)]
    head, ours = _rows(done.stdout, "AP val", "this run")
    assert head == ["", *columns]
    names = ["AP", "AP50", *(f"AP-{name}" for name in CLASSES)]
    assert ours == ["this run", *(f"{results['segm'][name] or 0:.1f}" for name in names)]
    assert done.stdout.index("this run") < done.stdout.index("Mask R-CNN, fine + COCO")
    assert "InstanceCut" in page.read_text()
    assert json.loads(out.read_text())["published"]["rows"]["Mask R-CNN, fine"][0] == 31.5


def test_a_tree_with_a_missing_city_begins_no_run(
    tree: Path, tmp_path: Path, script: Callable[..., Any]
) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree" / "gtFine" / "val" / "ulm")
    done = script("train", *_arguments(tmp_path / "tree", tmp_path / "run"), status=2)
    assert "cities have images and no labels" in done.stderr
    assert not (tmp_path / "run").exists()
    done = script("train", *_arguments(tmp_path / "nowhere", tmp_path / "run"), status=2)
    assert "unpack gtFine_trainvaltest.zip" in done.stderr
    assert "data.train.files" in done.stderr
    assert not (tmp_path / "run").exists()


def _arguments(tree: Path, run: Path) -> list[str]:
    """Of `roilab train` on a tree."""
    files = [f"data.{split}.files={tree / 'gtFine' / split}" for split in ("train", "val")]
    return ["--config-file", CONFIG, *files, *TINY, f"train.output_dir={run}"]


def _rows(text: str, *words: str) -> list[list[str]]:
    """The cells of the first row of a table that has each word."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [next(line for line in lines if word in line) for word in words]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]
