"""The dataset node for a data set that is registered in Detectron2's `DatasetCatalog`."""

import difflib
import importlib.util
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from roilab import skeleton as skeletons
from roilab import via
from roilab.data.annotated_images import MissingImages, check_missing_images, leave_out_unusable
from roilab.data.catalog_records import (
    checked_annotation,
    checked_size,
    image_record,
    is_left,
    outline_bounds,
)
from roilab.data.coco import CocoIds, category_ids, image_numbers
from roilab.data.coordinates import box_fault
from roilab.data.dataset import DetectionDataset, registered
from roilab.data.records import OnProblems, log_problems
from roilab.errors import UserError
from roilab.skeleton import COCO_PERSON, DEFAULT_SIGMA, Skeleton, default_sigmas
from roilab.text import first_of

log = logging.getLogger(__name__)

# Values of `evaluator_type` whose data sets are evaluated by COCO's average precision.
_COCO_EVALUATORS = (None, "coco")


def from_catalog(
    name: str,
    *,
    register: str | None = None,
    rules: via.LabelRules = via.LabelRules(),  # noqa: B008 - frozen
    classes: Sequence[str] | None = None,
    skeleton: str | None = None,
    drop_empty: bool = False,
    min_keypoints: int = 0,
    strict: bool = False,
    missing_images: MissingImages = "error",
    on_problems: OnProblems = log_problems,
) -> DetectionDataset:
    """A data set of `DatasetCatalog` with its metadata, checked as an annotation file is.

    Args:
        name: under which it is registered.
        register: a Python file that registers it, run unless it is registered already; from a saved
            config only if the user has allowed this file (`roilab.engine.trusted`). A data set that
            only a config file registers is unknown where the run folder is evaluated.
        rules: whose `class_map` renames, merges or, by None, drops classes; the others are about
            attributes, which dicts do not have.
        classes: class names in the order of the model's outputs; None: `thing_classes`.
        skeleton: `coco_person` or a JSON file; None: that of the metadata's `keypoint_names`,
            `keypoint_flip_map` and `keypoint_connection_rules`, if there are any.
        drop_empty, min_keypoints, missing_images, on_problems: see
            `roilab.data.dataset.load_dataset`.
        strict: an object outside its image is an error; otherwise it is left out.

    Raises:
        UserError: it is not registered or cannot be loaded; its metadata or dicts are not sound; an
            image is missing or broken; nothing is left.
    """
    check_missing_images(missing_images)
    raw = _dicts(name, register)
    metadata = MetadataCatalog.get(name).as_dict()
    known = _categories(name, metadata)
    names, place = _class_places(name, list(known), classes, rules.class_map)
    bones = _skeleton(name, metadata, skeleton, raw, names, place)
    kind = metadata.get("evaluator_type")
    if kind not in _COCO_EVALUATORS:
        log.warning("%s: its evaluator is %r, but AP is COCO's, over all classes", name, kind)
    ids: dict[str, int | str] = {}
    for at, category_id in zip(place, known.values(), strict=True):
        if at is not None:
            ids.setdefault(names[at], category_id)  # the first of classes that became one
    categories = category_ids(names, ids)
    dataset = _read(name, raw, place, names, bones, categories, strict, missing_images, on_problems)
    return registered(
        dataset,
        origin=f"'{name}' of DatasetCatalog",
        label=name,
        drop_empty=drop_empty,
        min_keypoints=min_keypoints,
        remedy="register images with such annotations",
    )


def _dicts(name: str, register: str | None) -> list[Any]:
    if name not in DatasetCatalog and register is not None:
        _run(register)
    if name not in DatasetCatalog:
        near = difflib.get_close_matches(name, DatasetCatalog.list(), n=3)
        raise UserError(
            "no such data set is registered in DatasetCatalog",
            key="name" if register is None else "register",
            file=register,
            found=name,
            expected=f"perhaps {' or '.join(near)}" if near else None,
            remedy="give a Python file that registers it, register=FILE.py, to each split"
            if register is None
            else f"let the file call DatasetCatalog.register('{name}', FUNCTION)",
        )
    try:
        return list(DatasetCatalog.get(name))
    except Exception as error:  # of a function that is not ours
        raise UserError(
            "the function of a registered data set fails",
            key="name",
            found=f"{name}: {type(error).__name__}: {error}",
            expected="a list of Detectron2's dicts",
            remedy=f"see that DatasetCatalog.get('{name}') works in Python",
        ) from error


