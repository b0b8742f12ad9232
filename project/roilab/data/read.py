"""The reader of annotation files for all that stands above `roilab.via`."""

from pathlib import Path

from roilab import via
from roilab.data.masks import rings_of_rle


def read(path: str | Path, *, strict: bool = False) -> via.Annotations:
    """`via.read`, with COCO's run-length encoded masks as polygons."""
    return via.read(path, strict=strict, rings_of_rle=rings_of_rle)
