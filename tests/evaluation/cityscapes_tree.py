"""A small Cityscapes tree and detections in it, the same from a seed whatever the versions are.

numpy and Pillow alone, since cityscapes_reference.py uses it beside cityscapesscripts.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 256, 128
EGO = 116  # the first row of void at the bottom
CITIES = ("aachen", "ulm")
CLASSES = {
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
NUMBERS = {
    "ego vehicle": 1,
    "static": 4,
    "road": 7,
    "building": 11,
    "polegroup": 18,
    "sky": 23,
    "caravan": 29,
    "trailer": 30,
    **CLASSES,
}
WITH_OBJECTS = ("caravan", "trailer", *CLASSES)


class Case(NamedTuple):
    """A tree and detections in it.

    Classes `without` objects have groups and tiny objects at most; of `undetected` ones nothing is
    detected.
    """

    seed: int
    without: Sequence[str] = ()
    undetected: Sequence[str] = ()


CASES = {
    "all classes": Case(0),
    "other detections": Case(1),
    "classes without objects": Case(2, without=("train", "bus")),
    "a class that is not detected": Case(3, undetected=("truck",)),
    "both": Case(4, without=("rider",), undetected=("person", "train")),
}


class Shape(NamedTuple):
    """A rectangle with its label, both corners included; it may reach out of the image."""

    label: str
    x0: int
    y0: int
    x1: int
    y1: int
    deleted: int = 0


class Detection(NamedTuple):
    """A mask (H x W) of a label with its score."""

    label: str
    score: float
    mask: Any


def whole(random: Random, low: int, high: int) -> int:
    """A whole number from low to high."""
    return low + int(random.random() * (high - low + 1))


def rectangle(random: Random, label: str, width: int, height: int, *, beyond: int = 0) -> Shape:
    """A rectangle of a size somewhere in the image, or up to `beyond` pixels out of it."""
    x = whole(random, -beyond, WIDTH - width + beyond)
    y = whole(random, -beyond, HEIGHT - height + beyond)
    return Shape(label, x, y, x + width - 1, y + height - 1)


def scene(random: Random, without: Sequence[str]) -> list[Shape]:
    """The shapes of an image, each over those before it."""
    shapes = [Shape("sky", 0, 0, WIDTH - 1, 60), Shape("road", 0, 61, WIDTH - 1, HEIGHT - 1)]
    shapes += [rectangle(random, "building", 60, 50), rectangle(random, "polegroup", 9, 40)]
    for label in WITH_OBJECTS:
        if random.random() < 0.5:
            group = (whole(random, 6, 40), whole(random, 6, 30))
            shapes.append(rectangle(random, f"{label}group", *group))
        if label not in without:
            for _ in range(whole(random, 1, 2)):
                size = (whole(random, 12, 60), whole(random, 10, 45))
                shapes.append(rectangle(random, label, *size, beyond=12))
        if random.random() < 0.4:
            shapes.append(rectangle(random, label, whole(random, 4, 11), 9))
    removed = rectangle(random, "car", 40, 40)
    shapes += [removed._replace(deleted=1), rectangle(random, "license plate", 9, 4)]
    shapes += [rectangle(random, "static", 30, 20), rectangle(random, "static", 14, 14)]
    return [*shapes, Shape("ego vehicle", 0, EGO, WIDTH - 1, HEIGHT - 1)]


def instance_ids(shapes: Sequence[Shape]) -> np.ndarray:
    """The pixels of instanceIds.png, H x W."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint16)
    counts = dict.fromkeys(WITH_OBJECTS, 0)
    for label, x0, y0, x1, y1, deleted in shapes:
        if deleted or label == "license plate":
            continue
        number = NUMBERS[label if label in NUMBERS else label.removesuffix("group")]
        if label in counts:
            number = 1000 * number + counts[label]
            counts[label] += 1
        ids[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = number
    return ids


def polygons(shapes: Sequence[Shape]) -> dict[str, Any]:
    """The content of polygons.json."""
    objects = [
        {"label": label, "deleted": deleted, "polygon": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]}
        for label, x0, y0, x1, y1, deleted in shapes
    ]
    return {"imgWidth": WIDTH, "imgHeight": HEIGHT, "objects": objects}


