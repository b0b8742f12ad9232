"""Two processes train what one would with the same batch, where `train.process_invariant` is set.

The images differ in size and in their number of objects: padding, samples and means are those of
the whole batch, or they are not.
"""

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from PIL import Image
from torch import distributed

from roilab.engine import config
from roilab.engine.build_model import build_model
from roilab.engine.run_folder import Run
from roilab.engine.setup import Setup, prepare
from roilab.engine.train import Trainer, build_train_loader
from roilab.engine.validate import validate
from roilab.errors import UserError

from .running import configured, shapes

STEPS, HEADS = 3, "model.roi_heads"
BATCH = (
    "dataloader.train.total_batch_size=4",
    "dataloader.train.aspect_ratio_grouping=False",
    "dataloader.train.augmentations=[]",
    "train.accumulate=2",
    # More than there are proposals, whose number then differs from image to image.
    "model.roi_heads.batch_size_per_image=64",
)
INVARIANT = "train.process_invariant=True"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Every other image is larger and has one object in place of two; one has none."""
    folder = shapes(tmp_path_factory.mktemp("uneven"), train=8)
    file = folder / "train/via.json"
    entries = json.loads(file.read_text())
    for number in range(0, 8, 2):
        name = f"{number}.png"
        del entries[name]["regions"][1 if number else 0 :]
        path = folder / "train" / name
        wider = Image.new("RGB", (64 + 16 * number, 96))
        wider.paste(Image.open(path))
        wider.save(path)
    file.write_text(json.dumps(entries))
    return folder


def steps(setup: Setup) -> dict[str, Any]:
    """The losses and the weights after some steps of this process."""
    torch.manual_seed(0)
    trainer = Trainer(setup.cfg, build_model(setup.cfg, training=True))
    batches = iter(build_train_loader(setup, 0))
    losses = []
    with EventStorage():
        for iteration in range(STEPS):
            parts = [next(batches) for _ in range(setup.cfg.train.accumulate)]
            losses.append(trainer.step(iteration, parts))
    return {"losses": losses, "model": trainer.model.state_dict()}


def together(work: Callable[[], Any], folder: Path, processes: int = 2) -> list[Any]:
    """What the work gives in each of some processes that are one group."""

    def start(rank: int) -> None:
        torch.set_num_threads(1)  # threads do not outlive a fork
        store = distributed.FileStore(str(folder / "store"), processes)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=processes)
        comm.create_local_process_group(processes)
        torch.save(work(), folder / f"{rank}.pth")
        distributed.destroy_process_group()

    fork = multiprocessing.get_context("fork")
    begun = [fork.Process(target=start, args=(rank,)) for rank in range(processes)]
    for process in begun:
        process.start()
    for process in begun:
        process.join(60)
    assert [process.exitcode for process in begun] == [0] * processes
    return [torch.load(folder / f"{rank}.pth") for rank in range(processes)]


def apart(first: dict[str, Any], second: dict[str, Any]) -> float:
    """The largest difference of a loss, in parts of it."""
    return max(
        abs(loss[name] - other[name]) / abs(other[name])
        for loss, other in zip(first["losses"], second["losses"], strict=True)
        for name in other
        if other[name] > 1e-3
    )


def test_two_processes_are_as_one(data: Path, tmp_path: Path) -> None:
    setup = prepare(configured(data, tmp_path, *BATCH, INVARIANT))
    alone = steps(setup)
    first, second = together(lambda: steps(setup), tmp_path)
    assert apart(first, alone) < 1e-5
    assert first["losses"] == second["losses"]
    for name, weight in alone["model"].items():
        torch.testing.assert_close(first["model"][name], weight, rtol=1e-3, atol=1e-4)


def test_without_it_they_are_not(data: Path, tmp_path: Path) -> None:
    setup = prepare(configured(data, tmp_path, *BATCH))
    assert apart(together(lambda: steps(setup), tmp_path)[0], steps(setup)) > 1e-2


def test_keypoints_are_averaged_over_the_whole_batch(tiny_run: Run, tmp_path: Path) -> None:
    """Of as many as are labelled, which differ from image to image."""
    cfg = config.load_config(tiny_run.config_file, [*BATCH, INVARIANT, "train.precision=float32"])
    setup = prepare(cfg)
    alone = steps(setup)
    assert {"loss_mask", "loss_keypoint"} <= alone["losses"][0].keys()
    assert apart(together(lambda: steps(setup), tmp_path)[0], alone) < 1e-5


def test_in_one_process_the_sample_alone_is_another(data: Path, tmp_path: Path) -> None:
    """With as many regions as there are, there is nothing to sample, and the losses are stock."""
    every = [
        f"model.{part}.{key}"
        for part in ("proposal_generator", "roi_heads")
        for key in ("batch_size_per_image=100000", "positive_fraction=1.0")
    ]
    results = [
        steps(prepare(configured(data, tmp_path, *BATCH, *every, *more)))
        for more in ([INVARIANT], [])
    ]
    assert apart(*results) < 1e-5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("model.backbone.norm=BN", "BatchNorm2d"),
        (f"{HEADS}._target_=detectron2.modeling.roi_heads.CascadeROIHeads", f"{HEADS}._target_"),
        (f"{HEADS}.box_predictor.use_fed_loss=True", f"{HEADS}.box_predictor"),
    ],
)
def test_parts_that_cannot_are_named(change: str, named: str, data: Path, tmp_path: Path) -> None:
    cfg = configured(data, tmp_path, "data.num_classes=2", INVARIANT, change)
    with pytest.raises(UserError, match="depends on how many processes") as caught:
        build_model(cfg, training=True)
    assert named in str(caught.value)
    assert str(caught.value.remedy) == "train.process_invariant=False"


def test_an_evaluation_is_the_stock_models(data: Path, tmp_path: Path) -> None:
    """Its processes have images of their own, and do not wait for each other."""
    setup = prepare(configured(data, tmp_path, INVARIANT))
    results = []
    for training in (True, False):
        torch.manual_seed(0)
        results.append(validate(setup.cfg, build_model(setup.cfg, training=training), setup.val))
    assert results[0][1] == results[1][1]
    assert results[0][0].detections == results[1][0].detections
