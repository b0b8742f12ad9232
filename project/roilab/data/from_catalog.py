"""The dataset node for a data set that is registered in Detectron2's `DatasetCatalog`."""

import difflib
import importlib.util
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from roilab import skeleton as skeletons
from roilab import via
from roilab.data import catalog_records, coco, usable_images
from roilab.data.coordinates import box_fault
from roilab.data.dataset import DetectionDataset, registered
from roilab.data.records import OnProblems, log_problems
from roilab.data.usable_images import MissingImages
from roilab.errors import UserError
from roilab.skeleton import Skeleton
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
    usable_images.check_missing_images(missing_images)
    raw = _dicts(name, register)
    metadata = MetadataCatalog.get(name).as_dict()
    known = _categories(name, metadata)
    names, places = _class_places(name, list(known), classes, rules.class_map)
    bones = _skeleton(name, metadata, skeleton, raw, names, places)
    kind = metadata.get("evaluator_type")
    if kind not in _COCO_EVALUATORS:
        log.warning("%s: its evaluator is %r, but AP is COCO's, over all classes", name, kind)
    ids: dict[str, int | str] = {}
    for place, category_id in zip(places, known.values(), strict=True):
        if place is not None:
            ids.setdefault(names[place], category_id)  # the first of classes that became one
    categories = coco.category_ids(names, ids)
    dataset = _read(
        name, raw, places, names, bones, categories, strict, missing_images, on_problems
    )
    return registered(
        dataset,
        origin=f"'{name}' of DatasetCatalog",
        drop_empty=drop_empty,
        min_keypoints=min_keypoints,
        remedy="register images with such annotations",
    )


def _run_registration(path: Path) -> None:
    """Run the Python file that registers a data set."""
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


def _dicts(name: str, register: str | None) -> list[Any]:
    """The dicts of a data set, not yet checked; `register` is run if its name is unknown."""
    if name not in DatasetCatalog and register is not None:
        _run_registration(Path(register))
    if name not in DatasetCatalog:
        near = difflib.get_close_matches(name, DatasetCatalog.list(), n=3)
        remedy = 'give a Python file that registers it, register="FILE.py", to each split'
        if register is not None:
            remedy = f"let the file call DatasetCatalog.register('{name}', FUNCTION)"
        raise UserError(
            "no such data set is registered in DatasetCatalog",
            key="name" if register is None else "register",
            file=register,
            found=name,
            expected=f"perhaps {' or '.join(near)}" if near else None,
            remedy=remedy,
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


def _categories(name: str, metadata: Mapping[str, Any]) -> dict[str, int | str]:
    """Class name -> category id of its file, in the order of the dicts' `category_id`."""
    names: Any = metadata.get("thing_classes")
    is_list = isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names)
    if not is_list or len(set(names)) != len(names):
        message = f"the metadata of the data set '{name}' do not name its classes"
        expected = "a list of different names, in the order of category_id"
        remedy = f"MetadataCatalog.get('{name}').thing_classes = [...], where it is registered"
        raise UserError(message, key="thing_classes", found=names, expected=expected, remedy=remedy)
    key = "thing_dataset_id_to_contiguous_id"
    places = metadata.get(key)
    if places is None:
        return {label: number for number, label in enumerate(names, start=1)}
    numbers = list(places.values()) if isinstance(places, Mapping) else []
    are_places = all(isinstance(place, int) for place in numbers)
    if not are_places or set(numbers) != set(range(len(names))):
        message = f"the metadata of the data set '{name}' do not agree"
        expected = f"category ids of 0 to {len(names) - 1}, the places in thing_classes"
        raise UserError(message, key=key, found=places, expected=expected)
    # Of several ids of one class the first counts.
    ids: dict[int, int | str] = {}
    for category_id, place in places.items():
        ids.setdefault(place, category_id)
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
        message = f"the data set '{name}' does not have a class that is mapped"
        expected = f"of {', '.join(own)}"
        raise UserError(message, key="class_map", found=unknown, expected=expected)
    mapped = [class_map.get(label, label) for label in own]
    kept = tuple(dict.fromkeys(label for label in mapped if label is not None))
    names = kept if classes is None else tuple(classes)
    if not names or not set(kept) <= set(names):
        message = f"the classes of the data set '{name}' are not those of the model"
        expected = f"of {', '.join(names)}" if names else "at least one class"
        remedy = 'rename, merge or drop classes with class_map={"OLD": "NEW", "UNWANTED": null}'
        raise UserError(message, key="classes", found=list(kept), expected=expected, remedy=remedy)
    return names, [None if label is None else names.index(label) for label in mapped]


