"""Our training beside Detectron2's own loop: the same config, data, batch and random weights."""

import itertools
import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import LazyCall as L
from detectron2.data import DatasetMapper, build_detection_train_loader
from detectron2.data import transforms as T
from detectron2.data.samplers import TrainingSampler
from detectron2.engine import SimpleTrainer, hooks
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead, MaskRCNNConvUpsampleHead
from detectron2.solver import LRMultiplier
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig

from benchmarks import Benchmark, medians
from roilab.cli.console import set_up
from roilab.cpu.malloc import keep_freed_memory
from roilab.data.loaders import Batch
from roilab.device import share_cores
from roilab.engine import config
from roilab.engine.build_data import annotations_for, build_loader
from roilab.engine.build_model import build_model, build_optimizer
from roilab.engine.setup import Setup, prepare
from roilab.engine.train import Trainer
from roilab.files import config_folder
from roilab.synthetic import write_figures

_ITERATIONS = 2  # timed together in each round
# RoIs an image that are on objects: what the heads' work depends on, and grows with training.
_POSITIVES = "roi_head/num_fg_samples"


def train_figures(folder: Path, batch: int = 8, size: int = 256) -> Benchmark:
    """Masks and keypoints, batches of eight 256-pixel images, as `make demo` trains on them."""
    cfg = config.load_config(config_folder() / "figures_mask_keypoint.py")
    return compare_loops(folder, cfg, batch, size, least=1.25, rounds=15)


def train_keypoint_r50(folder: Path, batch: int = 2, size: int = 320) -> Benchmark:
    """Keypoint R-CNN, R50-FPN, on batches of two 320-pixel images: the sample set's persons."""
    roles = ("class", "keypoint", "instance", "visibility")
    overrides = [f"data.rules.{role}_attribute={role}" for role in roles]
    overrides += ["data.rules.class_map={car: null}", "dataloader.train.num_workers=1"]
    cfg = config.load_config(config_folder() / "keypoint_rcnn_R_50_FPN_1x.py", overrides)
    resize = L(T.ResizeShortestEdge)(short_edge_length=size, max_size=2 * size)
    cfg.dataloader.train.augmentations = [resize, L(T.RandomFlip)(horizontal=True)]
    return compare_loops(folder, cfg, batch, size, least=1.6, rounds=7)


def compare_loops(
    folder: Path, cfg: DictConfig, batch: int, size: int, *, least: float, rounds: int
) -> Benchmark:
    """Iterations with their data, ours against Detectron2's; the note has the step without data.

    Ours has to be `least` times as fast, with `batch` images of this side in an iteration.
    """
    write_data(cfg, folder / "figures", images=24, size=size)
    cfg.dataloader.train.total_batch_size = batch
    cfg.train.init_checkpoint = ""
    loops = _in_process(_OurLoop, cfg), _in_process(_TheirLoop, cfg)
    ours, theirs = (partial(loop, "iterate") for loop in loops)
    name = "Detectron2's own loop"
    note = partial(_note, *loops)
    return Benchmark(name, ours, theirs, rounds, bar=(0, 1 / least), note=note)


def write_data(cfg: DictConfig, folder: Path, *, images: int, size: int) -> None:
    """Draw a sample set of square images, and name it in the config."""
    data = write_figures(folder, train=images, val=2, size=size)
    for split, file in {"train": data.train, "val": data.val}.items():
        cfg.data[split].update(files=str(file), images=str(file.parent))


def _in_process(loop: Callable[[Setup], object], cfg: DictConfig) -> Callable[[str], Any]:
    """The methods of a loop in a process of its own: neither depends on the other's memory."""
    context = multiprocessing.get_context("spawn")
    process = ProcessPoolExecutor(1, mp_context=context, initializer=set_up)
    process.submit(_begin, loop, cfg).result()
    return lambda method: process.submit(_call, method).result()


_loop: Any = None  # of this process


def _begin(loop: Callable[[Setup], object], cfg: DictConfig) -> None:
    global _loop
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    _loop = loop(prepare(cfg))


def _call(method: str) -> Any:
    return getattr(_loop, method)()


def our_batches(setup: Setup, **more: Any) -> Iterator[Batch]:
    """Batches of our training loader, with more or other arguments; its workers change nothing."""
    return iter(build_loader(setup.cfg, "dataloader.train", setup.training_set, **more))


class _Loop:
    """Both loops: the mean number of positive RoIs, and the page faults of the process."""

    def __init__(self) -> None:
        self.positives: list[float] = []

    def facts(self) -> tuple[float, int]:
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        return statistics.mean(self.positives), faults


