"""The sample set on disk: images and one VIA 2 project a split, whole or not at all."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from roilab import via
from roilab.errors import UserError
from roilab.files import part_of_folder, read_json, remove_parts
from roilab.skeleton import COCO_PERSON
from roilab.synthetic.scene import Figure, Scene, draw_scene
from roilab.via.records import TAGS

CLASSES = ("person", "car")
# Counted up when the same arguments give other bytes: an older set is not taken for a new one.
_DRAWING = 2
# Names of files.
_ARGUMENTS = "figures.json"
_PROJECT = "via_project.json"
_SKELETON = "skeleton.json"
_QUALITY = 95  # of JPEG


@dataclass(frozen=True, slots=True)
class FiguresPaths:
    """The paths of a sample set; the images of a split lie beside its project.

    Attributes:
        train, val: the VIA 2 projects.
        skeleton: the skeleton declaration, for `roilab.skeleton.load_skeleton`.
        reused: whether it was there already.
    """

    train: Path
    val: Path
    skeleton: Path
    reused: bool


def write_figures(
    out: str | Path,
    train: int = 800,
    val: int = 64,
    size: int = 256,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    *,
    car_share: float | None = None,
) -> FiguresPaths:
    """Draw a sample set into the folder `out`, whole or not at all, or reuse the one in it.

    The same `size`, `seed` and `car_share` give the same image i of a split, whatever the number of
    images.

    Args:
        train, val: number of images of each split.
        size: width and height in pixels, at least 64.
        progress: called with the number of images done so far, after each.
        car_share: the share of cars among the objects, from 0 to 1; None: about a third.

    Raises:
        UserError: a number is out of range, `out` holds anything else than this very set, or it
            cannot be written.
    """
    numbers = {"train": train, "val": val, "size": size, "seed": seed}
    problem = "the sample set cannot be drawn so"
    for (key, value), least in zip(numbers.items(), (1, 1, 64, 0), strict=True):
        if value < least:
            raise UserError(problem, key=key, found=value, expected=f"at least {least}")
    if car_share is not None and not 0 <= car_share <= 1:
        expected = "a share from 0 to 1, such as 0.05"
        raise UserError(problem, key="car_share", found=car_share, expected=expected)
    out = Path(out)
    arguments: dict[str, Any] = {"drawing": _DRAWING, **numbers}
    if car_share is not None:
        arguments["car_share"] = car_share
    train_file, val_file = out / "train" / _PROJECT, out / "val" / _PROJECT
    paths = FiguresPaths(train_file, val_file, out / _SKELETON, reused=True)
    if _is_drawn(out, arguments):
        return paths
    try:
        with part_of_folder(out) as work:
            remove_parts(out.parent)
            _write_all(work, arguments, progress)
            work.replace(out)
    except OSError as error:
        message = "cannot write the sample set"
        remedy = "free space on the disk, or use another folder"
        reason = error.strerror or error
        raise UserError(message, file=error.filename or out, found=reason, remedy=remedy) from error
    return replace(paths, reused=False)


def sample_scene(
    split: str, index: int, size: int, seed: int, car_share: float | None = None
) -> Scene:
    """Image `index` of a split ("train" or "val") of the sample set."""
    rng = np.random.default_rng([seed, ("train", "val").index(split), index])
    return draw_scene(rng, size, car_share)


def region_attributes() -> dict[str, via.Attribute]:
    """The region attributes of the projects, as VIA declares them; their tags say their roles."""
    kinds = {
        "class": ("dropdown", "what it is", CLASSES),
        "instance": ("text", "the same for all outlines and points of one object", ()),
        "keypoint": ("dropdown", "which joint", COCO_PERSON.keypoints),
        "visibility": ("radio", "of the joint", ("visible", "occluded")),
    }
    return {
        name: via.Attribute(
            name, kind, f"{text} {TAGS[name]}", {option: option for option in options}
        )
        for name, (kind, text, options) in kinds.items()
    }


def regions(figures: tuple[Figure, ...]) -> tuple[via.Region, ...]:
    """The regions a person would draw: each object's outlines, then its joints."""
    drawn: list[tuple[via.Shape, Mapping[str, via.Value]]] = []
    for number, figure in enumerate(figures, start=1):
        instance = str(number)
        for ring in figure.polygons:
            shape = via.Polygon.through((float(x), float(y)) for x, y in ring)
            drawn.append((shape, {"class": figure.label, "instance": instance}))
        for name, (x, y, visible) in figure.keypoints.items():
            seen = "visible" if visible else "occluded"
            values = {"instance": instance, "keypoint": name, "visibility": seen}
            drawn.append((via.Point(x, y), values))
    return tuple(via.Region(number, *region) for number, region in enumerate(drawn))


def _write_all(
    folder: Path, arguments: Mapping[str, Any], progress: Callable[[int], None] | None
) -> None:
    """Write both splits, the skeleton and, last, the arguments."""
    done = 0
    scene = (arguments["size"], arguments["seed"], arguments.get("car_share"))
    for split in ("train", "val"):
        (folder / split).mkdir()
        records = []
        for index in range(arguments[split]):
            drawn = sample_scene(split, index, *scene)
            ok, jpeg = cv2.imencode(".jpg", drawn.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            name = f"{index:06d}.jpg"
            if not ok:
                raise OSError(f"cv2 cannot encode {name}")
            (folder / split / name).write_bytes(jpeg.tobytes())
            shapes = regions(drawn.figures)
            records.append(via.ImageRecord(f"{name}{jpeg.size}", name, jpeg.size, shapes))
            done += 1
            if progress is not None:
                progress(done)
        path = folder / split / _PROJECT
        annotations = via.Annotations(
            str(path), via.Container.VIA2_PROJECT, tuple(records), region_attributes(), {}
        )
        via.write_project(path, annotations)
    for name, data in ((_SKELETON, COCO_PERSON.to_dict()), (_ARGUMENTS, arguments)):
        (folder / name).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _is_drawn(out: Path, arguments: Mapping[str, Any]) -> bool:
    """Whether `out` already is the set of these arguments; False if it is empty or missing."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        stored = read_json(out / _ARGUMENTS)
    except UserError:
        stored = "something that is not a sample set"
    if stored != arguments:
        message = "the folder already holds something else"
        remedy = "delete the folder or give another one"
        raise UserError(message, file=out, found=stored, expected=arguments, remedy=remedy)
    return True
