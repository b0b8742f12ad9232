"""VIA files and the images they name -> Detectron2 dicts."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roilab import via
from roilab.data.check import SEVERITIES
from roilab.data.coco_ids import CocoIds
from roilab.data.dicts import annotation
from roilab.data.locate import locate
from roilab.data.missing import SHOWN, Unusable
from roilab.data.outside import outside
from roilab.data.read import read
from roilab.errors import UserError
from roilab.images import ImageFolder
from roilab.skeleton import Skeleton

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What annotation files became.

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


def from_via(
    paths: Sequence[Path],
    roots: Sequence[Sequence[Path]],
    rules: via.LabelRules,
    classes: Sequence[str] | None,
    skeleton: Skeleton | None,
    strict: bool,
    missing_images: Literal["error", "skip"],
) -> Found:
    """Read and label files, and look at their images; problems go to the log.

    Args:
        roots: the folders of each file's images.
        classes: those of the model; None: those of the files, by name.
        rules, skeleton, strict, missing_images: see `roilab.data.dataset.load`.

    Raises:
        UserError: a file cannot be used, has a class that the model does not know or, where it is
            read strictly, an error; images are missing or broken, and are not to be skipped.
    """
    read_files = [read(path) for path in paths]
    sets = [via.label(annotations, rules, skeleton) for annotations in read_files]
    names = _class_names(sets, classes)
    problems = [problem for each in sets for problem in each.problems]
    problems += _alike(sets)
    folders = [
        ImageFolder(*below, default_path=annotations.default_path)
        for annotations, below in zip(read_files, roots, strict=True)
    ]
    records: list[dict[str, Any]] = []
    unusable = Unusable()
    lost: list[via.Problem] = []
    located = locate(list(zip(read_files, folders, strict=True)))
    for each, found in zip(sets, located, strict=True):
        problems += found.warnings
        for image, place in zip(each.images, found.places, strict=True):
            size = unusable.size_of(place, each.file, image.record.filename)
            if size is None:
                continue
            annotations = []
            for instance in image.instances:
                made = annotation(instance, names, skeleton, *size)
                x0, y0, x1, y1 = made["bbox"]
                if x0 < x1 and y0 < y1:
                    annotations.append(made)
                else:
                    lost.append(outside(each.file, image.record, instance, *size))
            records.append(
                {
                    "file_name": str(place),
                    "image_id": len(records) + 1,
                    "width": size[0],
                    "height": size[1],
                    "annotations": annotations,
                }
            )
    problems += lost
    log_problems(problems)
    if strict:
        via.refuse_errors(problems)
    missing = unusable.settle(missing_images, sum(len(each.images) for each in sets), paths)
    ids = CocoIds.numbered((record["image_id"] for record in records), len(names))
    return Found(names, records, ids, missing, len(lost))


def _class_names(sets: Sequence[via.LabelledSet], classes: Sequence[str] | None) -> tuple[str, ...]:
    found = sorted({name for each in sets for name in each.classes})
    names = tuple(classes) if classes is not None else tuple(found)
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise UserError(
            f"the annotations hold classes that the model does not know: {', '.join(unknown)}",
            file=", ".join(each.file for each in sets),
            key="data.classes",
            found=found,
            expected=list(names),
            remedy="rename, merge or drop classes with data.class_map={old: new, unwanted: null}",
        )
    return names


def _alike(sets: Sequence[via.LabelledSet]) -> Iterator[via.Problem]:
    """Warnings about names of several files that look like one; those of one file are known."""
    files: dict[str, dict[str, str]] = {}  # folded name -> names -> the first file that has it
    for each in sets:
        for name in each.classes:
            files.setdefault(" ".join(name.casefold().split()), {}).setdefault(name, each.file)
    for names in files.values():
        if len(set(names.values())) > 1:
            listed = ", ".join(f"'{name}' ({file})" for name, file in names.items())
            message = f"the classes {listed} differ only by case or white space"
            yield via.Problem(
                "warning", message, "make them one with class_map", list(names.values())[-1]
            )


def log_problems(problems: Sequence[via.Problem]) -> None:
    """Write problems to the log, the most severe first, a long list cut."""
    # What leaves something out is not to be hidden behind what does not.
    problems = sorted(problems, key=lambda problem: SEVERITIES.index(problem.severity))
    for problem in problems[:SHOWN]:
        log.log(logging.INFO if problem.severity == "note" else logging.WARNING, "%s", problem)
    if len(problems) > SHOWN:
        log.warning("%d more problems: see scripts/data.py check", len(problems) - SHOWN)
