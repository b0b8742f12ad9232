"""Rare classes in a training: repeats and weights, off as before, on resumed to the last bit."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch
from detectron2.modeling.roi_heads import FastRCNNOutputLayers

from roilab.data.class_balance import class_weights
from roilab.engine import config
from roilab.engine.build_model import build_model
from roilab.engine.resume import check_resumable, fingerprints
from roilab.engine.run_folder import Run
from roilab.engine.setup import Setup, prepare
from roilab.engine.train import build_train_loader
from roilab.errors import UserError
from roilab.modeling.box_predictor import WeightedBoxPredictor

from .running import configured, same, shapes, trained
from .test_process_invariant import apart, steps, together

REPEATS = "dataloader.train.repeat_threshold=0.9"
BALANCE = "train.class_balance=0.9"
INVARIANT = ("train.process_invariant=True", "dataloader.train.total_batch_size=4")
PREDICTOR = "model.roi_heads.box_predictor"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of a square; in the first is the one bar."""
    folder = shapes(tmp_path_factory.mktemp("rare"))
    file = folder / "train/via.json"
    entries = json.loads(file.read_text())
    for entry in list(entries.values())[1:]:
        del entry["regions"][1:]
    file.write_text(json.dumps(entries))
    return folder


def drawn(setup: Setup, number: int) -> list[list[tuple[int, str]]]:
    """The first batches of this process: the positions and names of their images."""
    batches = build_train_loader(setup, 0)
    return [
        [(item["position"], Path(item["file_name"]).name) for item in batch]
        for batch in itertools.islice(batches, number)
    ]


def test_the_image_of_a_rare_class_is_drawn_more_often(data: Path, run: Path) -> None:
    """Its factor is the root of 0.9 * 6, which is 2.3, and that of the others 1."""
    passes = 12
    setup = prepare(configured(data, run, "dataloader.train.total_batch_size=1", REPEATS))
    names = [name for [(_, name)] in drawn(setup, round(passes * 7.3))]
    assert names.count("0.png") == pytest.approx(passes * 2.3, abs=3)
    assert names.count("1.png") == pytest.approx(passes, abs=1)


def test_two_processes_draw_the_batches_of_one(data: Path, tmp_path: Path) -> None:
    setup = prepare(configured(data, tmp_path, REPEATS, "dataloader.train.total_batch_size=4"))
    alone = drawn(setup, 9)
    first, second = together(lambda: drawn(setup, 9), tmp_path)
    assert [a + b for a, b in zip(first, second, strict=True)] == alone


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    trained(data, run, REPEATS, BALANCE, "train.max_iter=5", "train.checkpoint_period=2")
    return run


def test_a_resumed_run_goes_on_to_the_last_bit(data: Path, whole: Path, run: Path) -> None:
    shutil.copytree(whole, run)
    state = torch.load(run / "model_final.pth", weights_only=True)
    for file in (*run.glob("model_final.pth"), *run.glob("model_0000003.pth")):
        file.unlink()
    more = ("train.max_iter=5", "train.checkpoint_period=2")
    assert same(trained(data, run, REPEATS, BALANCE, *more, resume=True), state)
    with pytest.raises(UserError, match="another config"):
        trained(data, run, BALANCE, *more, resume=True)


def test_weights_follow_data_that_may_have_changed(data: Path, whole: Path, run: Path) -> None:
    """Without this, a run with weights could not go on with other data, whatever is allowed."""
    shutil.copytree(whole, run)
    other = shutil.copytree(data, run.parent / "other")
    file = other / "train/via.json"
    entries = json.loads(file.read_text())
    del entries["5.png"]
    file.write_text(json.dumps(entries))
    more = ("train.max_iter=5", "train.checkpoint_period=2")
    setup = prepare(configured(other, run, REPEATS, BALANCE, *more))
    arguments = (Run(run), setup, fingerprints(setup))
    with pytest.raises(UserError, match="the data have changed"):
        check_resumable(*arguments, allow_changed_data=False)
    notes = "\n".join(check_resumable(*arguments, allow_changed_data=True))
    assert "5 images in place of 6" in notes
    assert "data.class_weights" in notes
    assert setup.cfg.data.class_weights == class_weights([1, 5], 0.9)


def test_the_log_and_the_config_have_the_weights(whole: Path) -> None:
    saved = config.load_config(whole / "config.yaml")
    assert saved.data.class_weights == class_weights([1, 6], 0.9)
    text = (whole / "log.txt").read_text()
    assert "those of rare classes: bar 2.32" in text
    assert "an instance weighs in the classification loss: bar 3.07, square 0.655" in text
    assert "Cat ID" not in text


def test_a_saved_config_is_balanced_anew_or_not_at_all(data: Path, whole: Path, run: Path) -> None:
    file = whole / "config.yaml"
    off = ("train.class_balance=null", f"train.output_dir={run}")
    with pytest.raises(UserError, match="although they are not balanced"):
        prepare(config.load_config(file, off))
    setup = prepare(config.load_config(file, [*off, "data.class_weights=null"]))
    assert type(build_model(setup.cfg, training=True).roi_heads.box_predictor) is (
        FastRCNNOutputLayers
    )
    other = prepare(config.load_config(file, ["train.class_balance=0.5"]))
    assert other.cfg.data.class_weights == class_weights([1, 6], 0.5)
    # An evaluation needs no weights, and its model is the stock one.
    evaluated = prepare(config.load_config(file), training=False)
    model = build_model(evaluated.cfg)
    assert type(model.roi_heads.box_predictor) is FastRCNNOutputLayers


def test_a_config_without_the_keys_is_off(data: Path, run: Path) -> None:
    cfg = configured(data, run)
    del cfg.train["class_balance"], cfg.data["class_weights"]
    setup = prepare(cfg)
    assert type(build_model(setup.cfg, training=True).roi_heads.box_predictor) is (
        FastRCNNOutputLayers
    )


def test_two_processes_weigh_like_one(data: Path, tmp_path: Path) -> None:
    setup = prepare(configured(data, tmp_path, *INVARIANT, REPEATS, BALANCE))
    layer = build_model(setup.cfg, training=True).roi_heads.box_predictor
    assert isinstance(layer, WeightedBoxPredictor)
    assert torch.equal(layer.class_weights, torch.tensor([*class_weights([1, 6], 0.9), 1.0]))
    alone = steps(setup)
    first, second = together(lambda: steps(setup), tmp_path)
    assert first["losses"] == second["losses"]
    assert apart(first, alone) < 1e-5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("train.class_balance=1", "train.class_balance"),
        ("train.class_balance=often", "train.class_balance"),
        ("dataloader.train.repeat_threshold=1.5", "repeat_threshold"),
        ("dataloader.train.repeat_threshold=-1", "repeat_threshold"),
    ],
)
def test_values_that_make_no_sense(change: str, named: str, whole: Path) -> None:
    with pytest.raises(UserError, match="makes no sense") as error:
        prepare(config.load_config(whole / "config.yaml", [change]))
    assert named in str(error.value)


def test_a_loss_that_takes_no_weights(data: Path, run: Path) -> None:
    with pytest.raises(UserError, match="no weights for classes"):
        prepare(configured(data, run, BALANCE, f"{PREDICTOR}.use_sigmoid_ce=True"))
