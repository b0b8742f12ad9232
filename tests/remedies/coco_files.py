"""Remedies of reading COCO files as VIA files."""

from pathlib import Path
from typing import Any

from roilab import via
from roilab.curation.infer_skeleton import infer_skeleton
from roilab.data.mask_to_polygons import read_annotations

from . import reading
from .cases import Attempts, Wrong, add_cases, attempt, case, wrong
from .files import SIZE, SQUARE, choice, coco, image, point, polygon, via_json, via_project, write
from .files import skeleton as write_skeleton
from .reading import check, proposed


@attempt
def read(folder: Path, *annotations: Any, **more: Any) -> Wrong:
    """A COCO file is read."""
    return reading.read(coco(folder, *annotations, **more))


@attempt
def checked(folder: Path, *annotations: Any, size: Any = SIZE, **more: Any) -> Wrong:
    """It is checked with an image of this size."""
    file = coco(folder, *annotations, **more)
    image(folder / "0.png", size=size)
    return check(file)


@attempt
def label(
    folder: Path, *annotations: Any, skeleton: Any = None, rules: Any = (), **more: Any
) -> Wrong:
    """It is read and labelled, with a skeleton file of these values."""
    bones = None if skeleton is None else write_skeleton(folder, **skeleton)
    return reading.label(coco(folder, *annotations, **more), bones, **dict(rules))


@attempt
def errors_of(folder: Path, other: Any) -> Wrong:
    """What leaves something out; a warning of the file stays for as long as the file."""
    return [error for error in other(folder) if getattr(error, "severity", "error") == "error"]


MASK = {"size": [48, 64], "counts": [0, 99, 2973]}
FAR = {"segmentation": [[30, 20, 45, 20, 45, 35, 30, 35]]}
DOG = {"id": 1, "name": "dog"}
PET = [{**DOG, "keypoints": ["nose", "tail"]}]
BIG = (128, 96)
POINTS = {"keypoints": [9, 9, 2, 9, 20, 2]}
WITH_POINTS = {**SQUARE, **POINTS}
CAT, BOTH = ({"name": "own", "classes": names} for names in (["cat"], ["cat", "dog"]))
ONE = {"name": "one", "sigmas": [0.1], "links": []}
BIG_IMAGE = {"id": 1, "file_name": "0.png", "width": 128, "height": 96}

READ = {
    "name it in the file": [
        read(SQUARE, categories=[{"id": 1, "name": name}]) for name in ("", "dog")
    ],
    "add the category, or remove the annotation": [
        read({**SQUARE, "category_id": 7}),
        read({**SQUARE, "category_id": 7}, categories=[DOG, {"id": 7, "name": "cat"}]),
        read(),
    ],
    "add the image, or remove the annotation": [
        read({**SQUARE, "image_id": 7}),
        read({**SQUARE, "image_id": 7}, images=[{"id": 7, "file_name": "0.png"}]),
        read(),
    ],
    "give every image an id of its own": [
        read(SQUARE, images=[{"id": 1, "file_name": "0.png"}, {"id": n, "file_name": "1.png"}])
        for n in (1, 2)
    ],
    "annotate it again, or remove it": [
        read({"segmentation": [], "bbox": []}),
        read(SQUARE),
        read(),
    ],
    "write it again as COCO's run-length encoding": [
        read({**SQUARE, "segmentation": {**MASK, "counts": counts}})
        for counts in ([1], [0, 99, 2973])
    ],
    "write three for each of the category's {} keypoints": [
        read({**SQUARE, "keypoints": points}, categories=PET)
        for points in ([9, 9, 2, 9, 9], [9, 9, 2, 9, 9, 1])
    ],
    "0, 1 or 2 is expected": [
        read({**SQUARE, "keypoints": [9, 9, v, 0, 0, 0]}, categories=PET) for v in (3, 2)
    ],
    "write pairs of numbers, counted from 1": [
        read(SQUARE, categories=[{**PET[0], "skeleton": [link]}]) for link in ([0, 1], [1, 2])
    ],
    "give each keypoint of it a name of its own": [
        read(SQUARE, categories=[{**PET[0], "keypoints": ["nose", name]}])
        for name in ("nose", "tail")
    ],
    "give every category an id of its own": [
        read(SQUARE, categories=[DOG, {"id": n, "name": "cat"}]) for n in (1, 2)
    ],
    "write it in square pixels, or leave it out: keypoints are measured by it": [
        read({**SQUARE, "area": area}) for area in (0, 400, None)
    ],
    "write a list of numbers, three for each keypoint": [
        read({**SQUARE, "keypoints": points}, categories=PET)
        for points in ("nose", [9, 9, 2, 0, 0, 0])
    ],
    "write a list of polygons, or a run-length encoded mask": [
        read({**SQUARE, "segmentation": outline})
        for outline in ("polygon", SQUARE["segmentation"], MASK)
    ],
    "write x, y, width and height, or leave the bbox out": [
        read({**SQUARE, "bbox": box}) for box in ([5, 5, 20], [5, 5, 20, 20], [])
    ],
    "write x, y, width and height in pixels; {} is trained on": [
        checked({**FAR, "bbox": [30, 20, *corner]}) for corner in ([45, 35], [15, 15])
    ],
    "draw its outline again, or remove it": [
        read({**SQUARE, "segmentation": [[5, 5, 25, 25]]}),
        read(SQUARE),
        read(),
    ],
    "draw it again, or delete it": [
        label({**SQUARE, "segmentation": [[5, 5, 15, 15, 25, 25]]}),
        label(SQUARE),
        label(),
    ],
    "write a mask of the size of the image": [
        checked({"segmentation": {"size": [48, width], "counts": [0, 99, 48 * width - 99]}})
        for width in (60, 64)
    ],
    "put the annotated image there, or write its width and height into the file": [
        checked(SQUARE, size=BIG),
        checked(SQUARE),
        checked(SQUARE, size=BIG, images=[BIG_IMAGE]),
    ],
    "give it a file_name, or remove it": [
        read(images=images) for images in ([{"id": 1}], [{"id": 1, "file_name": "0.png"}], [])
    ],
    "give every annotation an id of its own": [read({**SQUARE, "id": 2}, FAR), read(SQUARE, FAR)],
    "remove one of the two: both are taken for objects": [read(SQUARE, SQUARE), read(SQUARE)],
    "give them different names, or make them one": [
        read(SQUARE, categories=[{"id": n, "name": name} for n, name in enumerate(names, 1)])
        for names in (("dog", "dog "), ("dog", "cat"), ("dog",))
    ],
    "name them in the category, or give skeleton=FILE with as many keypoints": [
        read(WITH_POINTS),
        errors_of(label(WITH_POINTS, skeleton={})),
        read(WITH_POINTS, categories=PET),
    ],
    "add them to the skeleton": [
        label(WITH_POINTS, categories=PET, skeleton={**ONE, "keypoints": ["nose"]}),
        label(WITH_POINTS, categories=PET, skeleton={}),
    ],
    "name it among the classes of skeleton '{}' to read them": [
        label(WITH_POINTS, categories=PET, skeleton=bones) for bones in (CAT, BOTH)
    ],
    "give it a bbox, or name it in the skeleton, which is of {}": [
        label(POINTS, categories=PET, skeleton=CAT),
        label({**POINTS, "bbox": [5, 5, 20, 20]}, categories=PET, skeleton=CAT),
        label(POINTS, categories=PET, skeleton=BOTH),
    ],
}


