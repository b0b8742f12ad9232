"""Our training beside Detectron2's own loop: the same config, data, batch and random weights."""

import itertools
import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetMapper, build_detection_train_loader
from detectron2.data.samplers import TrainingSampler
from detectron2.engine import SimpleTrainer, hooks
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead, MaskRCNNConvUpsampleHead
from detectron2.solver import LRMultiplier
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig

from benchmarks import Benchmark, seconds
from roilab.cpu.malloc import keep_freed_memory
from roilab.data.loaders import Batch
from roilab.device import share_cores
from roilab.engine import config
from roilab.engine.build import build_model, build_optimizer
from roilab.engine.data_nodes import annotations_for, train_batches
from roilab.engine.setup import Setup, prepare
from roilab.engine.train import Trainer
from roilab.synthetic import write_figures

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
_ITERATIONS = 2  # timed together in each round
# RoIs an image that are on objects: what the heads' work depends on, and grows with training.
_FOUND = "roi_head/num_fg_samples"


def race(
    folder: Path,
    name: str,
    *overrides: str,
    size: int,
    least: float,
    images: int = 24,
    rounds: int = 7,
    edit: Callable[[DictConfig], None] | None = None,
) -> Benchmark:
    """Iterations with their data, ours against Detectron2's; the note has the step without data.

    Args:
        name: the config's file.
        overrides: what both are run with.
        size: of the square images that are drawn.
        least: how many times as fast ours has to be.
        rounds: how often each is timed.
        edit: changes the config further; a function that can be pickled.
    """
    data = write_figures(folder / "figures", train=images, val=2, size=size)
    files = {"train": data.train, "val": data.val}
    ours, theirs = (_Side(kind, files, name, overrides, edit) for kind in (_Ours, _Theirs))
    return Benchmark(
        reference_name="Detectron2's own loop",
        ours=lambda: ours.call("iterate"),
        reference=lambda: theirs.call("iterate"),
        rounds=rounds,
        bar=(0, 1 / least),
        note=lambda: _note(ours, theirs),
    )


class _Side:
    """A contestant in a process of its own, so that one's way with memory is not the other's."""

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.process = ProcessPoolExecutor(1, mp_context=context)
        self.process.submit(_begin, *arguments).result()

    def call(self, method: str) -> Any:
        return self.process.submit(_call, method).result()


_contestant: Any = None  # of this process


def _begin(
    kind: Callable[[Setup], object],
    files: dict[str, Path],
    name: str,
    overrides: Sequence[str],
    edit: Callable[[DictConfig], None] | None,
) -> None:
    global _contestant
    warnings.filterwarnings("ignore")
    cfg = config.load_config(CONFIGS / name, overrides)
    for split, file in files.items():
        cfg.data[split].update(files=str(file), images=str(file.parent))
    cfg.train.init_checkpoint = ""
    if edit is not None:
        edit(cfg)
    torch.manual_seed(0)
    _contestant = kind(prepare(cfg))


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _call(method: str) -> Any:
    return getattr(_contestant, method)()


def our_batches(setup: Setup, **more: Any) -> Iterator[Batch]:
    """Those of our training loader, with more or other arguments; its workers change nothing."""
    assert setup.train is not None
    return iter(train_batches(setup.cfg, setup.train, **more))


class _Ours:
    """Our loader and step, with the defaults of the config and of the training command."""

    def __init__(self, setup: Setup) -> None:
        share_cores(setup.cfg.dataloader.train.num_workers)
        keep_freed_memory()
        self.trainer = Trainer(setup.cfg, build_model(setup.cfg, training=True))
        self.batches, self.numbers = our_batches(setup), itertools.count()
        self.kept = next(self.batches)
        self.waited: list[float] = []
        self.took: list[float] = []
        self.found: list[float] = []

    def iterate(self) -> None:
        with EventStorage() as storage:
            for _ in range(_ITERATIONS):
                start = time.perf_counter()
                batch = next(self.batches)
                self.waited.append(time.perf_counter() - start)
                self.trainer.step(next(self.numbers), [batch])
                self.took.append(time.perf_counter() - start)
                self.found.append(storage.latest()[_FOUND][0])

    def step(self) -> None:
        with EventStorage():
            self.trainer.step(next(self.numbers), [self.kept])

    def share_of_waiting(self) -> float:
        return statistics.median(self.waited) / statistics.median(self.took)

    def found_on_average(self) -> float:
        return statistics.mean(self.found)


