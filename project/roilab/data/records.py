"""Annotation files of any kind and the images they name -> Detectron2 dicts.

A point in VIA or COCO json is a pixel index; Detectron2 works in continuous coordinates, in which
the centre of pixel (0, 0) is (0.5, 0.5). Points are shifted by
`roilab.data.coordinates.to_continuous` alone; outlines and boxes are continuous already and are
never shifted (detectron2.data.datasets.coco, `load_coco_json`).
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from pycocotools import mask as mask_utils

from roilab import via
from roilab.data.annotated_images import (
    SHOWN,
    MissingImages,
    find_images,
    fit_instances,
    leave_out_unusable,
    usable_size,
)
from roilab.data.coco import CocoIds, category_ids, image_numbers
from roilab.data.coordinates import HALF_PIXEL, box_of, own_box, to_continuous
from roilab.data.mask_to_polygons import box_of_rle
from roilab.errors import UserError
from roilab.image_files import ImageFolder
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via import Instance
from roilab.via.records import collector_paused

log = logging.getLogger(__name__)
OnProblems = Callable[[Sequence[via.Problem]], None]


@dataclass(frozen=True)
class LoadedRecords:
    """The records made of annotation files.

    Attributes:
        classes: names in the order of `category_id`.
        records: Detectron2 dicts of all images that can be used.
        coco_ids: of the images and classes in the file; without any, their numbers.
        missing, outside: images and instances that were left out, see `DetectionDataset`.
    """

    classes: tuple[str, ...]
    records: list[dict[str, Any]]
    coco_ids: CocoIds
    missing: int = 0
    outside: int = 0


@collector_paused()
def load_records(
    paths: Sequence[Path],
    roots: Sequence[Sequence[Path]],
    rules: via.LabelRules,
    classes: Sequence[str] | None,
    skeleton: Skeleton | None,
    strict: bool,
    missing_images: MissingImages,
    on_problems: OnProblems,
) -> LoadedRecords:
    """Read and label files, and look at their images.

    Args:
        roots: the folders of each file's images.
        rules, classes, skeleton, strict, missing_images, on_problems: see
            `roilab.data.dataset.load_dataset`.

    Raises:
        UserError: a file cannot be used, has a class that the model does not know or, where it is
            read strictly, an error; images are missing or broken, and are not to be skipped.
    """
    # For masks the box around them, and no points for keypoints: a region stands for each COCO
    # annotation, and `via.build_instances` takes the rest from that.
    read_files = [
        via.read(path, rings_of_rle=box_of_rle, keypoints_as_points=False) for path in paths
    ]
    sets = [via.build_instances(annotations, rules, skeleton) for annotations in read_files]
    names = _class_names(read_files, sets, rules, classes)
    problems = [problem for labelled in sets for problem in labelled.problems]
    problems += _alike(sets)
    folders = [
        ImageFolder(*below, default_path=annotations.default_path)
        for annotations, below in zip(read_files, roots, strict=True)
    ]
    missing: list[via.Problem] = []
    broken: list[via.Problem] = []
    outside = 0
    usable: list[tuple[via.LabelledImage, str, tuple[int, int]]] = []
    located = find_images(list(zip(read_files, folders, strict=True)))
    for labelled, located_images in zip(sets, located, strict=True):
        problems += located_images.warnings
        for image, place in zip(labelled.images, located_images.places, strict=True):
            size = usable_size(labelled.file, image.record, place)
            if isinstance(size, via.Problem):
                (missing if isinstance(place, via.Problem) else broken).append(size)
                continue
            fitting, more = fit_instances(labelled.file, image, *size)
            problems += more
            outside += sum(problem.severity == "error" for problem in more)
            usable.append((fitting, str(place), size))
    on_problems(problems)
    if strict:
        via.refuse_errors(problems)
    left_out = leave_out_unusable(
        missing,
        broken,
        missing_images,
        total=sum(len(labelled.images) for labelled in sets),
        origin=", ".join(map(str, paths)),
        key="images",
        remedy="give the folder that holds them, images=DIR, or leave them out with "
        "missing_images=skip",
    )
    ids = [image.record.coco.id if image.record.coco else None for image, _, _ in usable]
    # Ids of several files may be the same.
    numbers = image_numbers(ids if len(paths) == 1 else [None] * len(ids))
    records = [
        detectron2_record(number, place, image, names, skeleton, size)
        for number, (image, place, size) in zip(numbers, usable, strict=True)
    ]
    coco_ids = _coco_ids(numbers, ids, read_files, rules, names)
    # As Detectron2's reader of COCO files has them; for other files it is their order.
    records.sort(key=lambda record: record["image_id"])
    return LoadedRecords(names, records, coco_ids, left_out, outside)


def detectron2_record(
    number: int,
    file_name: str,
    image: via.LabelledImage,
    classes: Sequence[str],
    skeleton: Skeleton | None,
    size: tuple[int, int],
) -> dict[str, Any]:
    """The Detectron2 dict of an image; its crowds come last."""
    return {
        "file_name": file_name,
        "image_id": number,
        "width": size[0],
        "height": size[1],
        "annotations": [
            detectron2_annotation(instance, classes, skeleton, *size)
            for instance in (*image.instances, *image.crowds)
        ],
    }


def _coco_ids(
    numbers: Sequence[int],
    ids: Sequence[int | str | None],
    files: Sequence[via.Annotations],
    rules: via.LabelRules,
    classes: Sequence[str],
) -> CocoIds:
    """The ids of COCO files; the package's own numbers where the files do not agree on theirs.

    Args:
        ids: of the images in their files, None without one.
    """
    own = {
        number: file_id for number, file_id in zip(numbers, ids, strict=True) if file_id is not None
    }
    known: dict[str, int | str] = {}
    owners: dict[int | str, str] = {}
    for category in (category for file in files for category in file.categories):
        name = rules.class_map.get(category.name, category.name)
        if not name:
            continue
        # Of categories that are made one, it is the one that has the name already, else the first.
        if name == category.name or name not in known:
            known[name] = category.id
        if owners.setdefault(category.id, name) != name:
            return CocoIds.numbered(numbers, len(classes))
    if len(own) != len(ids) or len(set(ids)) != len(ids) or not known:
        return CocoIds.numbered(numbers, len(classes))
    return CocoIds(own, category_ids(classes, known))


def _class_names(
    files: Sequence[via.Annotations],
    sets: Sequence[via.LabelledSet],
    rules: via.LabelRules,
    classes: Sequence[str] | None,
) -> tuple[str, ...]:
    """The names of the classes: the model's, else the categories of COCO files, then by name.

    Raises:
        UserError: the files hold a class that the model does not know.
    """
    names = sorted({name for labelled in sets for name in labelled.classes})
    categories = [category.name for file in files for category in file.categories]
    declared = [
        name for category in categories if (name := rules.class_map.get(category, category))
    ]
    if classes is None:
        return tuple(dict.fromkeys((*declared, *names)))
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise UserError(
            f"the annotations hold classes that the model does not know: {', '.join(unknown)}",
            file=", ".join(labelled.file for labelled in sets),
            key="classes",
            found=names,
            expected=list(classes),
            remedy='rename, merge or drop classes with class_map={"OLD": "NEW", "UNWANTED": null}',
        )
    return tuple(classes)


def _alike(sets: Sequence[via.LabelledSet]) -> Iterator[via.Problem]:
    """Warnings about names of several files that look like one; those of one file are known."""
    files: dict[str, dict[str, str]] = {}  # folded name -> names -> the first file that has it
    for labelled in sets:
        for name in labelled.classes:
            files.setdefault(" ".join(name.casefold().split()), {}).setdefault(name, labelled.file)
    for names in files.values():
        if len(set(names.values())) > 1:
            listed = ", ".join(f"'{name}' ({file})" for name, file in names.items())
            message = f"the classes {listed} differ only by case or white space"
            remedy = 'make them one with class_map={"OLD": "NEW"}'
            yield via.Problem("warning", message, remedy, list(names.values())[-1])


def log_problems(problems: Sequence[via.Problem]) -> None:
    """Write problems to the log, the most severe first, a long list cut."""
    # What leaves something out is not to be hidden behind what does not.
    problems = sorted(problems, key=lambda problem: via.SEVERITIES.index(problem.severity))
    for problem in problems[:SHOWN]:
        log.log(logging.INFO if problem.severity == "note" else logging.WARNING, "%s", problem)
    if len(problems) > SHOWN:
        more = counted(len(problems) - SHOWN, "more problem")
        log.warning("%s: see roilab data check", more)


def detectron2_annotation(
    instance: Instance, classes: Sequence[str], skeleton: Skeleton | None, width: int, height: int
) -> dict[str, Any]:
    """One instance as a Detectron2 annotation, within an image of width x height.

    Of a COCO annotation it has the box, the mask and the area that the file states, as
    Detectron2's own reader of COCO files gives them. With a skeleton every annotation carries K x 3
    keypoints, zeros where there are none: Detectron2 decides by the first annotation of an image
    whether the image has keypoints at all.
    """
    coco = instance.coco
    result: dict[str, Any] = {
        "category_id": classes.index(instance.label),
        "iscrowd": int(coco is not None and coco.is_crowd),
    }
    if coco is not None and coco.box is not None and own_box(instance, width, height) is not None:
        result |= {"bbox": list(coco.box), "bbox_mode": BoxMode.XYWH_ABS}
    else:
        box = box_of(instance, width, height)
        result |= {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS}
    if coco is not None:
        if coco.area is not None:
            result["area"] = coco.area
        if coco.mask is not None:
            result["segmentation"] = _mask(instance, coco.mask)
    elif instance.outlines:
        result["segmentation"] = _rings(instance)
    if skeleton is not None:
        unlabelled = ((0.0, 0.0, 0),) * len(skeleton.keypoints)
        keypoints = instance.keypoints or unlabelled
        # VIA rounds a click on the last pixel of an enlarged image up to the edge.
        if any(x > width - 1 or y > height - 1 for x, y, _ in keypoints):
            keypoints = tuple(
                (_on_last_pixel(x, width), _on_last_pixel(y, height), v) for x, y, v in keypoints
            )
        result["keypoints"] = to_continuous(keypoints)
    return result


def _mask(
    instance: Instance, mask: Sequence[Sequence[float]] | Mapping[str, Any]
) -> Sequence[Sequence[float]] | Mapping[str, Any]:
    """The mask of a COCO annotation as it is in the file, run lengths compressed."""
    if isinstance(mask, Mapping):
        is_plain = isinstance(mask["counts"], list)
        return mask_utils.frPyObjects(mask, *mask["size"]) if is_plain else mask
    # Rings without area are left out of the instance.
    return mask if len(mask) == len(instance.outlines) else _rings(instance)


def _rings(instance: Instance) -> list[list[float]]:
    return [[float(value) for point in ring for value in point] for ring in instance.polygons]


def _on_last_pixel(index: float, size: int) -> float:
    """The pixel index of a point; the last one of the image for a point on the image's edge.

    Detectron2 drops a point beyond the edge as not labelled.
    """
    return size - 1 if size - HALF_PIXEL < index <= size + HALF_PIXEL else index
