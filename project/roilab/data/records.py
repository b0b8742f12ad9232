"""Labelled images -> Detectron2 dicts, with the names of their classes.

A point in VIA or COCO json is a pixel index; Detectron2 works in continuous coordinates, in which
the centre of pixel (0, 0) is (0.5, 0.5). Points are shifted by
`roilab.data.coordinates.to_continuous` alone; outlines and boxes are continuous already and are
never shifted (detectron2.data.datasets.coco, `load_coco_json`).
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from detectron2.structures import BoxMode
from pycocotools import mask as mask_utils

from roilab import via
from roilab.data.coordinates import HALF_PIXEL, box_of, own_box, to_continuous
from roilab.data.usable_images import SHOWN
from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via.labels.label_rules import folded

log = logging.getLogger(__name__)
OnProblems = Callable[[Sequence[via.Problem]], None]


def detectron2_record(
    number: int | str | None,
    file_name: str,
    image: via.LabelledImage,
    classes: Sequence[str],
    skeleton: Skeleton | None,
    size: tuple[int, int],
) -> dict[str, Any]:
    """The Detectron2 dict of an image of a `size`, width and height; its crowds come last.

    `number` is the image's id, None where it has yet to be numbered. An image of Cityscapes has
    `void`, the run-length encoded pixels on which detections are not judged.
    """
    instances = (*image.instances, *image.crowds)
    width, height = size
    annotations = [detectron2_annotation(one, classes, skeleton, *size) for one in instances]
    record: dict[str, Any] = {
        "file_name": file_name,
        "image_id": number,
        "width": width,
        "height": height,
        "annotations": annotations,
    }
    coco = image.record.coco
    if coco is not None and coco.void is not None:
        record["void"] = coco.void
    return record


def declared_ids(files: Sequence[via.Annotations], rules: via.LabelRules) -> dict[str, int | str]:
    """Class name -> its id in COCO files; empty where the files do not agree on theirs."""
    known: dict[str, int | str] = {}
    owners: dict[int | str, str] = {}
    for category in (category for file in files for category in file.categories):
        name = rules.mapped(category.name)
        if name is None:
            continue
        # Of categories that are made one, it is the one that has the name already, else the first.
        if name == category.name or name not in known:
            known[name] = category.id
        if owners.setdefault(category.id, name) != name:
            return {}
    return known


def class_names(
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
    declared = [name for category in categories if (name := rules.mapped(category))]
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


def similar_classes(sets: Sequence[via.LabelledSet]) -> Iterator[via.Problem]:
    """Warnings about names of several files that look like one; those of one file are known."""
    files: dict[str, dict[str, str]] = {}  # folded name -> names -> the first file that has it
    for labelled in sets:
        for name in labelled.classes:
            alike = files.setdefault(folded(name), {})
            alike.setdefault(name, labelled.file)
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
    instance: via.Instance,
    classes: Sequence[str],
    skeleton: Skeleton | None,
    width: int,
    height: int,
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
        result |= {"bbox": box_of(instance, width, height), "bbox_mode": BoxMode.XYXY_ABS}
    if coco is not None and coco.area is not None:
        result["area"] = coco.area
    if coco is not None and coco.mask is not None:
        result["segmentation"] = _mask(instance, coco.mask)
    elif coco is None and instance.outlines:
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
    instance: via.Instance, mask: Sequence[Sequence[float]] | Mapping[str, Any]
) -> Sequence[Sequence[float]] | Mapping[str, Any]:
    """The mask of a COCO annotation as it is in the file, run lengths compressed."""
    if isinstance(mask, Mapping):
        is_plain = isinstance(mask["counts"], list)
        return mask_utils.frPyObjects(mask, *mask["size"]) if is_plain else mask
    # Rings without area are left out of the instance.
    return mask if len(mask) == len(instance.outlines) else _rings(instance)


def _rings(instance: via.Instance) -> list[list[float]]:
    return [[float(value) for point in ring for value in point] for ring in instance.polygons]


def _on_last_pixel(index: float, size: int) -> float:
    """The pixel index of a point; the last one of the image for a point on the image's edge.

    Detectron2 drops a point beyond the edge as not labelled.
    """
    return size - 1 if size - HALF_PIXEL < index <= size + HALF_PIXEL else index
