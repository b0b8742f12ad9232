"""Remedies of the commands of roilab data."""

import json
from pathlib import Path
from typing import Any

from roilab import skeleton as skeletons
from roilab import via
from roilab.curation.merge import merge_annotations
from roilab.curation.split import image_fingerprint, stratified_split
from roilab.curation.to_coco import annotations_to_coco
from roilab.data.mask_to_polygons import read_annotations

from . import files, reading
from .cases import Attempts, Command, Wrong, add_cases, attempt, case, wrong
from .files import FAR, entry, image, point, polygon, skeleton, via_json, via_project
from .reading import label, proposed

DOG = polygon(kind="dog")

# COCO of VIA.


@case("repair the image file, or remove the image from the annotations")
def coco_of_a_broken_image(tmp_path: Path, data: Command) -> Attempts:
    file, target = via_json(tmp_path, [DOG], []), tmp_path / "coco.json"
    files.write(tmp_path / "1.png", "no image")
    arguments = ("convert", file, target, "--to", "coco")
    yield data(*arguments)
    target.unlink()
    image(tmp_path / "1.png")
    yield data(*arguments)
    target.unlink()
    via_json(tmp_path, [DOG])
    yield data(*arguments)


@case("outline them if they should count for boxes")
def coco_of_keypoints_only(tmp_path: Path) -> Attempts:
    bones, nose = skeletons.load_skeleton(skeleton(tmp_path)), point(9, 9, part="nose")

    def converted(*regions: Any) -> Wrong:
        annotations = read_annotations(via_json(tmp_path, list(regions)))
        return list(
            annotations_to_coco(annotations, via.LabelRules(), bones, lambda _: (64, 48))[1]
        )

    yield converted(nose)
    yield converted(nose, polygon(kind="dog"))


