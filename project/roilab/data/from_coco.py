"""A COCO file -> Detectron2 dicts, by Detectron2's own reader, checked."""

import json
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from detectron2.data import MetadataCatalog
from detectron2.data.datasets import load_coco_json
from pycocotools import mask as mask_utils

from roilab import via
from roilab.data.coco_ids import CocoIds, category_ids, image_numbers
from roilab.data.from_via import Found, log_problems
from roilab.data.masks import covers
from roilab.data.missing import Unusable, shortened
from roilab.errors import UserError
from roilab.skeleton import Skeleton

log = logging.getLogger(__name__)

_BOM = b"\xef\xbb\xbf"
_BY_VIA = b"VIA project exported"
_BLOCK = 1 << 20  # bytes


def is_coco(path: Path) -> bool:
    """Whether the file's first key is one of COCO's; VIA's first key names an image or a setting.

    A COCO file that VIA exported is not sound COCO, and is left to the reader that mends it. It
    says so anywhere in the file, which is searched but not parsed: it can be half a gigabyte.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096).decode("utf-8-sig", errors="replace")
            if not re.match(
                r'\s*\{\s*"(info|licenses|images|annotations|categories|type)"\s*:', head
            ):
                return False
            file.seek(0)
            before = b""
            while block := file.read(_BLOCK):
                block = before + block
                if _BY_VIA in block and re.search(rb'"description"\s*:\s*"' + _BY_VIA, block):
                    return False
                before = block[-256:]
    except OSError:
        return False  # the other reader says why it cannot be read
    return True


def from_coco(
    path: Path,
    roots: Sequence[Path],
    classes: Sequence[str] | None,
    skeleton: Skeleton | None,
    strict: bool = False,
    missing_images: Literal["error", "skip"] = "error",
) -> Found:
    """Class names in the order of the model's, or else of the category ids, and all images' dicts.

    Objects of which nothing lies in their image are left out; that goes to the log.

    Args:
        roots: the folder of the images, one.
        classes: those of the model, among which the file's have to be; None: the file's own.
        skeleton: which the file's keypoints have to fit.
        strict: an object outside its image is raised.
        missing_images: what becomes of images that are not there or cannot be read.

    Raises:
        UserError: the file is not sound, or does not fit; an image is missing, broken, or another
            one; it is read strictly and an object lies outside its image.
    """
    if len(roots) != 1:
        raise UserError(
            "a COCO file has its images below one folder",
            file=path,
            key="images",
            found=list(map(str, roots)),
        )
    known, records = _load(path, roots[0])
    names = tuple(known)
    images = _number(records)
    if classes is not None and not set(names) <= set(classes):
        raise UserError(
            "the categories of the file are not those of the model",
            file=path,
            key="data.classes",
            found=list(names),
            expected=f"of {', '.join(classes)}",
        )
    if classes is not None:
        place = [classes.index(name) for name in names]
        names = tuple(classes)
        for anno in (anno for record in records for anno in record["annotations"]):
            anno["category_id"] = place[anno["category_id"]]
    unusable = Unusable()
    usable = [record for record in records if _has_its_image(record, path, unusable)]
    missing = unusable.settle(missing_images, len(records), [path])
    _warn_of_double(path, usable)
    lost: list[via.Problem] = []
    for record in usable:
        left = []
        for anno in record["annotations"]:
            number = anno["id"]
            _check_annotation(path, record, anno, skeleton)
            if _reaches_into(anno, record["width"], record["height"], skeleton):
                left.append(anno)
            else:
                lost.append(_outside(path, record, number, names[anno["category_id"]]))
        record["annotations"] = left
    log_problems(lost)
    if strict:
        via.refuse_errors(lost)
    ids = CocoIds(images, category_ids(names, known))
    return Found(names, usable, ids, missing, len(lost))


def _number(records: Sequence[dict[str, Any]]) -> dict[int, int | str]:
    """Give records integer ids, their own where all are; returns what each was in the file."""
    own = [record["image_id"] for record in records]
    numbers = image_numbers(own)
    for record, number in zip(records, numbers, strict=True):
        record["image_id"] = number
    return dict(zip(numbers, own, strict=True))


def _load(path: Path, root: Path) -> tuple[dict[str, int | str], list[dict[str, Any]]]:
    """What Detectron2 reads: class names with category ids, and all dicts, annotations with ids."""
    # The name only serves to make Detectron2 map category ids to 0..C-1; the metadata it writes
    # under it is read back at once.
    scratch = f"_coco_{path.resolve()}_{path.stat().st_mtime_ns}"
    try:
        with _without_bom(path) as plain:
            records = load_coco_json(
                str(plain), str(root), scratch, extra_annotation_keys=["area", "id"]
            )
        metadata = MetadataCatalog.get(scratch)
        ids = metadata.thing_dataset_id_to_contiguous_id
        return dict(zip(metadata.thing_classes, ids, strict=True)), records
    except Exception as error:  # it checks nothing, and stumbles over what is not sound
        _refuse_annotations(path)
        raise UserError("not a sound COCO file", file=path, found=repr(error)) from error
    finally:
        MetadataCatalog.pop(scratch, None)


@contextmanager
def _without_bom(path: Path) -> Iterator[Path]:
    """The file, or a copy of it without the mark in front that pycocotools does not read."""
    with path.open("rb") as file:
        if file.read(len(_BOM)) != _BOM:
            yield path
            return
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / path.name
            with plain.open("wb") as copy:
                shutil.copyfileobj(file, copy)
            yield plain


def _has_its_image(record: Mapping[str, Any], path: Path, unusable: Unusable) -> bool:
    """Whether the image of a record can be used.

    Raises:
        UserError: it has another size than the file says.
    """
    image = Path(record["file_name"])
    place: Path | via.Problem = image
    if not image.is_file():
        place = via.Problem("error", "no such image", "put it there", str(path), str(image))
    size, stated = (
        unusable.size_of(place, path, str(image)),
        (record["width"], record["height"]),
    )
    if size is not None and size != stated:
        raise UserError(
            f"the size of {image.name} is not what the file says",
            file=path,
            key=f"image {record['image_id']}, width and height",
            found=stated,
            expected=size,
        )
    return size is not None


def _warn_of_double(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    owners: dict[str, Mapping[str, Any]] = {}
    double = []
    for record in records:
        owner = owners.setdefault(os.path.realpath(record["file_name"]), record)
        if owner is not record:
            double.append(
                f"images {owner['image_id']} and {record['image_id']} are {record['file_name']}"
            )
    if double:
        log.warning(
            "%s: %d images have the file of another one; make them one: what only one of them "
            "holds is background in the other: %s",
            path,
            len(double),
            shortened(double),
        )


def _check_annotation(
    path: Path, record: Mapping[str, Any], anno: dict[str, Any], skeleton: Skeleton | None
) -> None:
    """Refuse what does not fit; with a skeleton, give the annotation its K x 3 keypoints."""
    number = anno.pop("id")
    _refuse(path, number, _fault(anno, (record["height"], record["width"])))
    if skeleton is None:
        return
    points = anno.get("keypoints") or [0.0] * (3 * len(skeleton.keypoints))
    if len(points) != 3 * len(skeleton.keypoints):
        raise UserError(
            "an annotation's keypoints do not fit the skeleton",
            file=path,
            key=f"annotation {number} of image {record['image_id']}, keypoints",
            found=f"{len(points) // 3} keypoints",
            expected=f"{len(skeleton.keypoints)} ({skeleton.name})",
        )
    # Detectron2 moves the unlabelled ones by half a pixel as well: back to zeros.
    anno["keypoints"] = [
        value if points[at - at % 3 + 2] else 0.0 for at, value in enumerate(points)
    ]


def _reaches_into(
    anno: Mapping[str, Any], width: int, height: int, skeleton: Skeleton | None
) -> bool:
    """Whether something is left of an object that is cut to its image, as `data.check` sees it."""
    x0, y0, w, h = anno["bbox"]
    x1, y1 = x0 + w, y0 + h
    mask = anno.get("segmentation")
    if isinstance(mask, list):
        xs, ys = ([value for ring in mask for value in ring[at::2]] for at in (0, 1))
        x0, y0, x1, y1 = min(xs), min(ys), max(xs), max(ys)
    elif anno.get("iscrowd", 0) or (mask is not None and mask_utils.area(mask)):
        return True  # a mask has the size of its image; crowds are no objects
    elif skeleton is not None and min(w, h) <= 0 and any(anno["keypoints"][2::3]):
        return True  # the keypoints are all that it has
    return max(x0, 0) < min(x1, width) and max(y0, 0) < min(y1, height)


def _outside(path: Path, record: Mapping[str, Any], number: object, label: str) -> via.Problem:
    size = f"{record['width']} x {record['height']}"
    return via.Problem(
        "error",
        f"left out: annotation {number}, a {label}, has no extent in the image of {size} pixels",
        "delete the annotation, or see that the image is the annotated one",
        str(path),
        record["file_name"],
    )


def _refuse_annotations(path: Path) -> None:
    """Name the annotation at fault in a file that Detectron2 cannot read, if it is one.

    Raises:
        UserError: an annotation holds what it should not.
    """
    try:
        data = json.loads(path.read_bytes().decode("utf-8-sig"))
        sizes = {image["id"]: (image["height"], image["width"]) for image in data["images"]}
        faults = [
            (anno.get("id"), _fault(anno, sizes[anno["image_id"]]))
            for anno in data["annotations"]
            if anno["image_id"] in sizes
        ]
    except Exception:  # it is something else, which the caller reports
        return
    for number, fault in faults:
        _refuse(path, number, fault)


# A key, what is there, and what should be.
_Fault = tuple[str, object, str]


def _refuse(path: Path, number: object, fault: _Fault | None) -> None:
    if fault is not None:
        key, found, expected = fault
        raise UserError(
            "an annotation is not sound",
            file=path,
            key=f"annotation {number}, {key}",
            found=f"{found!r:.100}",
            expected=expected,
        )


def _fault(anno: Mapping[str, Any], size: tuple[int, int]) -> _Fault | None:
    """What is wrong with an annotation of an image of `size` (height, width), if anything is."""
    box: Any = anno.get("bbox")
    points, mask = anno.get("keypoints", []), anno.get("segmentation")
    if not _is_numbers(box) or len(box) != 4:
        return "bbox", box, "x, y, width and height, four numbers"
    if not _is_numbers(points) or len(points) % 3:
        return "keypoints", points, "a list of numbers, three for each keypoint"
    if isinstance(mask, list):
        for ring in mask:
            if not _is_numbers(ring):
                return "segmentation", ring, "polygons, each a list of numbers"
    elif isinstance(mask, Mapping):
        if mask.get("size") != list(size):
            return "segmentation.size", mask.get("size"), f"{list(size)}, the image's height, width"
        if not _fills(mask.get("counts"), size[0] * size[1]):
            counts, pixels = mask.get("counts"), f"{size[0]} x {size[1]} pixels"
            return "segmentation.counts", counts, f"run lengths that add up to {pixels}"
    elif mask is not None:
        return "segmentation", mask, "a list of polygons, or a run-length encoded mask"
    return None


def _is_numbers(value: Any) -> bool:
    try:
        # Summing is the fastest look at all of them.
        return isinstance(value, list) and math.isfinite(sum(value))
    except (TypeError, OverflowError):
        return False


def _fills(counts: object, pixels: int) -> bool:
    """Whether run lengths, as a list or compressed, cover a mask: pycocotools does not look."""
    if isinstance(counts, list):
        return all(type(each) is int and each >= 0 for each in counts) and sum(counts) == pixels
    if isinstance(counts, bytes):  # what Detectron2 made of a list
        counts = counts.decode("ascii")
    return isinstance(counts, str) and covers(counts, pixels)
