"""Mask R-CNN, R50-FPN, on an image of 800 pixels: the fast mode beside torchvision."""

from pathlib import Path

from benchmarks import Benchmark
from benchmarks._inference import race

SIDE = 800  # pixels, of the shorter side


def benchmark(folder: Path) -> Benchmark:
    """Whole calls, from an image in memory to its instances."""
    return race(folder, "mask", "fast", "torchvision", side=SIDE, least=3.2)