def write_tree(root: Path, case: Case, splits: Sequence[str] = ("val",), frames: int = 2) -> None:
    """Write ROOT/leftImg8bit and ROOT/gtFine, for each split `frames` images of each city."""
    for split in splits:
        random = Random(f"{split} {case.seed}")
        for city in CITIES:
            labels, images = (root / kind / split / city for kind in ("gtFine", "leftImg8bit"))
            for folder in (labels, images):
                folder.mkdir(parents=True)
            for frame in range(frames):
                shapes = scene(random, case.without)
                ids = instance_ids(shapes)
                name = f"{city}_{frame:06}_000019"
                Image.fromarray(ids).save(labels / f"{name}_gtFine_instanceIds.png")
                text = json.dumps(polygons(shapes))
                (labels / f"{name}_gtFine_polygons.json").write_text(text)
                colours = np.stack([ids * 7 % 256, ids * 31 % 256, ids // 1000 * 8], axis=2)
                Image.fromarray(colours.astype(np.uint8)).save(images / f"{name}_leftImg8bit.png")


def label_files(root: Path) -> list[Path]:
    """The instance ids of a tree's val split, in order."""
    return sorted((root / "gtFine" / "val").glob("*/*_gtFine_instanceIds.png"))


def detections(ids: np.ndarray, random: Random, undetected: Sequence[str]) -> list[Detection]:
    """Detections in an image: objects, groups and void, more or less exact, repeated and wrong."""
    labels = {number: label for label, number in NUMBERS.items()}
    classes = [label for label in CLASSES if label not in undetected]
    drawn = []
    for number in np.unique(ids).tolist():
        label = labels.get(number if number < 1000 else number // 1000, "")
        copies = whole(random, 0, 3) if label in WITH_OBJECTS else whole(random, 0, 1)
        for _ in range(copies):
            own = label if label in classes and random.random() < 0.9 else ""
            name = own or classes[whole(random, 0, len(classes) - 1)]
            drawn.append(Detection(name, 0.0, moved(ids == number, random)))
    for _ in range(4):
        name = classes[whole(random, 0, len(classes) - 1)]
        size = (whole(random, 5, 50), whole(random, 5, 50))
        _, x0, y0, x1, y1, _ = rectangle(random, name, *size)
        mask = np.zeros(ids.shape, bool)
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
        drawn.append(Detection(name, 0.0, mask))
    for inside in (5, 6, 7):  # of ten rows in void, a share that is a threshold
        mask = np.zeros(ids.shape, bool)
        x = whole(random, 0, WIDTH - 20)
        mask[EGO - 10 + inside : EGO + inside, x : x + 20] = True
        drawn.append(Detection(classes[whole(random, 0, len(classes) - 1)], 0.0, mask))
    drawn.append(Detection(classes[0], 0.0, np.zeros(ids.shape, bool)))
    # Few different scores, so that some are equal.
    return [detection._replace(score=whole(random, 1, 40) / 40) for detection in drawn]


def moved(mask: np.ndarray, random: Random) -> np.ndarray:
    """The mask as it is, or moved by some pixels, or cut."""
    kind = random.random()
    if kind < 0.3:
        return mask
    if kind < 0.7:
        return np.roll(mask, (whole(random, -4, 4), whole(random, -5, 5)), (0, 1))
    columns = np.flatnonzero(mask.any(axis=0))
    end = columns[0] + int((columns[-1] - columns[0]) * (0.4 + 0.6 * random.random()))
    return mask & (np.arange(mask.shape[1]) <= end)


def detections_of(root: Path, case: Case) -> Iterator[tuple[Path, list[Detection]]]:
    """The detections in each image of a tree's val split, by its file of instance ids."""
    random = Random(f"detections {case.seed}")
    for path in label_files(root):
        ids = np.array(Image.open(path)).astype(int)
        yield path, detections(ids, random, case.undetected)
