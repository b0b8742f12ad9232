"""Where images come from: a file or a folder."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from detectron2.data.detection_utils import read_image
from PIL import Image

from roilab.errors import UserError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def image_files(source: str | Path) -> list[Path]:
    """The image itself, or the images of a folder, frame 2 before frame 10; hidden files are none.

    Raises:
        UserError: there is no such file or folder, or the folder holds no image.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError("no such image or folder", key="--input", file=path)
    found = [
        file
        for file in path.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    if not found:
        raise UserError(
            "the folder holds no image",
            key="--input",
            file=path,
            expected=f"files ending in {', '.join(sorted(SUFFIXES))}",
        )
    return sorted(found, key=_natural)


def _natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"(\d+)", file.name)
    # Odd places hold the numbers. The name itself decides between 1 and 01.
    key = [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]
    return key, file.name


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """An image file as a new H x W x 3 RGB array, turned as its EXIF says, as in training.

    Raises:
        UserError: the file is not an image that can be read.
    """
    try:
        return np.array(read_image(str(path), format="RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            "cannot read the image", file=path, found=error, expected="a whole image file"
        ) from error
