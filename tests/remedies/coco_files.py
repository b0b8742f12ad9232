"""Remedies of reading COCO files as VIA files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roilab import via
from roilab.data import read as data_read

from .cases import Wrong, case, wrong
from .files import (
    SQUARE,
    choice,
    coco,
    polygon,
    via_project,
)
from .reading import read

Attempts = Iterator[Wrong]


@case("name it in the file")
def a_category_without_a_name(tmp_path: Path) -> Attempts:
    for name in ("", "dog"):
        yield read(coco(tmp_path, SQUARE, categories=[{"id": 1, "name": name}]))


@case("add the category, or remove the annotation")
def an_unknown_category(tmp_path: Path) -> Attempts:
    yield read(coco(tmp_path, {**SQUARE, "category_id": 7}))
    categories = [{"id": 1, "name": "dog"}, {"id": 7, "name": "cat"}]
    yield read(coco(tmp_path, {**SQUARE, "category_id": 7}, categories=categories))
    yield read(coco(tmp_path))


@case("add the image, or remove the annotation")
def an_annotation_of_an_unknown_image(tmp_path: Path) -> Attempts:
    yield read(coco(tmp_path, {**SQUARE, "image_id": 7}))
    images = [{"id": 7, "file_name": "0.png", "width": 64, "height": 48}]
    yield read(coco(tmp_path, {**SQUARE, "image_id": 7}, images=images))
    yield read(coco(tmp_path))


@case("give every image an id of its own")
def two_images_of_one_id(tmp_path: Path) -> Attempts:
    for ids in ((1, 1), (1, 2)):
        images = [{"id": n, "file_name": f"{at}.png"} for at, n in enumerate(ids)]
        yield read(coco(tmp_path, SQUARE, images=images))


@case("annotate it again, or remove it")
def an_empty_annotation(tmp_path: Path) -> Attempts:
    yield read(coco(tmp_path, {"segmentation": [], "bbox": []}))
    yield read(coco(tmp_path, SQUARE))
    yield read(coco(tmp_path))


@case("read it with roilab.data.read")
def a_mask_read_without_pycocotools(tmp_path: Path) -> Attempts:
    file = coco(tmp_path, {**SQUARE, "segmentation": {"size": [48, 64], "counts": [0, 99, 2973]}})
    yield wrong(via.read, file)
    yield wrong(data_read.read, file)


@case("write it again as COCO's run-length encoding")
def a_mask_that_cannot_be_decoded(tmp_path: Path) -> Attempts:
    for counts in ([1], [0, 99, 2973]):
        mask = {"size": [48, 64], "counts": counts}
        yield read(coco(tmp_path, {**SQUARE, "segmentation": mask}))


PET = [{"id": 1, "name": "dog", "keypoints": ["nose", "tail"]}]


@case("write {}")
def a_keypoint_number_too_few(tmp_path: Path) -> Attempts:
    for points in ([9, 9, 2, 9, 9], [9, 9, 2, 9, 9, 1]):
        yield read(coco(tmp_path, {**SQUARE, "keypoints": points}, categories=PET))


@case("0, 1 or 2 is expected")
def a_visibility_of_3(tmp_path: Path) -> Attempts:
    for v in (3, 2):
        points = [9, 9, v, 0, 0, 0]
        yield read(coco(tmp_path, {**SQUARE, "keypoints": points}, categories=PET))


def via_coco(folder: Path, *annotations: Mapping[str, Any], **more: Any) -> Path:
    """A COCO file as VIA exports it."""
    info = {"description": "VIA project exported to COCO format"}
    categories = [
        {"id": n, "name": name, "supercategory": "kind"}
        for n, name in enumerate(("dog", "cat"), start=1)
    ]
    return coco(folder, *annotations, **{"info": info, "categories": categories, **more})


@case("describe the options in VIA, or read the project")
def options_without_names_exported_by_via(tmp_path: Path) -> Attempts:
    options = [{"id": 1, "name": "", "supercategory": "kind"}]
    yield read(via_coco(tmp_path, SQUARE, categories=options))
    yield read(via_coco(tmp_path, SQUARE))
    attributes = {"kind": choice(dog="dog")}
    yield read(via_project(tmp_path, [polygon(kind="dog")], attributes=attributes))


@case("in VIA, save the project, which holds everything, and read that")
def a_class_lost_in_the_export_of_via(tmp_path: Path) -> Attempts:
    project = via_project(tmp_path, [polygon(kind="dog")], attributes={"kind": choice(dog="dog")})
    yield read(via_coco(tmp_path, {**SQUARE, "category_id": None}))
    yield read(project)


@case("{}: the export numbers images by the digits their names begin with")
def two_images_of_one_number_exported_by_via(tmp_path: Path) -> Attempts:
    project = via_project(tmp_path, [polygon(kind="dog")], attributes={"kind": choice(dog="dog")})
    images = [{"id": 1, "file_name": name} for name in ("1a.png", "1b.png")]
    yield read(via_coco(tmp_path, SQUARE, images=images))
    yield read(project)
