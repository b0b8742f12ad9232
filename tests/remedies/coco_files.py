"""Remedies of reading COCO files as VIA files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roilab import via
from roilab.curation.infer_skeleton import infer_skeleton
from roilab.data.mask_to_polygons import read_annotations

from .cases import Attempts, Wrong, case, wrong
from .files import (
    SQUARE,
    choice,
    coco,
    image,
    point,
    polygon,
    skeleton,
    via_json,
    via_project,
    write,
)
from .reading import check, label, proposed, read


def errors_of(found: Wrong) -> Wrong:
    """What leaves something out; a warning of the file stays for as long as the file."""
    return [each for each in found if getattr(each, "severity", "error") == "error"]


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


@case("read it with roilab.data.mask_to_polygons.read_annotations")
def a_mask_read_without_pycocotools(tmp_path: Path) -> Attempts:
    file = coco(tmp_path, {**SQUARE, "segmentation": {"size": [48, 64], "counts": [0, 99, 2973]}})
    yield wrong(via.read, file)
    yield wrong(read_annotations, file)


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


@case("write pairs of numbers, counted from 1")
def a_link_counted_from_0(tmp_path: Path) -> Attempts:
    for link in ([0, 1], [1, 2]):
        categories = [{**PET[0], "skeleton": [link]}]
        yield read(coco(tmp_path, SQUARE, categories=categories))


@case("give each keypoint of it a name of its own")
def two_keypoints_of_one_name(tmp_path: Path) -> Attempts:
    for names in (["nose", "nose"], ["nose", "tail"]):
        categories = [{**PET[0], "keypoints": names}]
        yield read(coco(tmp_path, SQUARE, categories=categories))


@case("give every category an id of its own")
def two_categories_of_one_id(tmp_path: Path) -> Attempts:
    for ids in ((1, 1), (1, 2)):
        categories = [{"id": n, "name": f"class {at}"} for at, n in enumerate(ids)]
        yield read(coco(tmp_path, SQUARE, categories=categories))


@case("write it in square pixels, or leave it out: keypoints are measured by it")
def an_area_of_nothing(tmp_path: Path) -> Attempts:
    for area in (0, 400, None):
        yield read(coco(tmp_path, {**SQUARE, "area": area}))


@case("give the file that has them, or write 'annotations' as an empty list")
def a_file_without_annotations(tmp_path: Path) -> Attempts:
    images = [{"id": 1, "file_name": "0.png"}]
    yield read(write(tmp_path / "images.json", {"images": images, "categories": PET}))
    yield read(coco(tmp_path, SQUARE))
    yield read(coco(tmp_path))


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


@case("{}; or, where all are of one class, give default_class=NAME")
def a_class_lost_in_the_export_of_via(tmp_path: Path) -> Attempts:
    project = via_project(tmp_path, [polygon(kind="dog")], attributes={"kind": choice(dog="dog")})
    far = {"segmentation": [[30, 5, 50, 5, 50, 25]], "bbox": [30, 5, 20, 20]}
    lost = via_coco(tmp_path, {**SQUARE, "category_id": None}, far)
    yield read(lost)
    yield read(project)
    yield errors_of(label(lost, default_class="dog"))


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


@case("write a list of numbers, three for each keypoint")
def keypoints_that_are_text(tmp_path: Path) -> Attempts:
    for points in ("nose", [9, 9, 2, 0, 0, 0]):
        yield read(coco(tmp_path, {**SQUARE, "keypoints": points}, categories=PET))


@case("write a list of polygons, or a run-length encoded mask")
def a_segmentation_that_is_text(tmp_path: Path) -> Attempts:
    for outline in ("polygon", SQUARE["segmentation"], {"size": [48, 64], "counts": [0, 99, 2973]}):
        yield read(coco(tmp_path, {**SQUARE, "segmentation": outline}))


@case("write x, y, width and height, or leave the bbox out")
def a_box_of_three_numbers(tmp_path: Path) -> Attempts:
    for box in ([5, 5, 20], [5, 5, 20, 20], []):
        yield read(coco(tmp_path, {**SQUARE, "bbox": box}))


@case("write x, y, width and height in pixels; {} is trained on")
def a_box_of_corners(tmp_path: Path) -> Attempts:
    far = {"segmentation": [[30, 20, 45, 20, 45, 35, 30, 35]]}
    for box in ([30, 20, 45, 35], [30, 20, 15, 15]):
        yield check(coco(tmp_path, {**far, "bbox": box}))


@case("draw its outline again, or remove it")
def a_polygon_of_two_vertices(tmp_path: Path) -> Attempts:
    yield read(coco(tmp_path, {**SQUARE, "segmentation": [[5, 5, 25, 25]]}))
    yield read(coco(tmp_path, SQUARE))
    yield read(coco(tmp_path))


@case("draw it again, or remove it")
def a_polygon_on_one_line(tmp_path: Path) -> Attempts:
    yield label(coco(tmp_path, {**SQUARE, "segmentation": [[5, 5, 15, 15, 25, 25]]}))
    yield label(coco(tmp_path, SQUARE))
    yield label(coco(tmp_path))


@case("write a mask of the size of the image")
def a_mask_of_another_size(tmp_path: Path) -> Attempts:
    for size, rest in (([48, 60], 2781), ([48, 64], 2973)):
        mask = {"size": size, "counts": [0, 99, rest]}
        yield check(coco(tmp_path, {"segmentation": mask}))


@case("put the annotated image there, or write its width and height into the file")
def an_image_of_another_size(tmp_path: Path) -> Attempts:
    file = coco(tmp_path, SQUARE)
    image(tmp_path / "0.png", size=(128, 96))
    yield check(file)
    image(tmp_path / "0.png")
    yield check(file)
    image(tmp_path / "0.png", size=(128, 96))
    image_row = {"id": 1, "file_name": "0.png", "width": 128, "height": 96}
    file = coco(tmp_path, SQUARE, images=[image_row])
    image(tmp_path / "0.png", size=(128, 96))
    yield check(file)


@case("give it a file_name, or remove it")
def an_image_without_a_name(tmp_path: Path) -> Attempts:
    yield read(coco(tmp_path, images=[{"id": 1}]))
    yield read(coco(tmp_path, images=[{"id": 1, "file_name": "0.png"}]))
    yield read(coco(tmp_path, images=[]))


@case("give every annotation an id of its own")
def two_annotations_of_one_id(tmp_path: Path) -> Attempts:
    far = {"segmentation": [[30, 20, 45, 20, 45, 35, 30, 35]]}
    yield read(coco(tmp_path, {**SQUARE, "id": 2}, far))
    yield read(coco(tmp_path, SQUARE, far))


@case("remove one of the two: both are taken for objects")
def one_annotation_twice(tmp_path: Path) -> Attempts:
    yield read(coco(tmp_path, SQUARE, SQUARE))
    yield read(coco(tmp_path, SQUARE))


@case("give them different names, or make them one")
def two_categories_of_one_name(tmp_path: Path) -> Attempts:
    for names in (("dog", "dog "), ("dog", "cat"), ("dog",)):
        categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        yield read(coco(tmp_path, SQUARE, categories=categories))


@case("name them in the category, or give skeleton=FILE with as many keypoints")
def a_category_that_names_no_keypoints(tmp_path: Path) -> Attempts:
    anno = {**SQUARE, "keypoints": [9, 9, 2, 9, 20, 2]}
    yield read(coco(tmp_path, anno))
    yield errors_of(label(coco(tmp_path, anno), skeleton(tmp_path)))
    yield read(coco(tmp_path, anno, categories=PET))


@case("add them to the skeleton")
def a_skeleton_of_fewer_keypoints(tmp_path: Path) -> Attempts:
    file = coco(tmp_path, {**SQUARE, "keypoints": [9, 9, 2, 9, 20, 2]}, categories=PET)
    yield label(file, skeleton(tmp_path, "one", keypoints=["nose"], sigmas=[0.1], links=[]))
    yield label(file, skeleton(tmp_path))


@case("take the skeleton that roilab data skeleton from=FILE proposes")
def a_skeleton_of_other_keypoints(tmp_path: Path) -> Attempts:
    file = coco(tmp_path, {**SQUARE, "keypoints": [9, 9, 2, 9, 20, 2]}, categories=PET)
    yield label(file, skeleton(tmp_path, "one", keypoints=["eye"], sigmas=[0.1], links=[]))
    proposed = infer_skeleton([read_annotations(file)], "two")
    yield label(file, write(tmp_path / "two.json", proposed.to_dict()))


@case("name it among the classes of skeleton '{}' to read them")
def keypoints_of_a_class_without_a_skeleton(tmp_path: Path) -> Attempts:
    file = coco(tmp_path, {**SQUARE, "keypoints": [9, 9, 2, 9, 20, 2]}, categories=PET)
    yield label(file, skeleton(tmp_path, "cat", classes=["cat"]))
    yield label(file, skeleton(tmp_path, "both", classes=["cat", "dog"]))


@case("give it a bbox, or name it in the skeleton, which is of {}")
def keypoints_alone_of_a_class_without_a_skeleton(tmp_path: Path) -> Attempts:
    alone = {"keypoints": [9, 9, 2, 9, 20, 2]}
    bones = skeleton(tmp_path, "cat", classes=["cat"])
    yield label(coco(tmp_path, alone, categories=PET), bones)
    yield label(coco(tmp_path, {**alone, "bbox": [5, 5, 20, 20]}, categories=PET), bones)
    both = skeleton(tmp_path, "both", classes=["cat", "dog"])
    yield label(coco(tmp_path, alone, categories=PET), both)


@case("give one of the classes, such as {}")
def categories_of_different_keypoints(tmp_path: Path) -> Attempts:
    categories = [*PET, {"id": 2, "name": "hand", "keypoints": ["thumb"]}]
    file = coco(tmp_path, categories=categories)
    yield proposed(file)
    yield proposed(file, classes=["dog"])


@case("keep the class to keep it")
def points_of_a_class_that_is_dropped(tmp_path: Path) -> Attempts:
    points = [point(9, 9, part="nose", kind="dog", id="1")]
    file = via_json(tmp_path, [*points, polygon(kind="cat", id="2")])
    rules = {"class_attribute": "kind", "instance_attribute": "id", "keypoint_attribute": "part"}
    yield label(file, skeleton(tmp_path), class_map={"dog": None}, **rules)
    yield label(file, skeleton(tmp_path), **rules)
