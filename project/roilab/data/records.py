"""Annotation files of any kind and the images they name -> Detectron2 dicts."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roilab import via
from roilab.data.coco_ids import CocoIds, category_ids, image_numbers
from roilab.data.dataset_dicts import annotation
from roilab.data.fit import fit, image_size
from roilab.data.read import read
from roilab.data.resolve_images import locate
from roilab.data.unusable_images import SHOWN, Choice, Unusable
from roilab.errors import UserError
from roilab.image_files import ImageFolder
from roilab.skeleton import Skeleton
from roilab.text import counted
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
    missing_images: Choice,
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
    read_files = [read(path, is_brief=True) for path in paths]
    sets = [via.build_instances(annotations, rules, skeleton) for annotations in read_files]
    names = _class_names(read_files, sets, rules, classes)
    problems = [problem for each in sets for problem in each.problems]
    problems += _alike(sets)
    folders = [
        ImageFolder(*below, default_path=annotations.default_path)
        for annotations, below in zip(read_files, roots, strict=True)
    ]
    unusable = Unusable()
    outside = 0
    usable: list[tuple[via.LabelledImage, str, tuple[int, int]]] = []
    located = locate(list(zip(read_files, folders, strict=True)))
    for each, found in zip(sets, located, strict=True):
        problems += found.warnings
        for image, place in zip(each.images, found.places, strict=True):
            size = image_size(each.file, image.record, place)
            if isinstance(size, via.Problem):
                unusable.note(size, is_missing=isinstance(place, via.Problem))
                continue
            fitting, more = fit(each.file, image, *size)
            problems += more
            outside += sum(problem.severity == "error" for problem in more)
            usable.append((fitting, str(place), size))
    on_problems(problems)
    if strict:
        via.refuse_errors(problems)
    total = sum(len(each.images) for each in sets)
    missing = unusable.settle(
        missing_images,
        total,
        origin=", ".join(map(str, paths)),
        key="images",
        remedy="give the folder that holds them, images=DIR, or leave them out with "
        "missing_images=skip",
    )
    ids = [image.record.coco.id if image.record.coco else None for image, _, _ in usable]
    # Ids of several files may be the same.
    numbers = image_numbers(ids if len(paths) == 1 else [None] * len(ids))
    records = [
        _record(number, place, image, names, skeleton, size)
        for number, (image, place, size) in zip(numbers, usable, strict=True)
    ]
    coco_ids = _coco_ids(numbers, ids, read_files, rules, names)
    # As Detectron2's reader of COCO files has them; for other files it is their order.
    records.sort(key=lambda record: record["image_id"])
    return LoadedRecords(names, records, coco_ids, missing, outside)


def _record(
    number: int,
    place: str,
    image: via.LabelledImage,
    classes: Sequence[str],
    skeleton: Skeleton | None,
    size: tuple[int, int],
) -> dict[str, Any]:
    """The Detectron2 dict of an image; its crowds come last."""
    return {
        "file_name": place,
        "image_id": number,
        "width": size[0],
        "height": size[1],
        "annotations": [
            annotation(instance, classes, skeleton, *size)
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
    own = {number: each for number, each in zip(numbers, ids, strict=True) if each is not None}
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
    found = sorted({name for each in sets for name in each.classes})
    categories = [category.name for file in files for category in file.categories]
    declared = [name for each in categories if (name := rules.class_map.get(each, each))]
    if classes is None:
        return tuple(dict.fromkeys((*declared, *found)))
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise UserError(
            f"the annotations hold classes that the model does not know: {', '.join(unknown)}",
            file=", ".join(each.file for each in sets),
            key="classes",
            found=found,
            expected=list(classes),
            remedy='rename, merge or drop classes with class_map={"OLD": "NEW", "UNWANTED": null}',
        )
    return tuple(classes)


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
