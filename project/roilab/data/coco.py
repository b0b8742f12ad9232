"""Labelled VIA images -> COCO json: instances, and person keypoints where there is a skeleton."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from roilab import via
from roilab.data.dicts import annotation, coco_json
from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.via.entries import is_index

# Width and height of an image; None where it is not to be had. May raise UserError.
SizeOf = Callable[[via.ImageRecord], tuple[int, int] | None]


def to_coco(
    labelled: via.LabelledSet, skeleton: Skeleton | None, size_of: SizeOf
) -> tuple[dict[str, Any], tuple[via.Problem, ...]]:
    """COCO json data, and what it does not hold.

    COCO has one class and one list of outlines an object. It does not hold other attributes of
    regions and images, declarations, or shapes: a rectangle becomes a polygon, a curve a polygon
    within half a pixel, and an object of keypoints only gets the box around them. An image whose
    size is unknown is left out. `file_name` is the record's file name.

    Args:
        labelled: of one file.
        skeleton: as it was labelled with.
        size_of: sizes of images; asked first is the file itself, which names sizes where it was
            COCO before.
    """
    records: list[dict[str, Any]] = []
    problems: list[via.Problem] = []
    curves = values = 0
    file = labelled.file
    for image in labelled.images:
        record = image.record
        try:
            size = _stated_size(record) or size_of(record)
            reason = "its file is not there"
        except UserError as error:
            size, reason = None, f"{error.message}: {error.found}"
        if size is None:
            message = f"left out, since COCO needs its size: {reason}"
            remedy = "give the folder that holds it"
            problems.append(via.Problem("error", message, remedy, file, record.filename))
            continue
        shapes = Counter(type(each) for obj in image.instances for each in obj.outlines)
        curves += shapes[via.Circle] + shapes[via.Ellipse]
        values += len(record.attributes) + sum(len(each.attributes) for each in record.regions)
        records.append(
            {
                "file_name": record.filename,
                "image_id": len(records) + 1,
                "width": size[0],
                "height": size[1],
                "annotations": [
                    annotation(each, labelled.classes, skeleton, *size) for each in image.instances
                ],
            }
        )
    if curves:
        message = f"{curves} circles and ellipses became polygons"
        problems.append(via.Problem("note", message, "they are within half a pixel", file))
    if values:
        message = f"{values} attribute values are kept only as far as they are class or keypoint"
        problems.append(via.Problem("note", message, "keep the VIA file as well", file))
    return coco_json(records, labelled.classes, skeleton), tuple(problems)


def _stated_size(record: via.ImageRecord) -> tuple[int, int] | None:
    sizes = [record.attributes.get(key, "") for key in ("width", "height")]
    width, height = (int(s) if isinstance(s, str) and is_index(s) else 0 for s in sizes)
    return (width, height) if width > 0 and height > 0 else None
