"""Remedies of data sets, their images, and the commands of scripts/data.py."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from roilab import skeleton as skeletons
from roilab import via
from roilab.data import dataset, loaders
from roilab.data.check import examine, refused
from roilab.data.coco import to_coco
from roilab.data.figures import write_figures
from roilab.data.merge import merge
from roilab.data.propose import propose
from roilab.data.read import read
from roilab.errors import UserError
from roilab.images import ImageFolder, read_rgb

from .cases import Wrong, case, printed, wrong
from .files import (
    SQUARE,
    choice,
    coco,
    entry,
    image,
    point,
    polygon,
    skeleton,
    via_json,
    via_project,
    write,
)

Attempts = Iterator[Wrong]
Script = Callable[..., Any]
FAR = ((40, 5), (60, 5), (60, 25), (40, 25))
OUTSIDE = ((70, 5), (80, 5), (80, 15), (70, 15))


def check(file: Path, *folders: Path) -> Wrong:
    """What is wrong with a file and its images."""

    def found() -> Any:
        try:
            annotations = read(file)
        except UserError as error:
            return refused(file, error)
        return examine(annotations, ImageFolder(*(folders or [file.parent])), via.LabelRules())

    return wrong(found)


def load(*files: Path, **options: Any) -> Wrong:
    """The mistake of which a data set tells when it is loaded."""
    return wrong(dataset.load, [str(file) for file in files], **options)


# Files that cannot be used.


@case("it is a folder: give an annotation file, perhaps one in it")
def a_folder_for_a_file(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield check(file.parent)
    yield check(file)


@case("there is no such file: see that the path is right")
def a_file_that_is_not_there(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield check(tmp_path / "vja.json")
    yield check(file)


@case("save it again, or give another file")
def a_number_too_long(tmp_path: Path) -> Attempts:
    sound = via_json(tmp_path, [polygon(kind="dog")])
    deep = write(tmp_path / "deep.json", "[" * 100_000)
    yield check(deep)
    yield check(sound)


@case("give another {}")
def an_attribute_that_does_not_occur(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    annotations, folder = read(file), ImageFolder(tmp_path)
    yield wrong(examine, annotations, folder, via.LabelRules(class_attribute="knid"))
    yield wrong(examine, annotations, folder, via.LabelRules(class_attribute="kind"))


# Images.


@case("put it there, or give the folder that holds it")
def a_missing_image(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path / "set", [polygon(kind="dog")])
    (tmp_path / "other").mkdir()
    (file.parent / "0.png").rename(tmp_path / "other" / "0.png")
    yield check(file)
    yield check(file, tmp_path / "other")
    image(file.parent / "0.png")
    yield check(file)


@case("give only the folder of the annotated ones, or rename the others")
def two_images_of_one_name(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    (tmp_path / "0.png").unlink()
    for number in (1, 2):
        image(tmp_path / f"{number}" / "0.png", number)
    yield check(file)
    yield check(file, tmp_path / "1")
    (tmp_path / "2" / "0.png").rename(tmp_path / "2" / "other.png")
    yield check(file)


@case("put it into the folder that is stated")
def an_image_that_another_entry_means(tmp_path: Path) -> Attempts:
    entries = {name: entry(name, [polygon(kind="dog")]) for name in ("a/0.png", "b/0.png")}
    file = write(tmp_path / "via.json", entries)
    image(tmp_path / "a" / "0.png")
    yield check(file)
    image(tmp_path / "b" / "0.png", 3)
    yield check(file)


@case("make sure that it is the same picture, or put the image into that folder")
def an_image_in_another_folder(tmp_path: Path) -> Attempts:
    file = write(tmp_path / "via.json", {"a": entry("a/0.png", [polygon(kind="dog")])})
    other = image(tmp_path / "b" / "0.png")
    yield check(file)
    shutil.copytree(other.parent, tmp_path / "a")
    yield check(file)


@case("make them one: what only one of them holds is background in the other")
def two_entries_of_one_file(tmp_path: Path) -> Attempts:
    one, two = [polygon(kind="dog")], [polygon(*FAR, kind="dog")]
    file = tmp_path / "via.json"
    image(tmp_path / "0.png")
    entries = {"a": entry("0.png", one), "b": entry("./0.png", two)}
    yield check(write(file, entries))
    yield check(write(file, {"a": entry("0.png", one + two)}))


@case("replace the image file")
def a_broken_image(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    write(tmp_path / "0.png", "no image")
    yield check(file)
    image(tmp_path / "0.png")
    yield check(file)


@case("make sure that it is the same picture")
def an_image_of_other_bytes(tmp_path: Path) -> Attempts:
    size = image(tmp_path / "0.png").stat().st_size
    annotated = entry("0.png", [polygon(kind="dog")], size=size)
    file = write(tmp_path / "via.json", {"a": annotated})
    image(tmp_path / "0.png", size=(128, 128))
    yield check(file)
    image(tmp_path / "0.png")
    yield check(file)


@case("make it smaller, or cut it into several")
def an_image_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 2)
    big = image(tmp_path / "big.png", size=(80, 80))
    yield wrong(read_rgb, big)
    with Image.open(image(tmp_path / "small.png", size=(39, 39))) as picture:
        picture.save(big)
    yield wrong(read_rgb, big)


# Regions and their images.


@case("what is outside is cut off; see that the image has the annotated size")
def a_region_that_reaches_out(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon((50, 5), (80, 5), (80, 15), (50, 15), kind="dog")])
    yield check(file)
    image(tmp_path / "0.png", size=(128, 96))
    yield check(file)


@case("delete the region, or see that the image is the annotated one")
def a_region_outside(tmp_path: Path) -> Attempts:
    dog = polygon(kind="dog")
    file = via_json(tmp_path, [dog, polygon(*OUTSIDE, kind="dog")])
    yield check(file)
    image(tmp_path / "0.png", size=(128, 96))
    yield check(file)
    yield check(via_json(tmp_path, [dog]))


@case("delete the annotation, or see that the image is the annotated one")
def an_annotation_outside(tmp_path: Path) -> Attempts:
    far = {"segmentation": [[70, 5, 80, 5, 80, 15, 70, 15]], "bbox": [70, 5, 10, 10]}
    lost = coco(tmp_path, SQUARE, far)
    yield _strict(lost)
    image(tmp_path / "0.png", size=(128, 96))
    sizes = [{"id": 1, "file_name": "0.png", "width": 128, "height": 96}]
    data = json.loads(lost.read_text()) | {"images": sizes}
    yield _strict(write(lost, data))
    yield _strict(coco(tmp_path, SQUARE))


def _strict(file: Path) -> Wrong:
    """The problems that are listed in the one error of a file that is read strictly."""
    for error in load(file, strict=True):
        remedy = str(error.found).rpartition("(")[2].rstrip(")")
        return [via.Problem("error", str(error.found), remedy, "")]
    return []


@case("draw its outline in VIA, or train a keypoint config")
def a_mask_model_without_outlines(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    nose = point(9, 9, part="nose")

    def loader(file: Path, masks: bool) -> Any:
        data = dataset.load(str(file), skeleton=str(bones))
        return loaders.eval_loader(data, augmentations=[], masks=masks, num_workers=0)

    yield wrong(loader, via_json(tmp_path, [nose]), masks=True)
    yield wrong(loader, via_json(tmp_path, [nose]), masks=False)
    yield wrong(loader, via_json(tmp_path, [nose, polygon(kind="dog")]), masks=True)


@case("mend the file, or take it out of the annotations")
def an_image_that_breaks_while_it_is_evaluated(tmp_path: Path) -> Attempts:
    def evaluate(file: Path, breaks: bool) -> None:
        data = dataset.load(str(file))
        if breaks:
            write(tmp_path / "0.png", "no image")
        list(loaders.eval_loader(data, augmentations=[], num_workers=0))

    two = [polygon(kind="dog")], [polygon(kind="dog")]
    yield wrong(evaluate, via_json(tmp_path, *two), breaks=True)
    yield wrong(evaluate, via_json(tmp_path, *two), breaks=False)
    file = write(tmp_path / "via.json", {"b": entry("1.png", two[1])})
    yield wrong(evaluate, file, breaks=True)


# Loading.


@case("remove it from the list")
def a_file_twice(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield load(file, file)
    yield load(file)


@case(
    "point data.train.images (data.val.images) at the folder that holds them, or leave them out "
    "with data.train.missing_images=skip"
)
def a_set_with_a_missing_image(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path / "set", [polygon(kind="dog")], [polygon(kind="dog")])
    image(tmp_path / "other" / "0.png", 1)
    image(tmp_path / "other" / "1.png", 2)
    (tmp_path / "set" / "1.png").unlink()
    yield load(file)
    yield load(file, images=str(tmp_path / "other"))
    yield load(file, missing_images="skip")


@case("rename a class with data.class_map, or name yours in the skeleton file")
def a_set_without_the_class_of_the_skeleton(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="puppy")])
    yield load(file, skeleton=str(skeleton(tmp_path)))
    yield load(file, skeleton=str(skeleton(tmp_path)), class_map={"puppy": "dog"})
    yield load(file, skeleton=str(skeleton(tmp_path, "puppy", classes=["puppy"])))


@case("rename, merge or drop classes with data.class_map={old: new, unwanted: null}")
def a_class_that_the_model_does_not_know(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="cat")])
    yield load(file, classes=["dog"])
    yield load(file, classes=["dog"], class_map={"cat": "dog"})
    yield load(file, classes=["dog"], class_map={"cat": None})


@case("make them one with class_map")
def names_of_two_files_that_differ_by_case(tmp_path: Path, caplog: Any) -> Attempts:
    files = [
        via_json(tmp_path, [polygon(kind=name)], name=f"{name}.json") for name in ("dog", "Dog")
    ]

    def logged(**options: Any) -> Wrong:
        caplog.clear()
        dataset.load(list(map(str, files)), **options)
        remedy = "make them one with class_map"
        texts = [each.getMessage() for each in caplog.records]
        return [via.Problem("warning", text, remedy, "") for text in texts if remedy in text]

    yield logged()
    yield logged(class_map={"Dog": "dog"})


@case("look at the file with: python scripts/data.py check FILE --images DIR", leads_on=True)
def a_set_without_objects(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path, [polygon((5, 5), (9, 9), (12, 12), kind="dog")])
    yield load(file, drop_empty=True)
    findings = printed(script("data", "check", file, "--images", tmp_path))
    assert findings  # why there is nothing
    yield findings


@case("VIA has none; train from the COCO file to use them")
def crowds_read_as_via(tmp_path: Path) -> Attempts:
    mask = {"size": [48, 64], "counts": [0, 99, 2973]}
    file = coco(tmp_path, SQUARE, {"segmentation": mask, "bbox": [0, 0, 3, 48], "iscrowd": 1})
    yield check(file)
    yield load(file)


@case("VIA has no holes; train from the COCO file to keep them")
def holes_read_as_via(tmp_path: Path) -> Attempts:
    ring = [144, 68, 8, 68, 2784]  # three columns with a hole in the middle
    file = coco(
        tmp_path, {"segmentation": {"size": [48, 64], "counts": ring}, "bbox": [3, 0, 3, 48]}
    )
    yield check(file)
    yield load(file)


# COCO of VIA.


def as_coco(file: Path, size: tuple[int, int] | None = (64, 48), **rules: Any) -> Wrong:
    """What is wrong when a VIA file becomes COCO; the last two of its result are problems."""
    return wrong(lambda: to_coco(read(file), via.LabelRules(**rules), None, lambda _: size)[1])


@case("give the folder that holds it")
def coco_without_image_sizes(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield as_coco(file, size=None)
    yield as_coco(file)


@case("mend the image file, or remove the image from the annotations")
def coco_of_a_broken_image(tmp_path: Path, script: Script) -> Attempts:
    file, target = via_json(tmp_path, [polygon(kind="dog")], []), tmp_path / "coco.json"
    write(tmp_path / "1.png", "no image")
    arguments = ("data", "convert", file, target, "--to", "coco")
    yield printed(script(*arguments))
    target.unlink()
    image(tmp_path / "1.png")
    yield printed(script(*arguments))
    target.unlink()
    via_json(tmp_path, [polygon(kind="dog")])
    yield printed(script(*arguments))


@case("outline them if they shall count for boxes")
def coco_of_keypoints_only(tmp_path: Path) -> Attempts:
    bones, nose = skeletons.load(skeleton(tmp_path)), point(9, 9, part="nose")

    def converted(*regions: Any) -> Wrong:
        annotations = read(via_json(tmp_path, list(regions)))
        return list(to_coco(annotations, via.LabelRules(), bones, lambda _: (64, 48))[1])

    yield converted(nose)
    yield converted(nose, polygon(kind="dog"))


@case("give --skeleton with a file that has them")
def links_that_are_lost(tmp_path: Path, script: Script) -> Attempts:
    pet = {"id": 1, "name": "dog", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    annotated = {**SQUARE, "keypoints": [9, 9, 2, 12, 12, 2], "num_keypoints": 2}
    file, target = coco(tmp_path, annotated, categories=[pet]), tmp_path / "out.json"
    bones = skeleton(tmp_path, links=[["nose", "tail"]])
    arguments = ("data", "convert", file, target, "--to", "coco")
    yield printed(script(*arguments))
    target.unlink()
    yield printed(script(*arguments, "--skeleton", bones))


@case("give --class-attribute, or make it a dropdown in VIA to export COCO there")
def a_class_that_cannot_become_a_choice(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog", colour="red")])
    arguments = ("data", "convert", file, "--to", "via")
    yield printed(script(*arguments, tmp_path / "one.json"))
    yield printed(script(*arguments, tmp_path / "two.json", "--class-attribute", "kind"))


@case("give the folder that holds them, VIA knows images by name and size")
def sizes_that_stay_unknown(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path / "set", [polygon(kind="dog")])
    (tmp_path / "empty").mkdir()
    arguments = ("data", "convert", file, "--to", "via", "--images")
    yield printed(script(*arguments, tmp_path / "empty", "--", tmp_path / "one.json"))
    yield printed(script(*arguments, file.parent, "--", tmp_path / "two.json"))


# Files that commands write.


@case("give the name of a file in it")
def a_folder_as_output(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path / "set", [polygon(kind="dog")], [polygon(kind="dog")])
    (tmp_path / "out" / "train.json").mkdir(parents=True)
    arguments = ("data", "split", file, "--output")
    yield printed(script(*arguments, tmp_path / "out"))
    yield printed(script(*arguments, tmp_path / "other"))


@case("give another name")
def the_source_as_output(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield printed(script("data", "convert", file, file, "--to", "via"))
    yield printed(script("data", "convert", file, tmp_path / "out.json", "--to", "via"))


@case("give another name, or remove it first")
def an_output_that_is_there(tmp_path: Path, script: Script) -> Attempts:
    file, target = via_json(tmp_path, [polygon(kind="dog")]), write(tmp_path / "out.json", "mine")
    yield printed(script("data", "convert", file, target, "--to", "via"))
    yield printed(script("data", "convert", file, tmp_path / "other.json", "--to", "via"))
    target.unlink()
    yield printed(script("data", "convert", file, target, "--to", "via"))


# Splitting.


@case("give the folder that holds them")
def a_split_without_images(tmp_path: Path, script: Script) -> Attempts:
    dogs = [[polygon(kind="dog")]] * 4
    file = via_json(tmp_path / "set", *dogs)
    (tmp_path / "empty").mkdir()
    arguments = ("data", "split", file)
    yield printed(script(*arguments, "--output", tmp_path / "1", "--images", tmp_path / "empty"))
    yield printed(script(*arguments, "--output", tmp_path / "2", "--images", file.parent))


@case("annotate more images of it, or drop it with --class-map")
def a_class_in_one_part_only(tmp_path: Path, script: Script) -> Attempts:
    dogs, cat = [[polygon(kind="dog")]] * 4, [polygon(*FAR, kind="cat")]
    file = via_json(tmp_path, *dogs, cat)
    yield printed(script("data", "split", file, "--output", tmp_path / "1"))
    arguments = ("data", "split", file, "--output", tmp_path / "2", "--class-map", "cat=")
    yield printed(script(*arguments))
    file = via_json(tmp_path, *dogs, *[cat] * 4)
    yield printed(script("data", "split", file, "--output", tmp_path / "3"))


# Merging.


def merged(*files: Path, bones: Path | None = None, **rules: Any) -> Wrong:
    """What is wrong when files are joined."""
    skeleton = None if bones is None else skeletons.load(bones)
    return wrong(
        lambda: merge([read(file) for file in files], "out.json", via.LabelRules(**rules), skeleton)
    )


@case("see that the names are the same in all files")
def options_of_other_meanings(tmp_path: Path) -> Attempts:
    def file(name: str, **options: str) -> Path:
        return via_project(
            tmp_path, [polygon(kind="1")], attributes={"kind": choice(**options)}, name=name
        )

    one = file("one.json", **{"1": "dog"})
    yield merged(one, file("two.json", **{"1": "hound"}))
    yield merged(one, file("two.json", **{"1": "dog"}))


@case("declare it alike in VIA; it is taken for the first")
def an_attribute_of_two_types(tmp_path: Path) -> Attempts:
    def file(name: str, type: str) -> Path:
        declared = {"kind": choice(type, dog="dog")}
        return via_project(tmp_path, [polygon(kind="dog")], attributes=declared, name=name)

    yield merged(file("one.json", "dropdown"), file("two.json", "checkbox"))
    yield merged(file("one.json", "dropdown"), file("two.json", "dropdown"))


@case("give the folders of the images when they are read")
def default_paths_that_differ(tmp_path: Path, script: Script) -> Attempts:
    def file(name: str) -> Path:
        image(tmp_path / name / f"{name}.png", ord(name))
        project = {
            "_via_img_metadata": {name: entry(f"{name}.png", [polygon(kind="dog")])},
            "_via_settings": {"core": {"default_filepath": f"{tmp_path / name}/"}},
        }
        return write(tmp_path / name / "via.json", project)

    out = tmp_path / "both.json"
    yield printed(script("data", "merge", file("a"), file("b"), "--output", out))
    yield printed(script("data", "check", out, "--images", tmp_path / "a", tmp_path / "b"))


@case("remove it if it is one of them")
def an_image_of_unknown_size(tmp_path: Path) -> Attempts:
    dog, files = [polygon(kind="dog")], []
    for number, size in enumerate((100, 200, -1)):
        data = {"a": entry("0.png", dog, size=size)}
        files.append(write(tmp_path / f"{number}.json", data))
    yield merged(*files)
    yield merged(*files[:2], write(files[2], {"b": entry("1.png", dog)}))


@case("remove one of the two, or rename the image where it is another picture")
def an_image_annotated_twice(tmp_path: Path) -> Attempts:
    one = via_json(tmp_path, [polygon(kind="dog")], [polygon(kind="dog")], name="one.json")
    two = via_json(tmp_path, [polygon(*FAR, kind="dog")], name="two.json")
    yield merged(one, two)
    other = {"b": entry("other.png", [polygon(*FAR, kind="dog")])}
    yield merged(one, write(two, other))
    kept = json.loads(one.read_text())
    del kept["0.png-1"]
    two = via_json(tmp_path, [polygon(*FAR, kind="dog")], name="two.json")
    yield merged(write(one, kept), two)


@case("give {}")
def a_class_under_another_name(tmp_path: Path) -> Attempts:
    one = via_json(tmp_path, [polygon(kind="dog")], name="one.json")
    two = {"b": entry("1.png", [polygon(label="dog", colour="red")])}
    files = one, write(tmp_path / "two.json", two)
    yield merged(*files)
    yield merged(*files, class_attribute="label")


@case("give {}, and the skeleton")
def a_keypoint_attribute_under_another_name(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    regions = [polygon(kind="dog"), point(9, 9, part="nose")]
    one = via_json(tmp_path, regions, name="one.json")
    other = [polygon(kind="dog"), point(9, 9, joint="nose", other="tail")]
    files = one, write(tmp_path / "two.json", {"b": entry("1.png", other)})
    yield merged(*files, bones=bones)
    yield merged(*files, bones=bones, keypoint_attribute="joint")


@case("rename it in one of the files")
def a_name_of_two_roles(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    one = via_json(tmp_path, [polygon(what="dog")], name="one.json")

    def two(name: str) -> Path:
        regions = [polygon(kind="dog"), point(9, 9, **{name: "nose"})]
        return write(tmp_path / "two.json", {"b": entry("1.png", regions)})

    yield merged(one, two("what"), bones=bones)
    yield merged(one, two("part"), bones=bones)


@case("rename '{}' in this file")
def a_name_that_is_another_attribute(tmp_path: Path) -> Attempts:
    one = via_json(tmp_path, [polygon(kind="dog")], name="one.json")

    def two(name: str) -> Path:
        data = {"b": entry("1.png", [polygon(label="dog", **{name: "red"})])}
        return write(tmp_path / "two.json", data)

    yield merged(one, two("kind"), class_attribute="label")
    yield merged(one, two("colour"), class_attribute="label")


# Proposing a skeleton.


@case("give --keypoint-attribute")
def two_possible_names_of_points(tmp_path: Path) -> Attempts:
    files = [read(via_json(tmp_path, [point(9, 9, part="nose", other="tail")]))]
    yield wrong(propose, files, "pet")
    yield wrong(propose, files, "pet", "part")


@case("give the file of each person")
def sigmas_of_one_person(tmp_path: Path, script: Script) -> Attempts:
    files = [
        via_json(tmp_path, [polygon(kind="dog"), point(x, 9, part="nose")], name=f"{x}.json")
        for x in (9, 11)
    ]
    yield printed(script("data", "skeleton", "--sigmas", "--from", files[0]))
    yield printed(script("data", "skeleton", "--sigmas", "--from", *files))


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