def _run(file: str) -> None:
    path = Path(file)
    if not path.is_file():
        expected = "a Python file that registers the data set"
        raise UserError("there is no such file", key="register", file=path, expected=expected)
    spec = importlib.util.spec_from_file_location(f"_registers_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError("not a Python file", key="register", file=path, expected="NAME.py")
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as error:
        raise UserError(
            "the file that registers a data set fails",
            key="register",
            file=path,
            found=f"{type(error).__name__}: {error}",
            expected="a file that Python runs by itself",
        ) from error


def _categories(name: str, metadata: Mapping[str, Any]) -> dict[str, int | str]:
    """Class name -> category id of its file, in the order of the dicts' `category_id`."""
    where = f"MetadataCatalog.get('{name}')"
    names: Any = metadata.get("thing_classes")
    sound = isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names)
    if not sound or len(set(names)) != len(names):
        raise UserError(
            f"the metadata of the data set '{name}' do not name its classes",
            key="thing_classes",
            found=names,
            expected="a list of different names, in the order of category_id",
            remedy=f"{where}.thing_classes = [...], where it is registered",
        )
    places = metadata.get("thing_dataset_id_to_contiguous_id")
    if places is None:
        return {label: number for number, label in enumerate(names, start=1)}
    numbers = list(places.values()) if isinstance(places, Mapping) else [places]
    sound = all(isinstance(place, int) for place in numbers)
    if not sound or set(numbers) != set(range(len(names))):
        raise UserError(
            f"the metadata of the data set '{name}' do not agree",
            key="thing_dataset_id_to_contiguous_id",
            found=places,
            expected=f"category ids of 0 to {len(names) - 1}, the places in thing_classes",
        )
    ids = {place: id_ for id_, place in reversed(list(places.items()))}
    return {label: ids[place] for place, label in enumerate(names)}


def _class_places(
    name: str,
    own: Sequence[str],
    classes: Sequence[str] | None,
    class_map: Mapping[str, str | None],
) -> tuple[tuple[str, ...], list[int | None]]:
    """The class names, and for each class of the catalog its place among them; None: dropped."""
    unknown = sorted(set(class_map) - set(own))
    if unknown:
        raise UserError(
            f"the data set '{name}' does not have a class that is mapped",
            key="class_map",
            found=unknown,
            expected=f"of {', '.join(own)}",
        )
    mapped = [class_map.get(label, label) for label in own]
    kept = tuple(dict.fromkeys(label for label in mapped if label is not None))
    names = kept if classes is None else tuple(classes)
    if not names or not set(kept) <= set(names):
        raise UserError(
            f"the classes of the data set '{name}' are not those of the model",
            key="classes",
            found=list(kept),
            expected=f"of {', '.join(names)}" if names else "at least one class",
            remedy='rename, merge or drop classes with class_map={"OLD": "NEW", "UNWANTED": null}',
        )
    return names, [None if label is None else names.index(label) for label in mapped]


def _skeleton(
    name: str,
    metadata: Mapping[str, Any],
    source: str | None,
    raw: Sequence[Any],
    classes: Sequence[str],
    place: Sequence[int | None],
) -> Skeleton | None:
    """The skeleton that is given, which the metadata must not contradict, or the metadata's."""
    bones = None if source is None else skeletons.load_skeleton(source)
    keypoints = metadata.get("keypoint_names")
    if keypoints is None:
        return bones
    swaps = metadata.get("keypoint_flip_map")
    try:
        keypoints = tuple(map(str, keypoints))
        declared = Skeleton(
            name=name,
            classes=_with_keypoints(raw, classes, place) or tuple(classes),
            keypoints=keypoints,
            swaps=tuple((str(a), str(b)) for a, b in swaps or ()),
            links=tuple(
                (str(a), str(b)) for a, b, _ in metadata.get("keypoint_connection_rules") or ()
            ),
            sigmas=default_sigmas(keypoints),
        )
    except (TypeError, ValueError, UserError) as error:
        raise UserError(
            f"the keypoints in the metadata of the data set '{name}' are not sound",
            key=getattr(error, "key", None) or "keypoint_names",
            found=getattr(error, "found", None) or error,
            expected=getattr(error, "expected", None)
            or "keypoint_names: names; keypoint_flip_map: pairs of them; "
            "keypoint_connection_rules: (name, name, colour)",
        ) from error
    if swaps is None and any("left" in keypoint or "right" in keypoint for keypoint in keypoints):
        raise UserError(
            f"the metadata of the data set '{name}' do not say what a mirror image exchanges",
            key="keypoint_flip_map",
            found=None,
            expected="pairs of keypoint_names, left and right; [] where there are none",
            remedy=f"MetadataCatalog.get('{name}').keypoint_flip_map = [...]",
        )
    if bones is None:
        guessed = [keypoint for keypoint in keypoints if keypoint not in COCO_PERSON.keypoints]
        if guessed:
            log.warning(
                "%s: the sigmas of OKS are %g for %s, since metadata hold none; a skeleton file as "
                "data.skeleton gives others",
                *(name, DEFAULT_SIGMA, ", ".join(guessed)),
            )
        return declared
    for key, ours, theirs in (
        ("keypoint_names", bones.keypoints, keypoints),
        ("keypoint_flip_map", _pairs(bones.swaps), _pairs(declared.swaps)),
    ):
        if ours != theirs:
            raise UserError(
                f"the skeleton is not that of the data set '{name}'",
                key="skeleton",
                found=f"{bones.name}: {ours}",
                expected=f"{key} of its metadata: {theirs}",
                remedy="leave the skeleton to the metadata: skeleton=null",
            )
    return bones


