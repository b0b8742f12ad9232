"""AP of keypoints, against pycocotools."""

from pathlib import Path

from benchmarks import Benchmark
from benchmarks._evaluation import race

IMAGES, DETECTIONS = 2000, 20


def benchmark(folder: Path) -> Benchmark:
    """Ten persons and twenty detections an image."""
    return race("keypoints", IMAGES, DETECTIONS)
