"""A VIA project as a data set of Detectron2, against the loader that tutorials show.

That one parses the file, decodes every image for its size, and checks nothing; ours reads the
sizes from the headers, and checks the file, every attribute and every image.
"""

import json
from pathlib import Path
from typing import Any

import cv2
from detectron2.structures import BoxMode

from benchmarks import Benchmark
from benchmarks.via_image_size import write_images
from benchmarks.via_read import write_polygons
from roilab.data.dataset import load_dataset
from roilab.errors import UserError
from roilab.via import LabelRules

IMAGES, SIZE, REGIONS = 60, (1024, 768), 4
CLASSES = ["a", "b"]


def benchmark(folder: Path) -> Benchmark:
    """About what the well-known balloon set holds: photos and polygons as many and as large."""
    paths = [folder / f"image_{index:04}.jpg" for index in range(IMAGES)]
    write_images(paths, SIZE)
    sizes = {path.name: path.stat().st_size for path in paths}
    file = folder / "project.json"
    write_polygons(file, sizes, REGIONS)

    def ours() -> list[dict[str, Any]]:
        return list(load_dataset(str(file), rules=LabelRules(class_attribute="class")).records)

    check(ours(), tutorial(file))
    return Benchmark(
        reference_name="json.loads and cv2.imread of every image, no checks",
        ours=ours,
        reference=lambda: tutorial(file),
    )


def tutorial(file: Path) -> list[dict[str, Any]]:
    """Detectron2 dicts of a project of polygons beside its images, in few lines."""
    records: list[dict[str, Any]] = []
    images = json.loads(file.read_text(encoding="utf-8"))["_via_img_metadata"]
    for image in images.values():
        path = str(file.parent / image["filename"])
        decoded = cv2.imread(path)
        if decoded is None:
            raise OSError(f"{path} was written and cannot be read")
        height, width = decoded.shape[:2]
        annotations = []
        for region in image["regions"]:
            shape = region["shape_attributes"]
            xs, ys = shape["all_points_x"], shape["all_points_y"]
            annotations.append(
                {
                    "bbox": [min(xs), min(ys), max(xs), max(ys)],
                    "bbox_mode": BoxMode.XYXY_ABS,
                    "category_id": CLASSES.index(region["region_attributes"]["class"]),
                    "segmentation": [[v for point in zip(xs, ys, strict=True) for v in point]],
                }
            )
        records.append(
            {
                "file_name": path,
                "image_id": len(records) + 1,
                "width": width,
                "height": height,
                "annotations": annotations,
            }
        )
    return records


def check(ours: list[dict[str, Any]], reference: list[dict[str, Any]]) -> None:
    """Refuse to compare what is not the same work."""
    for a, b in zip(ours, reference, strict=True):
        for x, y in zip(a["annotations"], b["annotations"], strict=True):
            for key, value in y.items():
                if x[key] != value:
                    raise UserError(
                        f"the two loaders differ in {key} of {a['file_name']}",
                        found=x[key],
                        expected=value,
                    )
        for key in ("file_name", "image_id", "width", "height"):
            if a[key] != b[key]:
                raise UserError(f"the two loaders differ in {key}", found=a[key], expected=b[key])
