"""RoIWarp with maxima, forward and backward, against torchvision's average RoIAlign."""

from pathlib import Path

from benchmarks import Benchmark
from benchmarks.roi_align_max import compared


def benchmark(folder: Path) -> Benchmark:
    """The same features, boxes and number of samples as in `roi_align_max`."""
    return compared("roi_warp")
