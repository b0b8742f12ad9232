"""The reader of annotation files for all that stands above `roilab.via`."""

from pathlib import Path

from roilab import via
from roilab.data.masks import box_of_rle, rings_of_rle


def read(
    path: str | Path, *, strict: bool = False, outlines_of_masks: bool = True
) -> via.Annotations:
    """`via.read`, with COCO's run-length encoded masks as polygons.

    Args:
        outlines_of_masks: whether the polygon of a mask is its outline, which takes time, or only
            the box around it, which is enough where the mask itself is used.
    """
    return via.read(
        path, strict=strict, rings_of_rle=rings_of_rle if outlines_of_masks else box_of_rle
    )
