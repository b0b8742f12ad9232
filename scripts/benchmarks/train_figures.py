"""Iterations of the figures model, masks and keypoints, on two cores or however many there are."""

from pathlib import Path

from benchmarks import Benchmark
from benchmarks._training import race

SIZE, BATCH = 256, 8


def benchmark(folder: Path) -> Benchmark:
    """Batches of eight 256-pixel images, as `make demo` trains on them."""
    return race(
        folder,
        "figures_mask_keypoint.py",
        f"dataloader.train.total_batch_size={BATCH}",
        size=SIZE,
        least=1.25,
        rounds=15,
    )
