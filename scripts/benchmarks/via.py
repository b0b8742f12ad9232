"""Reading VIA projects and their images, against json.loads, cv2.imread and what tutorials show."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.structures import BoxMode

from benchmarks import Benchmark, in_new_process, peak_memory_of
from roilab import via
from roilab.data import dataset
from roilab.errors import UserError
from roilab.image_files import header_size

REGIONS, VERTICES = 10, 24  # polygons an image, and their vertices
CLASSES = ["a", "b"]
RULES = via.LabelRules(class_attribute="class")


def via_read(folder: Path, images: int = 10_000) -> Benchmark:
    """Reading and labelling 100,000 polygons, against parsing the JSON: the least it can take."""
    path = write_polygons(folder / "project.json", images)
    polygons = sum(len(image.instances) for image in read(path).images)
    if polygons != images * REGIONS:
        raise UserError("polygons are lost", found=polygons, expected=images * REGIONS)
    works = partial(read, path), lambda: json.loads(path.read_text(encoding="utf-8"))
    return Benchmark("json.loads", *works, rounds=5, bar=(0, 6))


def via_linearity(folder: Path, large: int = 20_000, small: int = 1_000) -> Benchmark:
    """A region of 200,000 polygons, against one of 10,000."""
    large_file = write_polygons(folder / "large.json", large)
    small_file = write_polygons(folder / "small.json", small)
    repeats = 5  # of the small file, so that one moment of a noisy machine does not decide
    works = partial(read, large_file), lambda: [read(small_file) for _ in range(repeats)]
    regions = large * REGIONS, small * REGIONS * repeats
    return Benchmark("a region of a file with fewer", *works, 3, work=regions, bar=(0.75, 1.25))


def via_memory(folder: Path, images: int = 10_000) -> Benchmark:
    """The memory that reading and labelling takes at its peak, against the size of the file."""
    path = write_polygons(folder / "project.json", images)
    ours = partial(in_new_process, peak_memory_of, partial(read, path))
    works = ours, lambda: path.stat().st_size
    return Benchmark("the size of the file", *works, 1, unit="bytes", bar=(0, 12))


def via_image_size(folder: Path, images: int = 500) -> Benchmark:
    """Sizes of JPEG and PNG files of 640 x 480 pixels, half of each, from their headers."""
    paths = [folder / f"{index}{('.jpg', '.png')[index % 2]}" for index in range(images)]
    write_images(paths, (640, 480))
    works = lambda: list(map(header_size, paths)), lambda: list(map(decoded_size, paths))
    return Benchmark("cv2.imread", *works, rounds=5, work=(images, images), bar=(0, 1 / 20))


def load_dataset(folder: Path, images: int = 60) -> Benchmark:
    """About the content of the balloon set: as many photographs and polygons, as large.

    Tutorials parse the file, decode every image for its size, and check nothing; ours reads the
    sizes from the headers, and checks the file, every attribute and every image.
    """
    paths = [folder / f"{index}.jpg" for index in range(images)]
    write_images(paths, (1024, 768))
    sizes = {path.name: path.stat().st_size for path in paths}
    file = write_polygons(folder / "project.json", sizes, regions=4)

    def ours() -> list[dict[str, Any]]:
        return list(dataset.load_dataset(str(file), rules=RULES).records)

    check_equal(ours(), tutorial(file))
    name = "json.loads and cv2.imread of every image, no checks"
    return Benchmark(name, ours, lambda: tutorial(file))


def read(path: Path) -> via.LabelledSet:
    """The instances of a file, with every check."""
    return via.build_instances(via.read(path), RULES, None)


def write_polygons(path: Path, images: int | Mapping[str, int], regions: int = REGIONS) -> Path:
    """Write a VIA 2 project of polygons in two classes, the same in every image; return its path.

    Args:
        images: file names with sizes in bytes, or a number of images that do not exist.
    """
    if isinstance(images, int):
        images = {f"image_{index:06}.jpg": 1000 for index in range(images)}
    # VIA writes without spaces. The text of the regions is written once: there can be 200,000.
    polygons = json.dumps([region(index) for index in range(regions)], separators=(",", ":"))
    metadata = ",".join(
        f'"{name}{size}":{{"filename":"{name}","size":{size},"regions":{polygons},'
        '"file_attributes":{}}'
        for name, size in images.items()
    )
    classes = {"type": "dropdown", "description": "", "options": {"a": "a", "b": "b"}}
    rest = {
        "_via_settings": {},
        "_via_attributes": {"region": {"class": {**classes, "default_options": {}}}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": [f"{name}{size}" for name, size in images.items()],
    }
    text = json.dumps(rest, separators=(",", ":"))
    path.write_text(f'{{"_via_img_metadata":{{{metadata}}},{text[1:]}', encoding="utf-8")
    return path


def region(index: int) -> dict[str, object]:
    """A polygon near a circle, in another place than its neighbours."""
    angles = [2 * math.pi * step / VERTICES for step in range(VERTICES)]
    xs = [150 * index + 240 + round(130 * math.cos(angle)) for angle in angles]
    ys = [90 * index + 240 + round(130 * math.sin(angle)) for angle in angles]
    shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
    return {"shape_attributes": shape, "region_attributes": {"class": "ab"[index % 2]}}


def write_images(paths: Sequence[Path], size: tuple[int, int]) -> None:
    """Write images of `size` (width, height) with smooth random content."""
    random = np.random.default_rng(0)
    for path in paths:
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


def decoded_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, decoded."""
    image: Any = cv2.imread(str(path))
    return image.shape[1], image.shape[0]


def tutorial(file: Path) -> list[dict[str, Any]]:
    """Detectron2 dicts of a project of polygons beside its images, in few lines."""
    records: list[dict[str, Any]] = []
    images = json.loads(file.read_text(encoding="utf-8"))["_via_img_metadata"]
    for image in images.values():
        path = file.parent / image["filename"]
        width, height = decoded_size(path)
        record = {"file_name": str(path), "image_id": len(records) + 1}
        records.append({**record, "width": width, "height": height, "annotations": []})
        for polygon in image["regions"]:
            shape = polygon["shape_attributes"]
            xs, ys = shape["all_points_x"], shape["all_points_y"]
            annotation = {
                "bbox": [min(xs), min(ys), max(xs), max(ys)],
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": CLASSES.index(polygon["region_attributes"]["class"]),
                "segmentation": [[v for point in zip(xs, ys, strict=True) for v in point]],
            }
            records[-1]["annotations"].append(annotation)
    return records


def check_equal(ours: list[dict[str, Any]], reference: list[dict[str, Any]]) -> None:
    """Raise UserError where the two loaders differ, since their times then say nothing."""
    for record, expected in zip(ours, reference, strict=True):
        whole = {**expected, "annotations": record["annotations"]}
        pairs = zip(record["annotations"], expected["annotations"], strict=True)
        for values, others in [(record, whole), *pairs]:
            for key, other in others.items():
                if values[key] != other:
                    problem = f"the two loaders differ in {key} of {expected['file_name']}"
                    raise UserError(problem, found=values[key], expected=other)
