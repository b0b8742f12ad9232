"""Keypoint R-CNN, R50-FPN, on an image of 800 pixels: the exact mode beside Detectron2."""

from pathlib import Path

from benchmarks import Benchmark
from benchmarks._inference import race

SIDE = 800  # pixels, of the shorter side


def benchmark(folder: Path) -> Benchmark:
    """Whole calls, from an image in memory to its instances."""
    return race(folder, "keypoint", "exact", "stock", side=SIDE, least=1.3)
