"""The reader of annotation files for all that stands above `roilab.via`."""

from pathlib import Path

from roilab import via
from roilab.data.mask_to_polygons import box_of_rle, rings_of_rle


def read(path: str | Path, *, strict: bool = False, is_brief: bool = False) -> via.Annotations:
    """`via.read`, with COCO's run-length encoded masks as polygons.

    Args:
        is_brief: spare the time for regions of a COCO file that its annotations make superfluous
            where nothing is drawn or written: points for keypoints, and outlines of masks, in whose
            place is the box around them. `via.build_instances` makes the same of them.
    """
    return via.read(
        path,
        strict=strict,
        rings_of_rle=box_of_rle if is_brief else rings_of_rle,
        keypoints_as_points=not is_brief,
    )
