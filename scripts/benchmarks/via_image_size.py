"""Width and height of images from their headers, against decoding them as tutorials do."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks import Benchmark
from roilab.image_files import header_size

IMAGES = 500


def benchmark(folder: Path) -> Benchmark:
    """JPEG and PNG files of 640 x 480 pixels, half of each."""
    paths = [folder / f"{index}{('.jpg', '.png')[index % 2]}" for index in range(IMAGES)]
    write_images(paths, (640, 480))

    def decode() -> None:
        for path in paths:
            decoded = cv2.imread(str(path))
            if decoded is None:
                raise OSError(f"{path} was written and cannot be read")

    return Benchmark(
        reference_name="cv2.imread",
        ours=lambda: [header_size(path) for path in paths],
        reference=decode,
        rounds=5,
        work=(IMAGES, IMAGES),
        bar=(0, 1 / 20),
    )


def write_images(paths: Sequence[Path], size: tuple[int, int]) -> None:
    """Write images of `size` (width, height) with smooth content, each another."""
    random = np.random.default_rng(0)
    for path in paths:
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))