@case("read it with roilab.data.mask_to_polygons.read_annotations")
def a_mask_read_without_pycocotools(tmp_path: Path) -> Attempts:
    file = coco(tmp_path, {**SQUARE, "segmentation": MASK})
    yield wrong(via.read, file)
    yield wrong(read_annotations, file)


@case("give the file that has them, or write 'annotations' as an empty list")
def a_file_without_annotations(tmp_path: Path) -> Attempts:
    data = {"images": [{"id": 1, "file_name": "0.png"}], "categories": PET}
    yield reading.read(write(tmp_path / "images.json", data))
    yield read(SQUARE)(tmp_path)
    yield read()(tmp_path)


@case("take the skeleton that roilab data skeleton from=FILE proposes")
def a_skeleton_of_other_keypoints(tmp_path: Path) -> Attempts:
    yield label(WITH_POINTS, categories=PET, skeleton={**ONE, "keypoints": ["eye"]})(tmp_path)
    skeleton = infer_skeleton([read_annotations(tmp_path / "coco.json")], "two")
    file = write(tmp_path / "two.json", skeleton.to_dict())
    yield reading.label(tmp_path / "coco.json", file)


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
    yield reading.label(file, write_skeleton(tmp_path), class_map={"dog": None}, **rules)
    yield reading.label(file, write_skeleton(tmp_path), **rules)


# Files as VIA exports them.

VIA = {
    "info": {"description": "VIA project exported to COCO format"},
    "categories": [
        {"id": n, "name": name, "supercategory": "kind"} for n, name in ((1, "dog"), (2, "cat"))
    ],
}


@attempt
def project(folder: Path) -> Wrong:
    """The project is read in its place."""
    attributes = {"kind": choice(dog="dog")}
    return reading.read(via_project(folder, [polygon(kind="dog")], attributes=attributes))


LOST = {**SQUARE, "category_id": None}, {**FAR, "bbox": [30, 20, 15, 15]}
UNNAMED = [{"id": 1, "name": "", "supercategory": "kind"}]
EXPORTED = {
    "describe the options in VIA, or read the project": [
        read(SQUARE, **{**VIA, "categories": UNNAMED}),
        read(SQUARE, **VIA),
        project(),
    ],
    "{}; or, where all are of one class, give default_class=NAME": [
        read(*LOST, **VIA),
        project(),
        errors_of(label(*LOST, rules={"default_class": "dog"}, **VIA)),
    ],
    "in VIA, save the project, which holds everything, and read that": [
        read(*({**SQUARE, "id": 1, "category_id": number} for number in (1, 2)), **VIA),
        project(),
    ],
    "{}: the export numbers images by the digits their names begin with": [
        read(SQUARE, images=[{"id": 1, "file_name": f"1{name}.png"} for name in "ab"], **VIA),
        project(),
    ],
}
add_cases(__name__, READ, EXPORTED)
