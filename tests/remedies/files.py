"""Small annotation files with their images, for mistakes to be made in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (64, 48)
# Corners of a second polygon, and of one outside the image.
FAR = ((40, 5), (60, 5), (60, 25), (40, 25))
OUTSIDE = ((70, 5), (80, 5), (80, 15), (70, 15))
Region = dict[str, Any]


def polygon(*corners: tuple[float, float], **attributes: Any) -> Region:
    """A polygon; without corners one of 20 x 20 pixels at (5, 5)."""
    xs, ys = zip(*(corners or ((5, 5), (25, 5), (25, 25), (5, 25))), strict=True)
    shape = {"name": "polygon", "all_points_x": list(xs), "all_points_y": list(ys)}
    return {"shape_attributes": shape, "region_attributes": attributes}


def point(x: float, y: float, **attributes: Any) -> Region:
    """A point."""
    shape = {"name": "point", "cx": x, "cy": y}
    return {"shape_attributes": shape, "region_attributes": attributes}


def image(path: Path, shade: int = 90, size: tuple[int, int] = SIZE) -> Path:
    """Write an image of one shade of grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)
    return path


def entry(name: str, regions: Any, **more: Any) -> dict[str, Any]:
    """An image entry of VIA 2."""
    return {"filename": name, "size": -1, "regions": regions, "file_attributes": {}, **more}


def via_json(folder: Path, *images: Sequence[Region], name: str = "via.json") -> Path:
    """A VIA 2 JSON of images 0.png, 1.png ..., which it writes as well."""
    entries = {}
    for number, regions in enumerate(images):
        image(folder / f"{number}.png", 90 + number)
        entries[f"{number}.png-1"] = entry(f"{number}.png", regions)
    return write(folder / name, entries)


def via_project(
    folder: Path,
    *images: Sequence[Region],
    attributes: Mapping[str, Any],
    name: str = "project.json",
    **more: Any,
) -> Path:
    """The same as a VIA 2 project that declares region attributes."""
    entries = json.loads(via_json(folder, *images, name=name).read_text())
    project = {
        "_via_img_metadata": entries,
        "_via_attributes": {"region": attributes, "file": {}},
        "_via_settings": {},
        **more,
    }
    return write(folder / name, project)


def choice(type: str = "dropdown", **options: str) -> dict[str, Any]:
    """The declaration of a choice: option id = description."""
    return {"type": type, "description": "", "options": options, "default_options": {}}


def coco(folder: Path, *annotations: Mapping[str, Any], **more: Any) -> Path:
    """A COCO file of one image and one category, or of what `more` gives."""
    image(folder / "0.png")
    width, height = SIZE
    data = {
        "images": [{"id": 1, "file_name": "0.png", "width": width, "height": height}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 400, **annotation}
            for number, annotation in enumerate(annotations, start=1)
        ],
        "categories": [{"id": 1, "name": "dog"}],
        **more,
    }
    return write(folder / "coco.json", data)


SQUARE = {"segmentation": [[5, 5, 25, 5, 25, 25, 5, 25]], "bbox": [5, 5, 20, 20]}


def write(path: Path, data: Any) -> Path:
    """Write a text as it is, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def skeleton(folder: Path, name: str = "pet", **more: Any) -> Path:
    """A skeleton file of a dog with nose and tail."""
    data = {
        "name": name,
        "classes": ["dog"],
        "keypoints": ["nose", "tail"],
        "swaps": [],
        "links": [],
        "sigmas": [0.05, 0.05],
        **more,
    }
    return write(folder / f"{name}.json", data)