def _skeleton(
    name: str,
    metadata: Mapping[str, Any],
    source: str | None,
    raw: Sequence[Any],
    classes: Sequence[str],
    places: Sequence[int | None],
) -> Skeleton | None:
    """The skeleton that is given, which the metadata must not contradict, or the metadata's."""
    bones = None if source is None else skeletons.load_skeleton(source)
    if metadata.get("keypoint_names") is None:
        return bones
    declared = _declared_skeleton(name, metadata, _with_keypoints(raw, classes, places) or classes)
    if bones is not None:
        _refuse_other_skeleton(name, bones, declared)
        return bones
    known = skeletons.COCO_PERSON.keypoints
    unknown = [keypoint for keypoint in declared.keypoints if keypoint not in known]
    if unknown:
        log.warning(
            "%s: the sigmas of OKS are %g for %s, since metadata hold none; a skeleton file as "
            "data.skeleton gives others",
            *(name, skeletons.DEFAULT_SIGMA, ", ".join(unknown)),
        )
    return declared


def _declared_skeleton(name: str, metadata: Mapping[str, Any], classes: Sequence[str]) -> Skeleton:
    """The skeleton that the metadata of a data set declare, of the classes that have keypoints."""
    keypoints = metadata["keypoint_names"]
    swaps = metadata.get("keypoint_flip_map")
    links = metadata.get("keypoint_connection_rules")
    try:
        keypoints = tuple(map(str, keypoints))
        declared = Skeleton(
            name=name,
            classes=tuple(classes),
            keypoints=keypoints,
            swaps=tuple((str(a), str(b)) for a, b in swaps or ()),
            links=tuple((str(a), str(b)) for a, b, _ in links or ()),
            sigmas=skeletons.default_sigmas(keypoints),
        )
    except (TypeError, ValueError, UserError) as error:
        forms = (
            "keypoint_names: names; keypoint_flip_map: pairs of them; "
            "keypoint_connection_rules: (name, name, colour)"
        )
        raise UserError(
            f"the keypoints in the metadata of the data set '{name}' are not sound",
            key=getattr(error, "key", None) or "keypoint_names",
            found=getattr(error, "found", None) or error,
            expected=getattr(error, "expected", None) or forms,
        ) from error
    if swaps is None and any("left" in keypoint or "right" in keypoint for keypoint in keypoints):
        raise UserError(
            f"the metadata of the data set '{name}' do not say what a mirror image exchanges",
            key="keypoint_flip_map",
            found=None,
            expected="pairs of keypoint_names, left and right; [] where there are none",
            remedy=f"MetadataCatalog.get('{name}').keypoint_flip_map = [...]",
        )
    return declared


def _refuse_other_skeleton(name: str, bones: Skeleton, declared: Skeleton) -> None:
    """Raise a UserError where a skeleton contradicts the one that the metadata declare."""
    swaps = sorted(map(sorted, bones.swaps))
    declared_swaps = sorted(map(sorted, declared.swaps))
    for key, ours, theirs in (
        ("keypoint_names", bones.keypoints, declared.keypoints),
        ("keypoint_flip_map", swaps, declared_swaps),
    ):
        if ours != theirs:
            message = f"the skeleton is not that of the data set '{name}'"
            expected = f"{key} of its metadata: {theirs}"
            remedy = "leave the skeleton to the metadata: skeleton=null"
            own = f"{bones.name}: {ours}"
            raise UserError(message, key="skeleton", found=own, expected=expected, remedy=remedy)