@case("give --skeleton FILE of a skeleton that has them")
def links_that_are_lost(tmp_path: Path, data: Command) -> Attempts:
    pet = {"id": 1, "name": "dog", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    annotated = {**files.SQUARE, "keypoints": [9, 9, 2, 12, 12, 2], "num_keypoints": 2}
    file, target = files.coco(tmp_path, annotated, categories=[pet]), tmp_path / "out.json"
    bones = skeleton(tmp_path, links=[["nose", "tail"]])
    arguments = ("convert", file, target, "--to", "coco")
    yield data(*arguments)
    target.unlink()
    yield data(*arguments, "--skeleton", bones)


@case("give class_attribute=NAME, or make it a dropdown in VIA to export COCO there")
def a_class_that_cannot_become_a_choice(tmp_path: Path, data: Command) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog", colour="red")])
    arguments = ("convert", file, "--to", "via")
    yield data(*arguments, tmp_path / "one.json")
    yield data(*arguments, tmp_path / "two.json", "--class-attribute", "kind")


@case("give the folder that holds them, VIA knows images by name and size")
def sizes_that_stay_unknown(dog: Path, tmp_path: Path, data: Command, empty: Path) -> Attempts:
    arguments = ("convert", dog, "--to", "via", "--images")
    yield data(*arguments, empty, "--", tmp_path / "one.json")
    yield data(*arguments, dog.parent, "--", tmp_path / "two.json")


# Files that commands write.


@case("give the name of a file in it")
def a_folder_as_output(tmp_path: Path, data: Command) -> Attempts:
    file = via_json(tmp_path / "set", [DOG], [DOG])
    (tmp_path / "out" / "train.json").mkdir(parents=True)
    arguments = ("split", file, "--output")
    yield data(*arguments, tmp_path / "out")
    yield data(*arguments, tmp_path / "other")


@case("give another name")
def the_source_as_output(dog: Path, tmp_path: Path, data: Command) -> Attempts:
    yield data("convert", dog, dog, "--to", "via")
    yield data("convert", dog, tmp_path / "out.json", "--to", "via")


@case("give another name, or remove it first")
def an_output_that_is_there(dog: Path, tmp_path: Path, data: Command) -> Attempts:
    target = files.write(tmp_path / "out.json", "mine")
    yield data("convert", dog, target, "--to", "via")
    yield data("convert", dog, tmp_path / "other.json", "--to", "via")
    target.unlink()
    yield data("convert", dog, target, "--to", "via")


@case("leave it out")
def an_option_without_effect(dog: Path, tmp_path: Path, data: Command) -> Attempts:
    arguments = ("convert", dog, tmp_path / "out.csv", "--to", "via-csv")
    yield data(*arguments, "--default-class", "dog")
    yield data(*arguments)


@case("give the folder that holds the images")
def a_drawing_without_images(dog: Path, tmp_path: Path, data: Command, empty: Path) -> Attempts:
    arguments = ("draw", dog, "--output", tmp_path / "sheet", "--images")
    yield data(*arguments, empty)
    yield data(*arguments, dog.parent)


@case("write OLD=NEW, or OLD= to drop the class")
def a_renaming_without_a_name(tmp_path: Path, data: Command) -> Attempts:
    file = via_json(tmp_path, [DOG], [polygon(kind="cat")])
    for number, renaming in enumerate(("dog", "dog=hound", "dog=")):
        target = tmp_path / f"{number}.json"
        arguments = ("convert", file, target, "--to", "coco", "--class-map", renaming)
        yield data(*arguments)


@case("give another folder: output=DIR")
def a_sheet_that_cannot_be_written(dog: Path, tmp_path: Path, data: Command) -> Attempts:
    blocked = files.write(tmp_path / "blocked", "")
    yield data("draw", dog, "--output", blocked / "sheets")
    yield data("draw", dog, "--output", tmp_path / "sheets")


# Splitting.


@case("give the folder that holds them")
def a_split_without_images(tmp_path: Path, data: Command, empty: Path) -> Attempts:
    dogs = [[DOG]] * 4
    file = via_json(tmp_path / "set", *dogs)
    arguments = ("split", file)
    yield data(*arguments, "--output", tmp_path / "1", "--images", empty)
    yield data(*arguments, "--output", tmp_path / "2", "--images", file.parent)


@case("give a number such as 0.8")
def a_share_of_more_than_all() -> Attempts:
    groups = {name: ["dog"] for name in "abc"}
    for share in (80, 0.8):
        yield wrong(stratified_split, groups, share, 0)


@case("annotate more pictures; copies of one picture stay in one part")
def too_few_pictures_to_divide() -> Attempts:
    for names in ("a", "ab"):
        yield wrong(stratified_split, {name: ["dog"] for name in names}, 0.8, 0)


@case(
    "give a number from 2 to that of the pictures, or annotate more; copies of one picture "
    "stay in one fold"
)
def more_folds_than_pictures(tmp_path: Path, data: Command) -> Attempts:
    for pictures, folds in ((3, 4), (3, 3), (4, 4)):
        folder = tmp_path / f"{folds}_of_{pictures}"
        file = via_json(folder, *[[DOG]] * pictures)
        yield data("split", file, "--folds", folds, "--output", folder / "folds")


@case("make the file readable, or remove it: its name and size identify the image")
def a_picture_that_cannot_be_opened(tmp_path: Path) -> Attempts:
    record = via.ImageRecord("0", "0.png", 9, ())
    folder = tmp_path / "0.png"
    folder.mkdir()  # as a file that may not be read
    yield wrong(image_fingerprint, record, folder)
    folder.rmdir()
    yield wrong(image_fingerprint, record, None)
    yield wrong(image_fingerprint, record, image(folder))


@case("annotate more images of it, or drop it with {}")
def a_class_in_one_part_only(tmp_path: Path, data: Command) -> Attempts:
    dogs, cat = [[DOG]] * 4, [polygon(*FAR, kind="cat")]
    file = via_json(tmp_path, *dogs, cat)
    yield data("split", file, "--output", tmp_path / "1")
    arguments = ("split", file, "--output", tmp_path / "2", "--class-map", "cat=")
    yield data(*arguments)
    file = via_json(tmp_path, *dogs, *[cat] * 4)
    yield data("split", file, "--output", tmp_path / "3")


# Merging.


def merged(*paths: Path, bones: Path | None = None, **rules: Any) -> Wrong:
    """What is wrong when files are joined."""
    if reading.as_typed is not None:
        named = {} if bones is None else {"skeleton": str(bones)}
        return reading.as_typed("merge", *paths, **named, **rules)
    skeleton = None if bones is None else skeletons.load_skeleton(bones)
    read = [read_annotations(path) for path in paths]
    return wrong(merge_annotations, read, "out.json", via.LabelRules(**rules), skeleton)


@case("see that the names are the same in all files")
def options_of_other_meanings(tmp_path: Path) -> Attempts:
    def file(name: str, **options: str) -> Path:
        return via_project(
            tmp_path, [polygon(kind="1")], attributes={"kind": files.choice(**options)}, name=name
        )

    one = file("one.json", **{"1": "dog"})
    yield merged(one, file("two.json", **{"1": "hound"}))
    yield merged(one, file("two.json", **{"1": "dog"}))


@case("declare it alike in VIA; it is taken for the first")
def an_attribute_of_two_types(tmp_path: Path) -> Attempts:
    def file(name: str, type: str) -> Path:
        declared = {"kind": files.choice(type, dog="dog")}
        return via_project(tmp_path, [DOG], attributes=declared, name=name)

    yield merged(file("one.json", "dropdown"), file("two.json", "checkbox"))
    yield merged(file("one.json", "dropdown"), file("two.json", "dropdown"))


@case("give the folders of the images when they are read")
def default_paths_that_differ(tmp_path: Path, data: Command) -> Attempts:
    def file(name: str) -> Path:
        image(tmp_path / name / f"{name}.png", ord(name))
        project = {
            "_via_img_metadata": {name: entry(f"{name}.png", [DOG])},
            "_via_settings": {"core": {"default_filepath": f"{tmp_path / name}/"}},
        }
        return files.write(tmp_path / name / "via.json", project)

    out = tmp_path / "both.json"
    yield data("merge", file("a"), file("b"), "--output", out)
    yield data("check", out, "--images", tmp_path / "a", tmp_path / "b")


@case("remove it if it is one of them")
def an_image_of_unknown_size(tmp_path: Path) -> Attempts:
    entries = [entry("0.png", [DOG], size=size) for size in (100, 200, -1)]
    paths = [files.write(tmp_path / f"{one['size']}.json", {"a": one}) for one in entries]
    yield merged(*paths)
    yield merged(*paths[:2], files.write(paths[2], {"b": entry("1.png", [DOG])}))


@case("remove one of the two, or rename the image where it is another picture")
def an_image_annotated_twice(tmp_path: Path) -> Attempts:
    one = via_json(tmp_path, [DOG], [DOG], name="one.json")
    two = via_json(tmp_path, [polygon(*FAR, kind="dog")], name="two.json")
    yield merged(one, two)
    other = {"b": entry("other.png", [polygon(*FAR, kind="dog")])}
    yield merged(one, files.write(two, other))
    kept = json.loads(one.read_text())
    del kept["0.png-1"]
    two = via_json(tmp_path, [polygon(*FAR, kind="dog")], name="two.json")
    yield merged(files.write(one, kept), two)


@attempt
def joined(
    folder: Path, one: Any, two: Any, declared: Any = None, bones: bool = False, **rules: Any
) -> Wrong:
    """A file of an image with regions `one` is joined with that of another image with `two`."""
    if declared is None:
        first = via_json(folder, one, name="one.json")
    else:
        first = via_project(folder, one, attributes=declared, name="one.json")
    second = files.write(folder / "two.json", {"b": entry("1.png", two)})
    return merged(first, second, bones=skeleton(folder) if bones else None, **rules)


RED = {"colour": "red"}
ROLES = {
    role: {"type": "text", "description": f"[roilab:{role}]"} for role in ("keypoint", "instance")
}
PART = {"part": ROLES["keypoint"]}
TAIL, JOINT = [DOG, point(9, 9, part="tail")], [DOG, point(9, 9, joint="tail")]
TIED = [polygon(kind="dog", instance="1"), point(9, 9, keypoint="tail", instance="1")]
UNTIED = point(9, 9, keypoint="tail")
NOSE, OTHER = [DOG, point(9, 9, part="nose")], [DOG, point(9, 9, joint="nose", other="tail")]
RENAME = "give {}, or rename the attribute of this file to '{}'"
MERGED = {
    RENAME: [
        joined([DOG], [polygon(what="dog", **RED)]),
        joined([DOG], [polygon(what="dog", **RED)], class_attribute="what"),
        joined([DOG], [polygon(kind="dog", **RED)]),
    ],
    "give skeleton=FILE; where that is not enough, {}": [
        joined(TAIL, JOINT, PART),
        joined(TAIL, JOINT, PART, bones=True),
        joined(TAIL, OTHER, PART, bones=True, keypoint_attribute="joint"),
    ],
    "give skeleton=FILE": [
        joined(TIED, [DOG, point(9, 9, keypoint="tail")], ROLES, bones) for bones in (False, True)
    ],
    "rename it in one of the files": [
        joined([polygon(what="dog")], [DOG, point(9, 9, **{name: "nose"})], bones=True)
        for name in ("what", "part")
    ],
    "give the {} an attribute of its own in VIA": [
        joined(
            [DOG, point(9, 9, part="nose")],
            [polygon(what="dog"), point(9, 9, **{name: "nose"})],
            bones=True,
        )
        for name in ("what", "part")
    ],
    "rename '{}' in this file": [
        joined([DOG], [polygon(label="dog", **{name: "red"})], class_attribute="label")
        for name in ("kind", "colour")
    ],
}
# Of points.
OF_POINTS = {
    RENAME: [
        joined(NOSE, OTHER, bones=True),
        joined(NOSE, OTHER, bones=True, keypoint_attribute="joint"),
        joined(NOSE, [DOG, point(9, 9, part="nose", other="tail")], bones=True),
    ]
}


# Proposing a skeleton.


@case("give keypoint_attribute=NAME")
def two_possible_names_of_points(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [point(9, 9, part="nose", other="tail")])
    yield proposed(file)
    yield proposed(file, keypoint_attribute="part")


@case(
    "give the points such an attribute in VIA; where paths hold the keypoints as vertices, write "
    "the skeleton by hand, and check with skeleton=FILE and keypoint_vertices=polyline or "
    "keypoint_vertices=polygon"
)
def points_that_have_no_names(tmp_path: Path) -> Attempts:
    for nose in (point(9, 9), point(9, 9, part="nose")):
        yield proposed(via_json(tmp_path, [DOG, nose]))
    line = polygon((9, 9), (20, 20), kind="")
    line["shape_attributes"]["name"] = "polyline"
    file = via_json(tmp_path, [DOG, line])
    yield label(file, skeleton(tmp_path), keypoint_vertices="polyline")


@case("give keypoint_attribute=NAME, or leave it out")
def a_keypoint_attribute_that_does_not_occur(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [point(9, 9, part="nose")])
    yield proposed(file, keypoint_attribute="prat")
    yield proposed(file, keypoint_attribute="part")
    yield proposed(file)


@case("give the file of each person")
def sigmas_of_one_person(tmp_path: Path, data: Command) -> Attempts:
    files = [via_json(tmp_path, [DOG, point(x, 9, part="nose")], name=f"{x}.json") for x in (9, 11)]
    yield data("skeleton", "--sigmas", "--from", files[0])
    yield data("skeleton", "--sigmas", "--from", *files)


add_cases(__name__, MERGED, OF_POINTS)
