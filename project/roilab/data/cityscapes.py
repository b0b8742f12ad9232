"""Cityscapes: its official tree of images and labels -> records, as of a COCO file.

The tree has ROOT/leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png and, for each image, labels of that
NAME in ROOT/gtFine/SPLIT/CITY: NAME_gtFine_instanceIds.png, by which Cityscapes evaluates, and
NAME_gtFine_polygons.json, of which it is drawn. A pixel of the former holds 1000 times the label of
an object plus the object's number, or the label alone: of a group of objects ("cargroup"), or of
what has no objects (https://www.cityscapes-dataset.com, and cityscapesScripts).
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pycocotools import mask as mask_utils

from roilab import via
from roilab.data.workers import available_cores
from roilab.errors import UserError, argument
from roilab.files import read_json
from roilab.image_files import errors_of_image
from roilab.text import first_of
from roilab.via.formats import coco
from roilab.via.formats.source import RingsOfRle, SourceFile
from roilab.via.records import collector_paused

# All labels, in the order of their numbers from 0.
_LABELS = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic"),
    *("ground", "road", "sidewalk", "parking", "rail track", "building", "wall", "fence"),
    *("guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan"),
    *("trailer", "train", "motorcycle", "bicycle"),
)
_NUMBERS = {name: number for number, name in enumerate(_LABELS)}
_VOID = (*range(7), 9, 10, 14, 15, 16, 18, 29, 30)  # labels on which detections are not judged
_WITH_OBJECTS = range(24, 34)
# Those whose masks are evaluated, with their numbers.
CLASSES = {_LABELS[number]: number for number in _WITH_OBJECTS if number not in _VOID}
_NOT_DRAWN = "license plate"
_OBJECT = 1000  # times the label
_IMAGES = "leftImg8bit"
_GT = "gtFine"
_IDS = "_gtFine_instanceIds.png"
_POLYGONS = "_gtFine_polygons.json"
_UNPACK = "unpack gtFine_trainvaltest.zip of Cityscapes again"


@dataclass(frozen=True)
class _LabelledObjects:
    """The labels of an image: the run-length encodings of its objects and of what is void.

    `objects` are by their number in the file, which is a label below `_OBJECT` for a group.
    """

    size: tuple[int, int]  # height, width
    objects: Mapping[int, dict[str, Any]]
    void: dict[str, Any]


def is_cityscapes(path: str | Path) -> bool:
    """Whether a path is a folder of a Cityscapes tree, or what would be one, by its layout."""
    path = Path(path).absolute()
    if path.is_file() or (path.suffix and not path.is_dir()):
        return False
    places = {path.name, path.parent.name, path.parent.parent.name}  # of a split, of a city
    return bool(places & {_GT, _IMAGES}) or (path / _GT).is_dir()


def image_folder(annotations: str | Path) -> Path:
    """The folder of the images that belong to a file, its own, or to the labels of a split."""
    labels = Path(annotations)
    if not is_cityscapes(labels):
        return labels.parent
    root = labels.parent.parent if len(labels.parts) > 1 else labels.absolute().parents[1]
    return root / _IMAGES / labels.name


def read_cityscapes(folder: str | Path, rings_of_rle: RingsOfRle) -> via.Annotations:
    """Read the labels of a split, ROOT/gtFine/SPLIT.

    The records are as of a COCO file: objects have their masks, groups of objects are crowds, and
    images the void on which detections are not judged. The images are named below `image_folder`.

    Args:
        rings_of_rle: see `roilab.via.read`.

    Raises:
        UserError: it is another folder, an image has no labels, or labels are not sound.
    """
    labels = Path(folder)
    require_labels(labels)
    files = _label_files(labels)
    _refuse_unlabelled(labels, set(files))
    with ThreadPoolExecutor(available_cores()) as threads:
        read = list(threads.map(_read_labels, files.values()))

    images = []
    annotations = []
    voids: dict[str, Mapping[str, object]] = {}
    for name, labelled in zip(files, read, strict=True):
        image_id = name.rpartition("/")[2]
        height, width = labelled.size
        file_name = f"{name}_{_IMAGES}.png"
        images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
        voids[image_id] = labelled.void
        for number, rle in labelled.objects.items():
            annotation = {
                "id": f"{image_id} {number}",
                "image_id": image_id,
                "category_id": number if number < _OBJECT else number // _OBJECT,
                "bbox": mask_utils.toBbox(rle).tolist(),
                "area": int(mask_utils.area(rle)),
                "segmentation": rle,
                "iscrowd": int(number < _OBJECT),
            }
            annotations.append(annotation)
    categories = [{"id": number, "name": name} for name, number in CLASSES.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    with collector_paused():
        source = SourceFile(str(labels), "", document, (), rings_of_rle, False)
        result = coco.parse(source, via.Container.CITYSCAPES)
    with_void = [
        replace(image, coco=image.coco and replace(image.coco, void=voids[str(image.coco.id)]))
        for image in result.images
    ]
    return replace(result, images=tuple(with_void))


def require_labels(folder: Path) -> None:
    """Make sure that a folder of a tree is that of the labels of a split, ROOT/gtFine/SPLIT.

    Raises:
        UserError: it is another one, or is not there.
    """
    path = folder.absolute()
    if path.parent.name == _GT and folder.is_dir():
        return
    root, split = path.parent.parent, path.name
    if path.parent.parent.name in (_GT, _IMAGES):  # a city
        root, split = path.parents[2], path.parent.name
    elif (path / _GT).is_dir():
        root, split = path, "train"
    elif path.name in (_GT, _IMAGES):
        root, split = path.parent, "train"
    splits = sorted(child.name for child in (root / _GT).glob("*") if child.is_dir())
    remedy = "unpack gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip there"
    if splits:
        labels = root / _GT / (split if split in splits else splits[-1])
        remedy = f"give the labels of a split: {argument('files', str(labels))}"
    raise UserError(
        "not the labels of a split of Cityscapes",
        file=folder,
        key="files",
        found=f"the splits {', '.join(splits)}" if splits else f"no split in {root / _GT}",
        expected=f"{root / _GT / 'SPLIT'}, whose images are in {root / _IMAGES / 'SPLIT'}",
        remedy=remedy,
    )


def _label_files(labels: Path) -> dict[str, Path]:
    """The labels of each image, by CITY/NAME: instanceIds, or polygons where there are none."""
    files: dict[str, Path] = {}
    for ending in (_POLYGONS, _IDS):  # the latter in place of the former
        for path in labels.glob(f"*/*{ending}"):
            files[f"{path.parent.name}/{path.name.removesuffix(ending)}"] = path
    if not files:
        raise UserError(
            "the folder has no labels of Cityscapes",
            file=labels,
            found=first_of(_other_labels(labels)) or "no file of labels",
            expected=f"CITY/NAME{_IDS}",
            remedy=_UNPACK,
        )
    return dict(sorted(files.items()))


def _other_labels(labels: Path, names: Iterable[str] = ("*/*",)) -> list[str]:
    """The kinds of label files that are there for images, such as labelTrainIds.png."""
    paths = [path for name in names for path in labels.glob(f"{name}_{_GT}_*")]
    return sorted({path.name.rpartition(f"_{_GT}_")[2] for path in paths})


def _refuse_unlabelled(labels: Path, known: set[str]) -> None:
    """Make sure that every image has labels: without them its objects would be background.

    Raises:
        UserError: an image or a city has none.
    """
    ending = f"_{_IMAGES}.png"
    images = image_folder(labels)
    names = [f"{p.parent.name}/{p.name.removesuffix(ending)}" for p in images.glob(f"*/*{ending}")]
    missing = sorted(set(names) - known)
    if not missing:
        return
    cities = sorted({name.partition("/")[0] for name in missing})
    lost = [city for city in cities if not (labels / city).is_dir()]
    others = _other_labels(labels, missing)
    if lost:
        message = "cities have images and no labels"
        text = f"no folder {first_of([str(labels / city) for city in lost])}"
    else:
        message = "images have no labels"
        text = f"{len(missing)} of {len(names)} images: {first_of(missing)}"
        if others:
            text += f", which have only {first_of(others)}"
    raise UserError(
        message,
        file=labels,
        found=text,
        expected=f"CITY/NAME{_IDS} for each CITY/NAME{ending} of {images}",
        remedy="unpack gtFine_trainvaltest.zip of Cityscapes again, or move the images without "
        f"labels out of {images}",
    )


def _read_labels(path: Path) -> _LabelledObjects:
    """The objects and the void of a file of labels.

    Raises:
        UserError: it is none.
    """
    ids = _drawn_polygons(path) if path.name.endswith(_POLYGONS) else _instance_ids(path)
    # Runs of one number, column by column, as COCO's run lengths have them.
    flat = ids.T.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    numbers = flat[starts]
    _refuse_other_numbers(path, np.unique(numbers))

    def rle_of(is_inside: npt.NDArray[np.bool_]) -> dict[str, Any]:
        return _run_lengths(starts[is_inside], ends[is_inside], ids.shape)

    labels = np.where(numbers < _OBJECT, numbers, numbers // _OBJECT)
    evaluated = np.unique(numbers[np.isin(labels, list(CLASSES.values()))])
    objects = {int(number): rle_of(numbers == number) for number in evaluated}
    # An object of a void label, such as a caravan, is judged; a group of them is void.
    void = rle_of(np.isin(numbers, _VOID))
    return _LabelledObjects((ids.shape[0], ids.shape[1]), objects, void)


def _run_lengths(
    starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp], size: tuple[int, ...]
) -> dict[str, Any]:
    """COCO's encoding, with counts as text, of runs of pixels in the order of columns."""
    separate = starts[1:] != ends[:-1]  # where two runs touch, they are one
    first = starts[np.append(starts.size > 0, separate)[: starts.size]]
    last = ends[np.append(separate, True)[: ends.size]]
    bounds = np.concatenate([[0], np.column_stack([first, last]).ravel(), [size[0] * size[1]]])
    rle = mask_utils.frPyObjects(
        {"size": list(size), "counts": np.diff(bounds).tolist()}, size[0], size[1]
    )
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _instance_ids(path: Path) -> npt.NDArray[np.int32]:
    """The numbers of an image of instance ids, H x W."""
    try:
        with errors_of_image(path), Image.open(path) as image:
            mode = image.mode
            ids = np.asarray(image).astype(np.int32) if mode.startswith("I") else None
    except UserError as error:
        raise error.replace(message="labels cannot be read", remedy=_UNPACK) from error
    if ids is None:
        raise UserError(
            "labels are no instance ids of Cityscapes",
            file=path,
            found=f"an image of 8 bits (mode {mode}), such as labelIds or labelTrainIds",
            expected="16 bits: 1000 times the label of an object, plus its number",
            remedy=_UNPACK,
        )
    return ids


