"""Width and height of images from their headers, against decoding them."""

from pathlib import Path

import cv2
import numpy as np

from benchmarks import Benchmark
from roilab.images import header_size

IMAGES = 20


def benchmark(folder: Path) -> Benchmark:
    """JPEG and PNG files of 640 x 480 pixels with smooth content, half of each."""
    random = np.random.default_rng(0)
    paths = []
    for index in range(IMAGES):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
        paths.append(folder / f"{index}{('.jpg', '.png')[index % 2]}")
        cv2.imwrite(str(paths[-1]), image)

    def decode() -> None:
        for path in paths:
            decoded = cv2.imread(str(path))
            if decoded is None:
                raise OSError(f"{path} was written and cannot be read")

    return Benchmark(
        reference_name="cv2.imread",
        ours=lambda: [header_size(path) for path in paths],
        reference=decode,
    )
