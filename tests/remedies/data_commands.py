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

from . import reading
from .cases import Attempts, Script, Wrong, case, printed, wrong
from .files import (
    FAR,
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
from .reading import label, proposed

# COCO of VIA.


def as_coco(file: Path, size: tuple[int, int] | None = (64, 48), **rules: Any) -> Wrong:
    """What is wrong when a VIA file becomes COCO."""
    return wrong(
        lambda: annotations_to_coco(
            read_annotations(file), via.LabelRules(**rules), None, lambda _: size
        )[1]
    )


@case("give the folder that holds it")
def coco_without_image_sizes(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield as_coco(file, size=None)
    yield as_coco(file)


@case("repair the image file, or remove the image from the annotations")
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
def links_that_are_lost(tmp_path: Path, script: Script) -> Attempts:
    pet = {"id": 1, "name": "dog", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    annotated = {**SQUARE, "keypoints": [9, 9, 2, 12, 12, 2], "num_keypoints": 2}
    file, target = coco(tmp_path, annotated, categories=[pet]), tmp_path / "out.json"
    bones = skeleton(tmp_path, links=[["nose", "tail"]])
    arguments = ("data", "convert", file, target, "--to", "coco")
    yield printed(script(*arguments))
    target.unlink()
    yield printed(script(*arguments, "--skeleton", bones))


@case("give --class-attribute NAME, or make it a dropdown in VIA to export COCO there")
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


@case("leave it out")
def an_option_without_effect(tmp_path: Path, script: Script) -> Attempts:
    file, target = via_json(tmp_path, [polygon(kind="dog")]), tmp_path / "out.csv"
    arguments = ("data", "convert", file, target, "--to", "via-csv")
    yield printed(script(*arguments, "--default-class", "dog"))
    yield printed(script(*arguments))


@case("give the folder that holds the images")
def a_drawing_without_images(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path / "set", [polygon(kind="dog")])
    (tmp_path / "empty").mkdir()
    arguments = ("data", "draw", file, "--output", tmp_path / "sheet", "--images")
    yield printed(script(*arguments, tmp_path / "empty"))
    yield printed(script(*arguments, file.parent))


@case("write OLD=NEW, or OLD= to drop the class")
def a_renaming_without_a_name(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")], [polygon(kind="cat")])
    for number, renaming in enumerate(("dog", "dog=hound", "dog=")):
        target = tmp_path / f"{number}.json"
        arguments = ("data", "convert", file, target, "--to", "coco", "--class-map", renaming)
        yield printed(script(*arguments))


@case("give another folder: output=DIR")
def a_sheet_that_cannot_be_written(tmp_path: Path, script: Script) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    blocked = write(tmp_path / "blocked", "")
    yield printed(script("data", "draw", file, "--output", blocked / "sheets"))
    yield printed(script("data", "draw", file, "--output", tmp_path / "sheets"))


# Splitting.


@case("give the folder that holds them")
def a_split_without_images(tmp_path: Path, script: Script) -> Attempts:
    dogs = [[polygon(kind="dog")]] * 4
    file = via_json(tmp_path / "set", *dogs)
    (tmp_path / "empty").mkdir()
    arguments = ("data", "split", file)
    yield printed(script(*arguments, "--output", tmp_path / "1", "--images", tmp_path / "empty"))
    yield printed(script(*arguments, "--output", tmp_path / "2", "--images", file.parent))


@case("give a number such as 0.8")
def a_share_of_more_than_all() -> Attempts:
    groups = {name: ["dog"] for name in "abc"}
    for share in (80, 0.8):
        yield wrong(stratified_split, groups, share, 0)


@case("annotate more pictures; copies of one picture stay in one part")
def too_few_pictures_to_divide() -> Attempts:
    for names in ("a", "ab"):
        yield wrong(stratified_split, {name: ["dog"] for name in names}, 0.8, 0)


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
    if reading.as_typed is not None:
        named = {} if bones is None else {"skeleton": str(bones)}
        return reading.as_typed("merge", *files, **named, **rules)
    skeleton = None if bones is None else skeletons.load_skeleton(bones)
    return wrong(
        lambda: merge_annotations(
            [read_annotations(file) for file in files],
            "out.json",
            via.LabelRules(**rules),
            skeleton,
        )
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


@case("give {}, or rename the attribute of this file to '{}'")
def a_class_under_another_name(tmp_path: Path) -> Attempts:
    one = via_json(tmp_path, [polygon(kind="dog")], name="one.json")
    two = {"b": entry("1.png", [polygon(what="dog", colour="red")])}
    files = one, write(tmp_path / "two.json", two)
    yield merged(*files)
    yield merged(*files, class_attribute="what")
    two["b"] = entry("1.png", [polygon(kind="dog", colour="red")])
    yield merged(one, write(tmp_path / "two.json", two))


@case("give skeleton=FILE; where that is not enough, {}")
def a_keypoint_attribute_and_no_skeleton(tmp_path: Path, bones: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="tail")]
    declared = {"part": {"type": "text", "description": "[roilab:keypoint]"}}
    one = via_project(tmp_path, regions, attributes=declared, name="one.json")
    other = [polygon(kind="dog"), point(9, 9, joint="tail")]
    two = write(tmp_path / "two.json", {"b": entry("1.png", other)})
    yield merged(one, two)
    yield merged(one, two, bones=bones)
    other[1] = point(9, 9, joint="tail", other="nose")
    two = write(tmp_path / "two.json", {"b": entry("1.png", other)})
    yield merged(one, two, bones=bones, keypoint_attribute="joint")


@case("give skeleton=FILE")
def points_that_an_attribute_ties_in_another_file(tmp_path: Path, bones: Path) -> Attempts:
    declared = {
        role: {"type": "text", "description": f"[roilab:{role}]"}
        for role in ("keypoint", "instance")
    }
    tied = [polygon(kind="dog", instance="1"), point(9, 9, keypoint="tail", instance="1")]
    one = via_project(tmp_path, tied, attributes=declared, name="one.json")
    untied = [polygon(kind="dog"), point(9, 9, keypoint="tail")]
    two = write(tmp_path / "two.json", {"b": entry("1.png", untied)})
    yield merged(one, two)
    yield merged(one, two, bones=bones)


@case("give {}, or rename the attribute of this file to '{}'")
def a_keypoint_attribute_under_another_name(tmp_path: Path, bones: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="nose")]
    one = via_json(tmp_path, regions, name="one.json")
    other = [polygon(kind="dog"), point(9, 9, joint="nose", other="tail")]
    files = one, write(tmp_path / "two.json", {"b": entry("1.png", other)})
    yield merged(*files, bones=bones)
    yield merged(*files, bones=bones, keypoint_attribute="joint")
    other[1] = point(9, 9, part="nose", other="tail")
    renamed = write(tmp_path / "three.json", {"b": entry("1.png", other)})
    yield merged(one, renamed, bones=bones)


@case("rename it in one of the files")
def a_name_of_two_roles(tmp_path: Path, bones: Path) -> Attempts:
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
        yield proposed(via_json(tmp_path, [polygon(kind="dog"), nose]))
    line = polygon((9, 9), (20, 20), kind="")
    line["shape_attributes"]["name"] = "polyline"
    yield label(
        via_json(tmp_path, [polygon(kind="dog"), line]),
        skeleton(tmp_path),
        keypoint_vertices="polyline",
    )


@case("give keypoint_attribute=NAME, or leave it out")
def a_keypoint_attribute_that_does_not_occur(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [point(9, 9, part="nose")])
    yield proposed(file, keypoint_attribute="prat")
    yield proposed(file, keypoint_attribute="part")
    yield proposed(file)


@case("give the file of each person")
def sigmas_of_one_person(tmp_path: Path, script: Script) -> Attempts:
    files = [
        via_json(tmp_path, [polygon(kind="dog"), point(x, 9, part="nose")], name=f"{x}.json")
        for x in (9, 11)
    ]
    yield printed(script("data", "skeleton", "--sigmas", "--from", files[0]))
    yield printed(script("data", "skeleton", "--sigmas", "--from", *files))