class _Theirs:
    """SimpleTrainer with Detectron2's mapper, sampler, poolers and heads, in float32."""

    def __init__(self, setup: Setup) -> None:
        cfg = setup.cfg
        stock(cfg.model)
        cfg.optimizer.fused = False
        model = config.build(cfg.model, "model").train()
        optimizer = build_optimizer(cfg, model)
        batches = stock_batches(setup)
        self.trainer = SimpleTrainer(model, batches, optimizer)
        multiplier = config.build(cfg.lr_multiplier, "lr_multiplier")
        schedule = LRMultiplier(optimizer, multiplier, cfg.train.max_iter)
        self.trainer.register_hooks([hooks.LRScheduler(scheduler=schedule)])
        self.trainer.iter = self.trainer.start_iter = 0
        self.trainer.max_iter = cfg.train.max_iter
        self.kept = next(our_batches(setup, num_workers=0))
        self.found: list[float] = []
        with EventStorage() as self.trainer.storage:
            self.trainer.before_train()

    def iterate(self) -> None:
        with EventStorage() as self.trainer.storage:
            for _ in range(_ITERATIONS):
                self.trainer.before_step()
                self.trainer.run_step()
                self.trainer.after_step()
                self.found.append(self.trainer.storage.latest()[_FOUND][0])

    def step(self) -> None:
        batches, self.trainer._data_loader_iter_obj = (
            self.trainer._data_loader_iter,
            itertools.repeat(self.kept),
        )
        try:
            with EventStorage() as self.trainer.storage:
                self.trainer.run_step()
        finally:
            self.trainer._data_loader_iter_obj = batches

    def found_on_average(self) -> float:
        return statistics.mean(self.found)


def stock(model: DictConfig) -> None:
    """Put Detectron2's own poolers and heads in place of ours, with the same settings."""
    heads = model.roi_heads
    for task in ("box", "mask", "keypoint"):
        if f"{task}_pooler" in heads:
            node = heads[f"{task}_pooler"]
            kept = {key: node[key] for key in ("output_size", "scales", "sampling_ratio")}
            heads[f"{task}_pooler"] = {"_target_": ROIPooler, "pooler_type": "ROIAlignV2", **kept}
    for task, head in (
        ("mask", MaskRCNNConvUpsampleHead),
        ("keypoint", KRCNNConvDeconvUpsampleHead),
    ):
        if f"{task}_head" in heads:
            heads[f"{task}_head"]._target_ = head


def stock_batches(setup: Setup) -> Any:
    """Detectron2's training loader of the same data."""
    node, dataset = setup.cfg.dataloader.train, setup.train
    needed = annotations_for(setup.cfg.model)
    assert dataset is not None
    mapper = DatasetMapper(
        is_train=True,
        augmentations=[config.build(each, "augmentation") for each in node.augmentations],
        image_format="BGR",
        use_instance_mask=needed["masks"],
        use_keypoint=needed["keypoints"],
        keypoint_hflip_indices=np.array(dataset.skeleton.flip_indices)
        if dataset.skeleton
        else None,
    )
    return build_detection_train_loader(
        list(dataset.records),
        mapper=mapper,
        sampler=TrainingSampler(len(dataset), seed=0),
        total_batch_size=node.total_batch_size,
        num_workers=node.num_workers,
    )


def _note(ours: _Side, theirs: _Side, rounds: int = 5) -> str:
    """The step alone, in turns, and the share of an iteration that waits for data."""
    took: tuple[list[float], list[float]] = ([], [])
    before = [side.process.submit(_page_faults).result() for side in (ours, theirs)]
    for _ in range(rounds):
        for times, side in zip(took, (ours, theirs), strict=True):
            times.append(seconds(partial(side.call, "step")))
    a, b = map(statistics.median, took)
    after = [side.process.submit(_page_faults).result() for side in (ours, theirs)]
    faults = [(end - begin) // rounds for begin, end in zip(before, after, strict=True)]
    share = ours.call("share_of_waiting")
    found = [side.call("found_on_average") for side in (ours, theirs)]
    return (
        f"the step alone is {b / a:.2f} times as fast; {100 * share:.1f}% of ours waits for data; "
        "RoIs on objects, an image: {:.1f} and {:.1f}; page faults a step: {} and {}".format(
            *found, *faults
        )
    )
