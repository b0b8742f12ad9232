"""Remedies of data sets that are loaded, and of the sample set."""

import shutil
from pathlib import Path
from typing import Any

from roilab import skeleton as skeletons
from roilab import via
from roilab.curation.check import check_annotations
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import find_images
from roilab.image_files import ImageFolder
from roilab.synthetic import write_figures

from .cases import Attempts, Script, Wrong, add_cases, attempt, case, printed, wrong
from .files import FAR, SQUARE, coco, image, point, polygon, skeleton, via_json, write
from .reading import check, load

# Files that cannot be used.


@case("it is a folder: give an annotation file, perhaps one in it")
def a_folder_for_a_file(dog: Path) -> Attempts:
    yield check(dog.parent)
    yield check(dog)


@case("there is no such file: see that the path is right")
def a_file_that_is_not_there(dog: Path, tmp_path: Path) -> Attempts:
    yield check(tmp_path / "vja.json")
    yield check(dog)


# Loading.


@case("remove it from the list")
def a_file_twice(dog: Path) -> Attempts:
    yield load(dog, dog)
    yield load(dog)


@case("give files=FILE images=DIR")
def a_set_without_a_file(tmp_path: Path) -> Attempts:
    yield load()
    yield load(via_json(tmp_path, [polygon(kind="dog")]), images=str(tmp_path))


@case("mark keypoints in VIA, or train without: masks and boxes do not need them")
def objects_whose_keypoints_are_not_labelled(tmp_path: Path) -> Attempts:
    bones = skeletons.load_skeleton(skeleton(tmp_path))

    def checked(seen: str, bones: Any) -> Wrong:
        regions = [polygon(kind="dog"), point(9, 9, part="nose", seen=seen)]
        file = read_annotations(via_json(tmp_path, regions))
        [located] = find_images([(file, ImageFolder(tmp_path))])
        rules = via.LabelRules(visibility_attribute="seen")
        return wrong(check_annotations, file, located, rules, bones)

    yield checked("absent", bones)
    yield checked("visible", bones)
    yield checked("absent", None)


@case("give the folder that holds them, images=DIR, or leave them out with missing_images=skip")
def a_set_with_a_missing_image(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path / "set", [polygon(kind="dog")], [polygon(kind="dog")])
    image(tmp_path / "other" / "0.png", 1)
    image(tmp_path / "other" / "1.png", 2)
    (tmp_path / "set" / "1.png").unlink()
    yield load(file)
    yield load(file, images=str(tmp_path / "other"))
    yield load(file, missing_images="skip")


@attempt
def loaded(folder: Path, *regions: Any, bones: Any = None, **options: Any) -> Wrong:
    """A set of one image is loaded, with a skeleton file of these values."""
    if bones is not None:
        options["skeleton"] = str(skeleton(folder, **bones))
    return load(via_json(folder, list(regions)), **options)


@attempt
def checked(folder: Path, **rules: Any) -> Wrong:
    """A file of a dog is checked."""
    return check(via_json(folder, [DOG]), **rules)


DOG, CAT = polygon(kind="dog"), polygon(*FAR, kind="cat")
PERSON, PUPPY = polygon(kind="person"), polygon(kind="puppy")
LOADED = {
    "give {}": [checked(class_attribute=name) for name in ("knid", "kind")],
    "give {}, or none": [
        loaded(DOG, **rules) for rules in ({"unlabelled": "ignore"}, {"unlabelled": "skip"}, {})
    ],
    "give {}, or skeleton=FILE": [
        loaded(PERSON, skeleton="coco_persn"),
        loaded(PERSON, skeleton="coco_person"),
        loaded(PERSON, bones={"classes": ["person"]}),
    ],
    "rename a class with {}, or name yours in the skeleton file": [
        loaded(PUPPY, bones={}),
        loaded(PUPPY, bones={}, class_map={"puppy": "dog"}),
        loaded(PUPPY, bones={"classes": ["puppy"]}),
    ],
    'rename, merge or drop classes with class_map={"OLD": "NEW", "UNWANTED": null}': [
        loaded(DOG, CAT, classes=["dog"], class_map=class_map)
        for class_map in ({}, {"cat": "dog"}, {"cat": None})
    ],
}


@case('make them one with class_map={"OLD": "NEW"}')
def names_of_two_files_that_differ_by_case(tmp_path: Path, caplog: Any) -> Attempts:
    files = [
        via_json(tmp_path, [polygon(kind=name)], name=f"{name}.json") for name in ("dog", "Dog")
    ]

    def logged(**options: Any) -> Wrong:
        caplog.clear()
        errors = load(*files, **options)
        logged = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
        return errors + [problem for problem in logged if isinstance(problem, via.Problem)]

    yield logged()
    yield logged(class_map={"Dog": "dog"})


@case("look at the file and its folder of images with roilab data check", leads_on=True)
def a_set_without_objects(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path, [polygon((5, 5), (9, 9), (12, 12), kind="dog")])
    yield load(file, drop_empty=True)
    findings = printed(script("data", "check", file, "--images", tmp_path))
    assert findings  # why there is nothing
    yield findings


@case("VIA has none; train from the annotations as they were to use them")
def crowds_written_as_via(tmp_path: Path) -> Attempts:
    mask = {"size": [48, 64], "counts": [0, 99, 2973]}
    file = coco(tmp_path, SQUARE, {"segmentation": mask, "bbox": [0, 0, 3, 48], "iscrowd": 1})
    yield wrong(via.write_project, tmp_path / "project.json", read_annotations(file))
    yield load(file)


# The sample set.


@case("delete the folder or give another one")
def a_folder_that_holds_something_else(tmp_path: Path) -> Attempts:
    folder = write(tmp_path / "set" / "mine.txt", "mine").parent
    size = {"train": 1, "val": 1, "size": 64}
    yield wrong(write_figures, folder, **size)
    yield wrong(write_figures, tmp_path / "other", **size)
    shutil.rmtree(folder)
    yield wrong(write_figures, folder, **size)


@case("free space on the disk, or use another folder")
def a_folder_that_cannot_be_written(tmp_path: Path) -> Attempts:
    file = write(tmp_path / "file", "")
    size = {"train": 1, "val": 1, "size": 64}
    yield wrong(write_figures, file / "set", **size)
    yield wrong(write_figures, tmp_path / "set", **size)


add_cases(__name__, LOADED)