def _refuse_other_numbers(path: Path, numbers: npt.NDArray[np.int32]) -> None:
    labels = np.where(numbers < _OBJECT, numbers, numbers // _OBJECT)
    known = np.where(numbers < _OBJECT, labels < len(_LABELS), np.isin(labels, _WITH_OBJECTS))
    if not known.all():
        raise UserError(
            "labels are no instance ids of Cityscapes",
            file=path,
            found=f"the numbers {first_of(numbers[~known].tolist())}",
            expected="labels from 0 to 33, and 1000 times one of 24 to 33 plus the number of an "
            "object; not the train ids that are made of them",
            remedy=_UNPACK,
        )


def _drawn_polygons(path: Path) -> npt.NDArray[np.int32]:
    """The instance ids that polygons give, H x W: each is drawn over those before it."""
    data = read_json(path, what="labels", remedy=_UNPACK)
    try:
        image = Image.new("I", (data["imgWidth"], data["imgHeight"]), 0)
        canvas = ImageDraw.Draw(image)
        counts = dict.fromkeys(_WITH_OBJECTS, 0)
        for shape in data["objects"]:
            name = shape["label"]
            if shape.get("deleted") or name == _NOT_DRAWN:
                continue
            is_group = name not in _LABELS
            number = _NUMBERS[name.removesuffix("group") if is_group else name]
            if number in counts and not is_group:
                counts[number] += 1
                number = number * _OBJECT + counts[number] - 1
            canvas.polygon([(x, y) for x, y in shape["polygon"]], fill=number)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            "labels are no polygons of Cityscapes",
            file=path,
            found=f"{type(error).__name__}: {error}",
            expected="imgWidth, imgHeight, and objects with a label and a polygon",
            remedy=_UNPACK,
        ) from error
    return np.asarray(image).astype(np.int32)