def _with_keypoints(
    raw: Sequence[Any], classes: Sequence[str], places: Sequence[int | None]
) -> tuple[str, ...]:
    """The classes of which an annotation has keypoints; what is unsound is reported elsewhere."""
    indices: set[int | None] = set()
    for record in raw:
        with suppress(AttributeError, LookupError, TypeError):
            annos = [anno for anno in record["annotations"] if anno.get("keypoints") is not None]
            indices |= {places[anno["category_id"]] for anno in annos}
    return tuple(label for index, label in enumerate(classes) if index in indices)


def _read(
    name: str,
    raw: Sequence[Any],
    places: Sequence[int | None],
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
    for number, unchecked in enumerate(raw):
        record = catalog_records.image_record(name, number, unchecked)
        size = catalog_records.checked_size(name, unchecked)
        if isinstance(size, via.Problem):
            unusable = broken if Path(record["file_name"]).is_file() else missing
            unusable.append(size)
            continue
        record["width"], record["height"] = size
        record["annotations"], more = _annotations(
            name, record, unchecked["annotations"], places, names, bones
        )
        problems += more
        records.append(record)
    left_out = usable_images.leave_out_unusable(
        missing,
        broken,
        missing_images,
        total=len(raw),
        origin=f"'{name}' of DatasetCatalog",
        key="name",
        remedy="put them there, or leave them out with missing_images=skip",
    )
    on_problems(problems)
    if strict:
        via.refuse_errors(problems)
    files = Counter(os.path.realpath(record["file_name"]) for record in records)
    double = sorted(file for file, count in files.items() if count > 1)
    if double:
        log.warning("%s: images that occur more than once: %s", name, first_of(double, 5, "; "))
    own = [record["image_id"] for record in records]
    repeated = [repr(image_id) for image_id, count in Counter(own).items() if count > 1]
    if repeated:
        raise UserError(
            f"images of the data set '{name}' share an image_id",
            key="image_id",
            found=first_of(repeated, separator="; "),
            expected="another one for each image",
        )
    numbers = coco.image_numbers(own)
    for record, number in zip(records, numbers, strict=True):
        record["image_id"] = number
    ids = coco.CocoIds(dict(zip(numbers, own, strict=True)), categories)
    outside = sum(problem.severity == "error" for problem in problems)
    return DetectionDataset(
        name, tuple(records), names, bones, ids, missing=left_out, outside=outside
    )


def _annotations(
    name: str,
    record: Mapping[str, Any],
    raw: Sequence[Any],
    places: Sequence[int | None],
    names: Sequence[str],
    bones: Skeleton | None,
) -> tuple[list[dict[str, Any]], list[via.Problem]]:
    """The annotations of which something lies in their image, and their problems."""
    annotations = []
    problems = []
    width = record["width"]
    height = record["height"]
    file = record["file_name"]
    points = None if bones is None else len(bones.keypoints)
    for at, unchecked in enumerate(raw):
        anno = catalog_records.checked_annotation(name, record, at, unchecked, len(places), points)
        index = places[anno["category_id"]]
        if index is None:
            continue
        text = f"annotation {at}, a {names[index]}"
        if not catalog_records.is_in_image(anno, width, height, bones):
            message = f"left out: {text}, has no extent in the image of {width} x {height}"
            remedy = "delete the annotation, or see that the image is the annotated one"
            problems.append(via.Problem("error", message, remedy, name, file))
            continue
        outline = catalog_records.outline_bounds(anno)
        fault = box_fault(anno["bbox"], outline, width, height)
        if fault:
            remedy = "see that bbox_mode is that of bbox: XYXY_ABS or XYWH_ABS"
            message = f"the box of {text}, {fault}"
            problems.append(via.Problem("warning", message, remedy, name, file))
        annotations.append(anno | {"category_id": index})
    return annotations, problems
