"""Keypoint R-CNN, R50-FPN, on an image of 800 pixels: the memory that it takes."""

from pathlib import Path

from benchmarks import Benchmark
from benchmarks._inference import race_of_memory

SIDE = 800  # pixels, of the shorter side


def benchmark(folder: Path) -> Benchmark:
    """The exact mode beside Detectron2's model."""
    return race_of_memory(folder, "keypoint", side=SIDE)
