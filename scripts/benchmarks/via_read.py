"""Reading and labelling a VIA 2 project, against parsing its JSON: the least it can take."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from benchmarks import Benchmark
from roilab import via
from roilab.errors import UserError

IMAGES, REGIONS, VERTICES = 10_000, 10, 24


def benchmark(folder: Path) -> Benchmark:
    """100,000 polygons, written the way VIA writes them."""
    path = folder / "project.json"
    write_polygons(path, sizes_of(IMAGES), REGIONS)

    def parse() -> object:
        return json.loads(path.read_text(encoding="utf-8"))

    found = sum(len(image.instances) for image in read(path).images)
    if found != IMAGES * REGIONS:
        raise UserError("polygons are lost", found=found, expected=IMAGES * REGIONS)
    return Benchmark(
        reference_name="json.loads",
        ours=lambda: read(path),
        reference=parse,
        rounds=5,
        bar=(0, 6),
    )


def read(path: Path) -> via.LabelledSet:
    """The full way of a file, with every check."""
    return via.build_instances(via.read(path), via.LabelRules(class_attribute="class"), None)


def sizes_of(images: int) -> dict[str, int]:
    """File name -> bytes of images that need not be there."""
    return {f"image_{index:06}.jpg": 1000 for index in range(images)}


def write_polygons(path: Path, sizes: Mapping[str, int], regions: int) -> None:
    """Write a VIA 2 project of polygons in two classes, the same regions in every image.

    Args:
        sizes: file name -> bytes of each image.
        regions: how many polygons each image has.
    """
    # VIA writes without spaces. The text of the regions is made once: there can be 200,000.
    drawn = json.dumps([region(index) for index in range(regions)], separators=(",", ":"))
    images = ",".join(
        f'"{name}{size}":{{"filename":"{name}","size":{size},"regions":{drawn},'
        '"file_attributes":{}}'
        for name, size in sizes.items()
    )
    options = {"a": "a", "b": "b"}
    classes = {"type": "dropdown", "description": "", "options": options, "default_options": {}}
    rest = {
        "_via_settings": {},
        "_via_attributes": {"region": {"class": classes}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": [f"{name}{size}" for name, size in sizes.items()],
    }
    text = json.dumps(rest, separators=(",", ":"))
    path.write_text(f'{{"_via_img_metadata":{{{images}}},{text[1:]}', encoding="utf-8")


def region(index: int) -> dict[str, object]:
    """A polygon near a circle, in another place than its neighbours."""
    angles = [2 * math.pi * step / VERTICES for step in range(VERTICES)]
    return {
        "shape_attributes": {
            "name": "polygon",
            "all_points_x": [150 * index + 240 + round(130 * math.cos(angle)) for angle in angles],
            "all_points_y": [90 * index + 240 + round(130 * math.sin(angle)) for angle in angles],
        },
        "region_attributes": {"class": "ab"[index % 2]},
    }