class _OurLoop(_Loop):
    """Our loader and step, with the defaults of the config and of the training command."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        share_cores(setup.cfg.dataloader.train.num_workers)
        keep_freed_memory()
        self.trainer = Trainer(setup.cfg, build_model(setup.cfg, training=True))
        self.batches, self.numbers = our_batches(setup), itertools.count()
        self.batch = next(self.batches)
        self.waits: list[float] = []
        self.times: list[float] = []

    def iterate(self) -> None:
        with EventStorage() as storage:
            for _ in range(_ITERATIONS):
                start = time.perf_counter()
                batch = next(self.batches)
                self.waits.append(time.perf_counter() - start)
                self.trainer.step(next(self.numbers), [batch])
                self.times.append(time.perf_counter() - start)
                self.positives.append(storage.latest()[_POSITIVES][0])

    def step(self) -> None:
        with EventStorage():
            self.trainer.step(next(self.numbers), [self.batch])

    def share_of_waiting(self) -> float:
        return statistics.median(self.waits) / statistics.median(self.times)


class _TheirLoop(_Loop):
    """SimpleTrainer with Detectron2's mapper, sampler, poolers and heads, in float32."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        cfg = setup.cfg
        use_stock_parts(cfg.model)
        cfg.optimizer.fused = False
        model = config.build(cfg.model, "model").train()
        optimizer = build_optimizer(cfg, model)
        self.trainer = SimpleTrainer(model, stock_batches(setup), optimizer)
        multiplier = config.build(cfg.lr_multiplier, "lr_multiplier")
        schedule = LRMultiplier(optimizer, multiplier, cfg.train.max_iter)
        self.trainer.register_hooks([hooks.LRScheduler(scheduler=schedule)])
        self.trainer.iter = self.trainer.start_iter = 0
        self.trainer.max_iter = cfg.train.max_iter
        self.batch = next(our_batches(setup, num_workers=0))
        with EventStorage() as self.trainer.storage:
            self.trainer.before_train()

    def iterate(self) -> None:
        with EventStorage() as self.trainer.storage:
            for _ in range(_ITERATIONS):
                self.trainer.before_step()
                self.trainer.run_step()
                self.trainer.after_step()
                self.positives.append(self.trainer.storage.latest()[_POSITIVES][0])

    def step(self) -> None:
        batches = self.trainer._data_loader_iter
        self.trainer._data_loader_iter_obj = itertools.repeat(self.batch)
        with EventStorage() as self.trainer.storage:
            self.trainer.run_step()
        self.trainer._data_loader_iter_obj = batches


def use_stock_parts(model: DictConfig) -> None:
    """Put Detectron2's own poolers and heads in place of ours, with the same settings."""
    heads = model.roi_heads
    for task in ("box", "mask", "keypoint"):
        if f"{task}_pooler" in heads:
            node = heads[f"{task}_pooler"]
            same = {key: node[key] for key in ("output_size", "scales", "sampling_ratio")}
            heads[f"{task}_pooler"] = {"_target_": ROIPooler, "pooler_type": "ROIAlignV2", **same}
    stock = {"mask_head": MaskRCNNConvUpsampleHead, "keypoint_head": KRCNNConvDeconvUpsampleHead}
    for key in stock.keys() & heads.keys():
        heads[key]._target_ = stock[key]


def stock_batches(setup: Setup) -> Any:
    """Detectron2's training loader of the same data."""
    node = setup.cfg.dataloader.train
    dataset = setup.training_set
    needs, skeleton = annotations_for(setup.cfg.model), dataset.skeleton
    mapper = DatasetMapper(
        is_train=True,
        augmentations=[config.build(node, "augmentation") for node in node.augmentations],
        image_format="BGR",
        use_instance_mask=needs["masks"],
        use_keypoint=needs["keypoints"],
        keypoint_hflip_indices=np.array(skeleton.flip_indices) if skeleton else None,
    )
    return build_detection_train_loader(
        list(dataset.records),
        mapper=mapper,
        sampler=TrainingSampler(len(dataset), seed=0),
        total_batch_size=node.total_batch_size,
        num_workers=node.num_workers,
    )


def _note(ours: Callable[[str], Any], theirs: Callable[[str], Any], rounds: int = 5) -> str:
    """The step alone, in turns, and the share of an iteration that waits for data."""
    before = [faults for _, faults in (ours("facts"), theirs("facts"))]
    steps = {"ours": partial(ours, "step"), "theirs": partial(theirs, "step")}
    times = medians(steps, rounds)
    positives, after = zip(ours("facts"), theirs("facts"), strict=True)
    # `medians` takes one more step to warm up.
    faults = [(b - a) // (rounds + 1) for a, b in zip(before, after, strict=True)]
    return (
        f"the step alone is {times['theirs'] / times['ours']:.2f} times as fast; "
        f"{100 * ours('share_of_waiting'):.1f}% of ours waits for data; "
        f"RoIs on objects, an image: {positives[0]:.1f} and {positives[1]:.1f}; "
        f"page faults a step: {faults[0]} and {faults[1]}"
    )
