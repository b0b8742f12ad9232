"""Iterations of Keypoint R-CNN, R50-FPN, on small images."""

from functools import partial
from pathlib import Path

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T
from omegaconf import DictConfig

from benchmarks import Benchmark
from benchmarks._training import race

SIZE, BATCH = 320, 2


def benchmark(folder: Path) -> Benchmark:
    """Batches of two 320-pixel images of the sample set, whose persons are what is learnt."""
    return race(
        folder,
        "keypoint_rcnn_R_50_FPN_1x.py",
        f"dataloader.train.total_batch_size={BATCH}",
        "dataloader.train.num_workers=1",
        "data.rules.class_attribute=class",
        "data.rules.keypoint_attribute=keypoint",
        "data.rules.instance_attribute=instance",
        "data.rules.visibility_attribute=visibility",
        "data.rules.class_map={car: null}",
        size=SIZE,
        least=1.6,
        edit=partial(_small, size=SIZE),
    )


def _small(cfg: DictConfig, size: int) -> None:
    cfg.dataloader.train.augmentations = [
        L(T.ResizeShortestEdge)(short_edge_length=size, max_size=2 * size),
        L(T.RandomFlip)(horizontal=True),
    ]
