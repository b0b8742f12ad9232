"""Reading and labelling a VIA 2 project, against parsing its JSON: the least it can take."""

import json
from pathlib import Path

from benchmarks import Benchmark
from roilab import via
from roilab.via import LabelRules

IMAGES, REGIONS, VERTICES = 200, 20, 24


def benchmark(folder: Path) -> Benchmark:
    """A project of polygons, written the way VIA writes one."""
    path = folder / "project.json"
    path.write_text(json.dumps(project()), encoding="utf-8")
    rules = LabelRules(class_attribute="class")

    def parse() -> object:
        return json.loads(path.read_text(encoding="utf-8"))

    return Benchmark(
        reference_name="json.loads",
        ours=lambda: via.label(via.read(path), rules, None),
        reference=parse,
    )


def project() -> dict[str, object]:
    """A VIA 2 project of `IMAGES` images with `REGIONS` polygons each, in two classes."""
    files = [f"image_{index:04}.jpg" for index in range(IMAGES)]
    images = {
        f"{name}1000": {
            "filename": name,
            "size": 1000,
            "regions": [region(index) for index in range(REGIONS)],
            "file_attributes": {},
        }
        for name in files
    }
    options = {"a": "a", "b": "b"}
    classes = {"type": "dropdown", "description": "", "options": options, "default_options": {}}
    return {
        "_via_settings": {},
        "_via_img_metadata": images,
        "_via_attributes": {"region": {"class": classes}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(images),
    }


def region(index: int) -> dict[str, object]:
    """A polygon that differs from its neighbours'."""
    steps = range(VERTICES)
    half = VERTICES // 2
    return {
        "shape_attributes": {
            "name": "polygon",
            "all_points_x": [20 * index + min(step, VERTICES - step) for step in steps],
            "all_points_y": [10 * index + abs(step - half) for step in steps],
        },
        "region_attributes": {"class": "ab"[index % 2]},
    }
