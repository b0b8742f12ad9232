"""Reading and labelling a VIA 2 project, against parsing its JSON: the least it can take."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from benchmarks import Benchmark
from roilab import via
from roilab.errors import UserError
from roilab.via import LabelRules

IMAGES, REGIONS, VERTICES = 200, 20, 24


def benchmark(folder: Path) -> Benchmark:
    """A project of polygons, written the way VIA writes one."""
    path = folder / "project.json"
    sizes = {f"image_{index:04}.jpg": 1000 for index in range(IMAGES)}
    path.write_text(json.dumps(project(sizes, REGIONS)), encoding="utf-8")
    rules = LabelRules(class_attribute="class")

    def parse() -> object:
        return json.loads(path.read_text(encoding="utf-8"))

    def ours() -> via.LabelledSet:
        return via.label(via.read(path), rules, None)

    found = sum(len(image.instances) for image in ours().images)
    if found != IMAGES * REGIONS:
        raise UserError("polygons are lost", found=found, expected=IMAGES * REGIONS)
    return Benchmark(
        reference_name="json.loads",
        ours=ours,
        reference=parse,
    )


def project(sizes: Mapping[str, int], regions: int) -> dict[str, object]:
    """A VIA 2 project of polygons in two classes.

    Args:
        sizes: file name -> bytes of each image.
        regions: how many polygons each image has.
    """
    images = {
        f"{name}{size}": {
            "filename": name,
            "size": size,
            "regions": [region(index) for index in range(regions)],
            "file_attributes": {},
        }
        for name, size in sizes.items()
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
    """A polygon near a circle, in another place than its neighbours."""
    angles = [2 * math.pi * step / VERTICES for step in range(VERTICES)]
    return {
        "shape_attributes": {
            "name": "polygon",
            "all_points_x": [20 * index + 40 + round(30 * math.cos(angle)) for angle in angles],
            "all_points_y": [10 * index + 40 + round(30 * math.sin(angle)) for angle in angles],
        },
        "region_attributes": {"class": "ab"[index % 2]},
    }