def _with_keypoints(
    raw: Sequence[Any], classes: Sequence[str], place: Sequence[int | None]
) -> tuple[str, ...]:
    """The classes of which an annotation has keypoints; what is unsound is reported elsewhere."""
    categories = [
        anno.get("category_id")
        for record in raw
        if isinstance(record, Mapping)
        for anno in record.get("annotations") or ()
        if isinstance(anno, Mapping) and anno.get("keypoints") is not None
    ]
    at = {
        place[category]
        for category in categories
        if isinstance(category, int) and 0 <= category < len(place)
    }
    return tuple(label for index, label in enumerate(classes) if index in at)


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Pairs in an order of their own, so that they can be compared."""
    return sorted(sorted(pair) for pair in pairs)


def _read(
    name: str,
    raw: Sequence[Any],
    place: Sequence[int | None],
    names: tuple[str, ...],
    bones: Skeleton | None,
    categories: tuple[int | str, ...],
    strict: bool,
    missing_images: MissingImages,
    on_problems: OnProblems,
) -> DetectionDataset:
    """All images that can be used, with checked annotations."""
    records: list[dict[str, Any]] = []
    problems: list[via.Problem] = []
    missing: list[via.Problem] = []
    broken: list[via.Problem] = []
    for number, raw_record in enumerate(raw):
        record = image_record(name, number, raw_record)
        size = checked_size(name, raw_record)
        if isinstance(size, via.Problem):
            (broken if Path(raw_record["file_name"]).is_file() else missing).append(size)
            continue
        record["width"], record["height"] = size
        record["annotations"], more = _annotations(name, record, raw_record, place, names, bones)
        problems += more
        records.append(record)
    left_out = leave_out_unusable(
        missing,
        broken,
        missing_images,
        total=len(raw),
        origin=f"'{name}' of DatasetCatalog",
        key="name",
        remedy="put them there, or leave them out with missing_images=skip",
    )
    problems.sort(key=lambda problem: via.SEVERITIES.index(problem.severity))
    on_problems(problems)
    if strict:
        via.refuse_errors(problems)
    files = Counter(os.path.realpath(record["file_name"]) for record in records)
    if double := sorted(file for file, count in files.items() if count > 1):
        log.warning("%s: images that occur more than once: %s", name, first_of(double, 5, "; "))
    counts = Counter(record["image_id"] for record in records)
    if repeated := [repr(image_id) for image_id, count in counts.items() if count > 1]:
        raise UserError(
            f"images of the data set '{name}' share an image_id",
            key="image_id",
            found=first_of(repeated, separator="; "),
            expected="another one for each image",
        )
    own = [record["image_id"] for record in records]
    numbers = image_numbers(own)
    for record, number in zip(records, numbers, strict=True):
        record["image_id"] = number
    ids = CocoIds(dict(zip(numbers, own, strict=True)), categories)
    outside = sum(problem.severity == "error" for problem in problems)
    return DetectionDataset("", tuple(records), names, bones, ids, 0, left_out, outside)


def _annotations(
    name: str,
    record: Mapping[str, Any],
    raw: Mapping[str, Any],
    place: Sequence[int | None],
    names: Sequence[str],
    bones: Skeleton | None,
) -> tuple[list[dict[str, Any]], list[via.Problem]]:
    """The annotations of which something lies in their image, and their problems."""
    annotations, problems = [], []
    width, height = record["width"], record["height"]
    points = None if bones is None else len(bones.keypoints)
    for at, anno in enumerate(raw["annotations"]):
        checked = checked_annotation(name, record, at, anno, len(place), points)
        index = place[checked["category_id"]]
        if index is None:
            continue
        checked["category_id"] = index
        text = f"annotation {at}, a {names[index]}"
        if not is_left(checked, width, height, bones):
            message = f"left out: {text}, has no extent in the image of {width} x {height}"
            remedy = "delete the annotation, or see that the image is the annotated one"
            problems.append(via.Problem("error", message, remedy, name, record["file_name"]))
            continue
        if fault := box_fault(checked["bbox"], outline_bounds(checked), width, height):
            message = f"the box of {text}, {fault}"
            remedy = "see that bbox_mode is that of bbox: XYXY_ABS or XYWH_ABS"
            problems.append(via.Problem("warning", message, remedy, name, record["file_name"]))
        annotations.append(checked)
    return annotations, problems
