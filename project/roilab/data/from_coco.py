"""A COCO file -> Detectron2 dicts, by Detectron2's own reader, checked."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.data.datasets import load_coco_json

from roilab import images as image_files
from roilab.data.missing import refuse_missing
from roilab.errors import UserError
from roilab.skeleton import Skeleton


def is_coco(path: Path) -> bool:
    """Whether the file's first key is one of COCO's; VIA's first key names an image or a setting.

    Only the beginning is read: a COCO file can be half a gigabyte. One that VIA exported is not
    sound COCO, and is left to the reader that mends it.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = file.read(4096)
    if re.search(r'"description"\s*:\s*"VIA project exported', head):
        return False
    return bool(re.match(r'\s*\{\s*"(info|licenses|images|annotations|categories|type)"\s*:', head))


def from_coco(
    path: Path, roots: Sequence[Path], classes: Sequence[str] | None, skeleton: Skeleton | None
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Class names in the order of the category ids, and the dicts of all images.

    Args:
        roots: the folder of the images, one.
        classes: those of the model, which the file has to have; None: its own.
        skeleton: which the file's keypoints have to fit.

    Raises:
        UserError: the file is not sound, or does not fit; an image is missing or another one.
    """
    if len(roots) != 1:
        raise UserError(
            "a COCO file has its images below one folder",
            file=path,
            key="images",
            found=list(map(str, roots)),
        )
    root = roots[0]
    # The name only serves to make Detectron2 map category ids to 0..C-1; the metadata it writes
    # under it is read back at once.
    scratch = f"_coco_{path.resolve()}_{path.stat().st_mtime_ns}"
    try:
        records = load_coco_json(str(path), str(root), scratch, extra_annotation_keys=["area"])
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise UserError("not a sound COCO file", file=path, found=repr(error)) from error
    names = tuple(MetadataCatalog.get(scratch).thing_classes)
    MetadataCatalog.remove(scratch)
    if classes is not None and tuple(classes) != names:
        raise UserError(
            "the categories of the file are not those of the model",
            file=path,
            key="data.classes",
            found=list(names),
            expected=list(classes),
        )
    missing = [r["file_name"] for r in records if not Path(r["file_name"]).is_file()]
    refuse_missing(missing, len(records), [path])
    for record in records:
        image = Path(record["file_name"])
        image_files.check_readable(image)
        size, stated = image_files.header_size(image), (record["width"], record["height"])
        if size != stated:
            raise UserError(
                f"the size of {image.name} is not what the file says",
                file=path,
                key=f"image {record['image_id']}, width and height",
                found=stated,
                expected=size,
            )
    if skeleton is not None:
        for record in records:
            for anno in record["annotations"]:
                points = anno.get("keypoints") or [0.0] * (3 * len(skeleton.keypoints))
                # Detectron2 moves the unlabelled ones by half a pixel as well: back to zeros.
                anno["keypoints"] = [
                    value if points[at - at % 3 + 2] else 0.0 for at, value in enumerate(points)
                ]
                if len(anno["keypoints"]) != 3 * len(skeleton.keypoints):
                    raise UserError(
                        "an annotation's keypoints do not fit the skeleton",
                        file=path,
                        key=f"image {record['image_id']}, keypoints",
                        found=f"{len(anno['keypoints']) // 3} keypoints",
                        expected=f"{len(skeleton.keypoints)} ({skeleton.name})",
                    )
    return names, records
