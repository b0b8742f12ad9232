"""Remedies of reading COCO files."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from roilab import via
from roilab.data import read as data_read
from roilab.data.propose import propose

from .cases import Wrong, case, wrong
from .files import (
    SQUARE,
    choice,
    coco,
    image,
    polygon,
    skeleton,
    via_project,
    write,
)
from .reading import check, label, read

Attempts = Iterator[Wrong]
Script = Callable[..., Any]


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


@case("write three for each of the category's {} keypoints")
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
def an_attribute_lost_in_the_export_of_via(tmp_path: Path) -> Attempts:
    project = via_project(tmp_path, [polygon(kind="dog")], attributes={"kind": choice(dog="dog")})
    rows = [{**SQUARE, "id": 1, "category_id": number} for number in (1, 2)]
    yield read(via_coco(tmp_path, *rows))
    yield read(project)


@case("{}: the export numbers images by the digits their names begin with")
def two_images_of_one_number_exported_by_via(tmp_path: Path) -> Attempts:
    project = via_project(tmp_path, [polygon(kind="dog")], attributes={"kind": choice(dog="dog")})
    images = [{"id": 1, "file_name": name} for name in ("1a.png", "1b.png")]
    yield read(via_coco(tmp_path, SQUARE, images=images))
    yield read(project)


# Objects, boxes and keypoints.


@case("draw its outline again, or remove it")
def an_outline_of_two_corners(tmp_path: Path) -> Attempts:
    yield read(coco(tmp_path, SQUARE, {**SQUARE, "segmentation": [[5, 5, 9, 9]]}))
    yield read(coco(tmp_path, SQUARE))


@case("draw it again, or remove it")
def an_outline_without_area(tmp_path: Path) -> Attempts:
    yield label(coco(tmp_path, SQUARE, {**SQUARE, "segmentation": [[5, 5, 9, 9, 12, 12]]}))
    yield label(coco(tmp_path, SQUARE))


@case("give every annotation an id of its own")
def two_annotations_of_one_id(tmp_path: Path) -> Attempts:
    other = {"segmentation": [[40, 5, 60, 5, 60, 25]], "bbox": [40, 5, 20, 20]}
    for number in (1, 2):
        yield read(coco(tmp_path, SQUARE, {**other, "id": number}))


@case("remove one of the two: both are taken for objects")
def an_annotation_twice(tmp_path: Path) -> Attempts:
    yield read(coco(tmp_path, SQUARE, SQUARE))
    yield read(coco(tmp_path, SQUARE))


@case("give it a file_name, or remove it")
def an_image_without_a_name(tmp_path: Path) -> Attempts:
    first = {"id": 1, "file_name": "0.png", "width": 64, "height": 48}
    for more in ([{"id": 2}], [{"id": 2, "file_name": "1.png"}], []):
        yield read(coco(tmp_path, SQUARE, images=[first, *more]))


@case("give them different names, or make them one")
def two_categories_of_one_name(tmp_path: Path) -> Attempts:
    for names in (("dog", "dog"), ("dog", "cat"), ("dog",)):
        categories = [{"id": at, "name": name} for at, name in enumerate(names, start=1)]
        yield read(coco(tmp_path, SQUARE, categories=categories))


@case("write a list of polygons, or a run-length encoded mask")
def a_segmentation_that_is_text(tmp_path: Path) -> Attempts:
    mask = {"size": [48, 64], "counts": [9, 99, 2964]}
    for outline in ("5 5 25 5", SQUARE["segmentation"], mask):
        yield read(coco(tmp_path, {**SQUARE, "segmentation": outline}))


@case("write x, y, width and height, or leave the bbox out")
def a_box_without_extent(tmp_path: Path) -> Attempts:
    for box in ([5, 5, 0, 20], [5, 5, 20, 20], []):
        yield read(coco(tmp_path, {**SQUARE, "bbox": box}))


@case("write x, y, width and height in pixels; {} is trained on")
def a_box_of_two_corners(tmp_path: Path) -> Attempts:
    ring = {"segmentation": [[20, 5, 40, 5, 40, 25, 20, 25]]}
    for box in ([20, 5, 40, 25], [20, 5, 20, 20]):
        yield check(coco(tmp_path, {**ring, "bbox": box}))


@case("write a mask of the size of the image")
def a_mask_of_another_size(tmp_path: Path) -> Attempts:
    for height in (40, 48):
        mask = {"size": [height, 64], "counts": [0, 9 * height, 55 * height]}
        yield check(coco(tmp_path, {**SQUARE, "segmentation": mask, "bbox": [0, 0, 9, height]}))


@case("put the annotated image there, or write its width and height into the file")
def an_image_of_another_size_than_stated(tmp_path: Path) -> Attempts:
    file = coco(tmp_path, SQUARE)
    image(tmp_path / "0.png", size=(128, 96))
    yield check(file)
    image(tmp_path / "0.png")
    yield check(file)
    image(tmp_path / "0.png", size=(128, 96))
    sizes = [{"id": 1, "file_name": "0.png", "width": 128, "height": 96}]
    yield check(write(file, json.loads(file.read_text()) | {"images": sizes}))


@case("write a list of numbers, three for each keypoint")
def keypoints_that_are_text(tmp_path: Path) -> Attempts:
    for points in ("9 9 2", [9, 9, 2, 9, 9, 1]):
        yield read(coco(tmp_path, {**SQUARE, "keypoints": points}, categories=PET))


@case("name them in the category, or give a skeleton of as many keypoints")
def keypoints_without_names(tmp_path: Path) -> Attempts:
    annotated = {**SQUARE, "keypoints": [9, 9, 2, 12, 12, 2]}
    file = coco(tmp_path, annotated)
    yield read(file)
    yield read(coco(tmp_path, annotated, categories=PET))


@case("add them to the skeleton")
def keypoints_that_the_skeleton_lacks(tmp_path: Path) -> Attempts:
    category = {"id": 1, "name": "dog", "keypoints": ["nose", "tail", "ear"]}
    annotated = {**SQUARE, "keypoints": [9, 9, 2, 12, 12, 2, 15, 15, 2]}
    file = coco(tmp_path, annotated, categories=[category])
    yield label(file, skeleton(tmp_path))
    yield label(file, skeleton(tmp_path, keypoints=["nose", "tail", "ear"], sigmas=[0.1] * 3))


@case("take the skeleton that scripts/data.py skeleton --from FILE proposes")
def a_skeleton_of_other_keypoints(tmp_path: Path, script: Script) -> Attempts:
    file = coco(tmp_path, {**SQUARE, "keypoints": [9, 9, 2, 12, 12, 2]}, categories=PET)
    yield label(file, skeleton(tmp_path, keypoints=["paw", "ear"]))
    proposed = tmp_path / "proposed.json"
    assert script("data", "skeleton", "--from", file, "--output", proposed).returncode == 0
    yield label(file, proposed)


@case("skeleton '{}' is that of {}")
def keypoints_of_a_class_that_the_skeleton_is_not_of(tmp_path: Path) -> Attempts:
    cat = {"id": 2, "name": "cat", "keypoints": ["nose", "tail"]}
    points = {**SQUARE, "keypoints": [9, 9, 2, 12, 12, 2]}
    file = coco(tmp_path, points, categories=[*PET, cat])
    yield label(file, skeleton(tmp_path))
    yield label(file, skeleton(tmp_path, classes=["dog", "cat"]))


@case("give it a bbox, or name it in the skeleton, which is of {}")
def an_object_of_keypoints_of_another_class(tmp_path: Path) -> Attempts:
    cat = {"id": 2, "name": "cat", "keypoints": ["nose", "tail"]}
    points = {"category_id": 2, "keypoints": [9, 9, 2, 12, 12, 2]}
    file = coco(tmp_path, SQUARE, points, categories=[*PET, cat])
    yield label(file, skeleton(tmp_path))
    yield label(file, skeleton(tmp_path, classes=["dog", "cat"]))
    boxed = {**points, "bbox": [5, 5, 20, 20]}
    yield label(coco(tmp_path, SQUARE, boxed, categories=[*PET, cat]), skeleton(tmp_path))


@case("{}; or, where all are of one class, give default_class")
def classes_lost_in_the_export_of_via(tmp_path: Path) -> Attempts:
    file = via_coco(tmp_path, {**SQUARE, "category_id": None})
    yield label(file, class_attribute="", default_class="dog")
    attributes = {"kind": choice(dog="dog")}
    yield label(via_project(tmp_path, [polygon(kind="dog")], attributes=attributes))


@case("give --class, such as --class {}")
def categories_of_other_keypoints(tmp_path: Path) -> Attempts:
    cat = {"id": 2, "name": "cat", "keypoints": ["whisker"]}
    files = [data_read.read(coco(tmp_path, SQUARE, categories=[*PET, cat]))]
    yield wrong(propose, files, "pet")
    yield wrong(propose, files, "pet", None, ["dog"])
