"""Remedies of reading and labelling VIA and COCO files."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roilab import skeleton as skeletons
from roilab import via
from roilab.data import read as data_read

from .cases import Wrong, case, wrong
from .files import (
    SQUARE,
    choice,
    coco,
    entry,
    point,
    polygon,
    skeleton,
    via_json,
    via_project,
    write,
)

Attempts = Iterator[Wrong]
FAR = ((40, 5), (60, 5), (60, 25), (40, 25))
CORNER = ((0, 0), (4, 0), (4, 4), (0, 4))


def label(file: Path, skeleton: Path | None = None, **rules: Any) -> Wrong:
    """What is wrong when a file is read and labelled."""

    def labelled() -> via.LabelledSet:
        bones = None if skeleton is None else skeletons.load(skeleton)
        return via.label(data_read.read(file), via.LabelRules(**rules), bones)

    return wrong(labelled)


def read(file: Path) -> Wrong:
    """What is wrong when a file is read."""
    return wrong(data_read.read, file)


# Which attribute is what.


@case("give class_attribute")
def two_possible_classes(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog", colour="red")])
    yield label(file)
    yield label(file, class_attribute="kind")


NO_CLASS = "give default_class, the class of all regions, or class_attribute, or unlabelled=skip"


@case(NO_CLASS)
def no_attribute(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon()])
    yield label(file)
    yield label(file, default_class="dog")
    yield label(file, unlabelled="skip")


@case(NO_CLASS)
def the_class_given_as_another_attribute(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield label(file, instance_attribute="kind")
    yield label(file, class_attribute="kind")


@case("give keypoint_attribute")
def two_possible_keypoint_attributes(tmp_path: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="nose", other="tail")]
    file, bones = via_json(tmp_path, regions), skeleton(tmp_path)
    yield label(file, bones)
    yield label(file, bones, keypoint_attribute="part")


@case("name the points, or the skeleton's")
def points_without_a_known_name(tmp_path: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="ear")]
    file, bones = via_json(tmp_path, regions), skeleton(tmp_path)
    yield label(file, bones)
    yield label(file, skeleton(tmp_path, "other", keypoints=["ear", "tail"]))
    regions[1] = point(9, 9, part="nose")
    yield label(via_json(tmp_path, regions), bones)


@case("give visibility_attribute")
def two_possible_visibilities(tmp_path: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="nose", seen="visible", state="occluded")]
    file, bones = via_json(tmp_path, regions), skeleton(tmp_path)
    yield label(file, bones)
    yield label(file, bones, visibility_attribute="seen")


TIES = (
    "give instance_attribute, or, where points belong to the outline around them, name the "
    "attribute found as what it is (class_attribute, visibility_attribute)"
)


@case(TIES)
def two_possible_ties(tmp_path: Path) -> Attempts:
    regions = [
        polygon(kind="dog", id="1", track="7"),
        point(9, 9, part="nose", id="1", track="7"),
    ]
    file, bones = via_json(tmp_path, regions), skeleton(tmp_path)
    yield label(file, bones, class_attribute="kind")
    yield label(file, bones, class_attribute="kind", instance_attribute="id")


@case(TIES)
def a_class_that_points_carry_as_well(tmp_path: Path) -> Attempts:
    noses = [point(x, 9, part="nose", kind="dog") for x in (9, 45)]
    file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="dog"), *noses])
    bones = skeleton(tmp_path)
    yield label(file, bones)
    yield label(file, bones, class_attribute="kind")


@case("give visibility_attribute or instance_attribute if it is one of them")
def an_unused_attribute_of_points(tmp_path: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="nose", seen="yes")]
    file, bones = via_json(tmp_path, regions), skeleton(tmp_path)
    yield label(file, bones)
    yield label(file, bones, visibility_attribute="seen")


@case("give a skeleton to read them")
def points_without_a_skeleton(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog"), point(9, 9, part="nose")])
    yield label(file)
    yield label(file, skeleton(tmp_path))


@case("map a class to {} with class_map, or name the class in the skeleton's file")
def no_class_has_the_skeleton(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="puppy")])
    bones = skeleton(tmp_path)
    yield label(file, bones)
    yield label(file, bones, class_map={"puppy": "dog"})
    yield label(file, skeleton(tmp_path, "puppy", classes=["puppy"]))


@case("mark them as points, or, where a path has them as vertices, give keypoint_vertices")
def no_keypoint(tmp_path: Path) -> Attempts:
    line = polygon((9, 9), (20, 20), kind="")
    line["shape_attributes"]["name"] = "polyline"
    bones = skeleton(tmp_path)
    yield label(via_json(tmp_path, [polygon(kind="dog")]), bones)
    yield label(
        via_json(tmp_path, [polygon(kind="dog"), line]), bones, keypoint_vertices="polyline"
    )
    yield label(via_json(tmp_path, [polygon(kind="dog"), point(9, 9, part="nose")]), bones)


# Classes.


@case("tick one")
def two_classes_ticked(tmp_path: Path) -> Attempts:
    for ticks in ({"dog": True, "cat": True}, {"dog": True}):
        yield label(via_json(tmp_path, [polygon(kind=ticks)]))


@case("label it in VIA, or give default_class, or unlabelled=skip")
def a_region_without_a_class(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="")])
    yield label(file)
    yield label(file, default_class="cat")
    yield label(file, unlabelled="skip")
    yield label(via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="cat")]))


@case("label them in VIA if they shall count")
def skipped_regions(tmp_path: Path) -> Attempts:
    for kind in ("", "cat"):
        file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind=kind)])
        yield label(file, unlabelled="skip")


@case("take it out of class_map to keep them")
def a_dropped_class(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield label(file, class_map={"dog": None})
    yield label(file)


@case("the file has {}")
def an_unknown_class_in_the_map(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield label(file, class_map={"dgo": "animal"})
    yield label(file, class_map={"dog": "animal"})


@case("map '{}' to '{}' if that is meant, else choose another name")
def two_classes_mapped_to_one(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="cat")])
    yield label(file, class_map={"dog": "cat"})
    yield label(file, class_map={"dog": "cat", "cat": "cat"})
    yield label(file, class_map={"dog": "animal"})


@case("describe them differently in VIA, or remove all but one")
def two_options_of_one_name(tmp_path: Path) -> Attempts:
    for options in ({"1": "dog", "2": "dog"}, {"1": "dog", "2": "cat"}, {"1": "dog"}):
        attributes = {"kind": choice(**options)}
        yield label(via_project(tmp_path, [polygon(kind="1")], attributes=attributes))


@case("make them one with class_map")
def names_that_differ_by_case(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="Dog")])
    yield label(file)
    yield label(file, class_map={"Dog": "dog"})


# Regions, points and what they belong to.


@case("draw it again in VIA, or delete it")
def a_flat_polygon(tmp_path: Path) -> Attempts:
    yield label(via_json(tmp_path, [polygon((5, 5), (9, 9), (12, 12), kind="dog")]))
    yield label(via_json(tmp_path, [polygon(kind="dog")]))
    yield label(via_json(tmp_path, []))


@case("give both one class, or the objects different values")
def one_object_of_two_classes(tmp_path: Path) -> Attempts:
    for second in (
        {"kind": "cat", "id": "1"},
        {"kind": "dog", "id": "1"},
        {"kind": "cat", "id": "2"},
    ):
        file = via_json(tmp_path, [polygon(kind="dog", id="1"), polygon(*FAR, **second)])
        yield label(file, class_attribute="kind", instance_attribute="id")


@case("tick one object")
def several_objects_ticked(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    for ticks in ({"1": True, "2": True}, {"1": True}):
        regions = [polygon(kind="dog", id={"1": True}), point(9, 9, part="nose", id=ticks)]
        yield label(via_json(tmp_path, regions), bones, instance_attribute="id")


@case("tick one object")
def an_outline_of_several_objects(tmp_path: Path) -> Attempts:
    for ticks in ({"1": True, "2": True}, {"1": True}):
        yield label(via_json(tmp_path, [polygon(kind="dog", id=ticks)]), instance_attribute="id")


@case("set '{}'")
def a_point_without_an_object(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    for tie in ("", "1"):
        regions = [polygon(kind="dog", id="1"), point(9, 9, part="nose", id=tie)]
        yield label(via_json(tmp_path, regions), bones, instance_attribute="id")


@case("only {} has skeleton '{}'")
def a_point_of_another_class(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    dog = polygon(*FAR, kind="dog", id="2")
    for kind in ("car", "dog"):
        regions = [polygon(kind=kind, id="1"), dog, point(9, 9, part="nose", id="1")]
        yield label(via_json(tmp_path, regions), bones, instance_attribute="id")


@case("keep the object's class to keep it")
def a_point_of_a_dropped_object(tmp_path: Path) -> Attempts:
    regions = [polygon(kind="dog", id="1"), point(9, 9, part="nose", id="1")]
    file, bones = via_json(tmp_path, regions), skeleton(tmp_path)
    rules = {"class_attribute": "kind", "instance_attribute": "id"}
    yield label(file, bones, **rules, class_map={"dog": None})
    yield label(file, bones, **rules)


@case("mend the object's outline first")
def a_point_of_a_broken_object(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    for corners in (((5, 5), (9, 9), (12, 12)), ()):
        regions = [polygon(*corners, kind="dog", id="1"), point(9, 9, part="nose", id="1")]
        file = via_json(tmp_path, regions)
        yield label(file, bones, class_attribute="kind", instance_attribute="id")


@case("delete one where it is double, or give instance_attribute")
def a_point_in_two_like_outlines(tmp_path: Path) -> Attempts:
    twice = [polygon(kind="dog", id="1"), polygon(kind="dog", id="2")]
    nose, bones = point(9, 9, part="nose"), skeleton(tmp_path)
    yield label(via_json(tmp_path, [*twice, nose]), bones, class_attribute="kind")
    yield label(via_json(tmp_path, [twice[0], nose]), bones, class_attribute="kind")
    nose = point(9, 9, part="nose", id="1")
    rules = {"class_attribute": "kind", "instance_attribute": "id"}
    yield label(via_json(tmp_path, [*twice, nose]), bones, **rules)


@case("draw the object's outline around it, or give instance_attribute")
def a_point_beside_its_outline(tmp_path: Path) -> Attempts:
    bones, nose = skeleton(tmp_path), point(50, 9, part="nose")
    yield label(via_json(tmp_path, [polygon(kind="dog"), nose]), bones)
    yield label(via_json(tmp_path, [polygon(*FAR, kind="dog"), nose]), bones)
    regions = [polygon(kind="dog", id="1"), point(50, 9, part="nose", id="1")]
    rules = {"class_attribute": "kind", "instance_attribute": "id"}
    yield label(via_json(tmp_path, regions), bones, **rules)


@case("outline the objects, or give instance_attribute")
def points_of_several_objects(tmp_path: Path) -> Attempts:
    noses = [point(9, 9, part="nose", id="1"), point(50, 9, part="nose", id="2")]
    file, bones = via_json(tmp_path, noses), skeleton(tmp_path)
    yield label(file, bones, keypoint_attribute="part")
    yield label(file, bones, keypoint_attribute="part", instance_attribute="id")
    outlines = [polygon(kind="dog"), polygon(*FAR, kind="dog")]
    rules = {"keypoint_attribute": "part", "class_attribute": "kind"}
    yield label(via_json(tmp_path, [*outlines, *noses]), bones, **rules)


@case("delete one of the two, or name it as what it is")
def a_second_nose(tmp_path: Path) -> Attempts:
    bones, outline = skeleton(tmp_path), polygon(kind="dog")
    for others in (["nose"], [], ["tail"]):
        points = [point(9, 9, part="nose"), *(point(20, 20, part=each) for each in others)]
        yield label(via_json(tmp_path, [outline, *points]), bones)


@case("outline the object; {} have these keypoints")
def points_of_an_unknown_class(tmp_path: Path) -> Attempts:
    bones, nose = skeleton(tmp_path, classes=["dog", "cat"]), point(9, 9, part="nose")
    yield label(via_json(tmp_path, [nose]), bones)
    yield label(via_json(tmp_path, [nose, polygon(kind="cat")]), bones)


@case("outline the object, or delete its points")
def an_object_without_labelled_points(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    seen = [point(9, 9, part="nose", seen="absent")]
    yield label(via_json(tmp_path, seen), bones)
    yield label(via_json(tmp_path, [*seen, polygon(kind="dog")]), bones)
    yield label(via_json(tmp_path, []), bones)


@case("outline it if it shall count for boxes and masks")
def an_object_of_points(tmp_path: Path) -> Attempts:
    bones, nose = skeleton(tmp_path), point(9, 9, part="nose")
    yield label(via_json(tmp_path, [nose]), bones)
    yield label(via_json(tmp_path, [nose, polygon(kind="dog")]), bones)


@case("draw a vertex for each of {}, in this order")
def a_path_with_a_vertex_too_many(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    for corners in (((5, 5), (9, 9), (12, 3)), ((5, 5), (9, 9))):
        line = polygon(*corners)
        line["shape_attributes"]["name"] = "polyline"
        yield label(via_json(tmp_path, [line]), bones, keypoint_vertices="polyline")


@case("use a name of skeleton '{}': {}")
def an_unknown_keypoint(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    for part in ("ear", "tail"):
        points = [point(9, 9, part="nose"), point(12, 12, part=part)]
        yield label(via_json(tmp_path, [polygon(kind="dog"), *points]), bones)


@case("tick at most one")
def two_visibilities_ticked(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    for ticks in ({"visible": True, "occluded": True}, {"visible": True}):
        regions = [polygon(kind="dog"), point(9, 9, part="nose", seen=ticks)]
        yield label(via_json(tmp_path, regions), bones, visibility_attribute="seen")


@case("use one of {}")
def an_unknown_visibility(tmp_path: Path) -> Attempts:
    bones = skeleton(tmp_path)
    for seen in ("perhaps", "occluded", "yes"):
        regions = [polygon(kind="dog"), point(9, 9, part="nose", seen=seen)]
        yield label(via_json(tmp_path, regions), bones, visibility_attribute="seen")


# Entries of VIA's JSON.


@case("draw it again in VIA")
def a_region_that_is_no_object(tmp_path: Path) -> Attempts:
    for regions in (["polygon"], [polygon(kind="dog")]):
        yield read(via_json(tmp_path, regions))


@case("draw the region again in VIA, or delete it")
def a_rect_without_extent(tmp_path: Path) -> Attempts:
    rect = {"name": "rect", "x": 5, "y": 5, "width": 0, "height": 9}
    yield read(via_json(tmp_path, [{"shape_attributes": rect, "region_attributes": {}}]))
    yield read(via_json(tmp_path, [polygon()]))
    yield read(via_json(tmp_path, []))


@case("write [] where nothing is annotated")
def an_entry_without_regions(tmp_path: Path) -> Attempts:
    for regions in (None, []):
        yield read(write(tmp_path / "via.json", {"0.png-1": entry("0.png", regions)}))


@case("give it a filename, or remove the entry")
def an_entry_without_a_name(tmp_path: Path) -> Attempts:
    sound = {"0.png-1": entry("0.png", [])}
    yield read(write(tmp_path / "via.json", {**sound, "1": entry("", [])}))
    yield read(write(tmp_path / "via.json", {**sound, "1": entry("1.png", [])}))
    yield read(write(tmp_path / "via.json", sound))


@case("make them one: what only one of them holds is background in the others")
def two_entries_of_one_image(tmp_path: Path) -> Attempts:
    one, two = [polygon(kind="dog")], [polygon(*FAR, kind="dog")]
    entries = {"a": entry("0.png", one), "b": entry("0.png", two)}
    yield read(write(tmp_path / "via.json", entries))
    yield read(write(tmp_path / "via.json", {"a": entry("0.png", one + two)}))


@case("delete one of the two in VIA: both are taken for objects")
def a_region_twice(tmp_path: Path) -> Attempts:
    yield read(via_json(tmp_path, [polygon(kind="dog"), polygon(kind="dog")]))
    yield read(via_json(tmp_path, [polygon(kind="dog")]))


@case("declare the attribute again in VIA")
def a_declaration_that_is_no_object(tmp_path: Path) -> Attempts:
    for declared in ("text", choice(dog="dog")):
        attributes = {"kind": declared}
        yield read(via_project(tmp_path, [polygon(kind="dog")], attributes=attributes))


@case("set the attributes again in VIA")
def attributes_that_are_no_object(tmp_path: Path) -> Attempts:
    for values in ("dog", {"kind": "dog"}):
        yield read(via_json(tmp_path, [polygon() | {"region_attributes": values}]))


@case("give one value, or use a checkbox")
def a_list_for_a_value(tmp_path: Path) -> Attempts:
    for value in (["dog", "cat"], "dog", {"dog": True, "cat": True}):
        yield read(via_json(tmp_path, [polygon(kind=value)]))


@case("tick it again in VIA, or write true or false")
def a_tick_that_is_none(tmp_path: Path) -> Attempts:
    for state in ("perhaps", True, False):
        yield read(via_json(tmp_path, [polygon(kind={"dog": state})]))


@case("remove it from the list: VIA cannot open the project as it is")
def an_id_without_an_entry(tmp_path: Path) -> Attempts:
    for ids in (["0.png-1", "gone"], ["0.png-1"]):
        yield read(via_project(tmp_path, [polygon()], attributes={}, _via_image_id_list=ids))


# Files as a whole.


@case("save it as UTF-8 where another program wrote it")
def a_file_in_latin_1(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    text = file.read_text().replace("dog", "café")
    for encoding in ("latin-1", "utf-8"):
        file.write_bytes(text.encode(encoding))
        yield read(file)


@case("save it again from VIA, or mend the line by hand")
def broken_json(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    text = file.read_text()
    yield read(write(file, text[:-1] + ",}"))
    yield read(write(file, text))


@case("in VIA, save the project, which holds both, or export the annotations")
def an_attributes_file(tmp_path: Path) -> Attempts:
    attributes = {"kind": choice(dog="dog")}
    yield read(write(tmp_path / "attributes.json", {"region": attributes, "file": {}}))
    yield read(via_project(tmp_path, [polygon(kind="dog")], attributes=attributes))
    yield read(via_json(tmp_path, [polygon(kind="dog")]))


@case("in VIA, save the project, or export the annotations as JSON or CSV")
def another_file(tmp_path: Path) -> Attempts:
    yield read(write(tmp_path / "other.json", {"what": "else"}))
    yield read(via_project(tmp_path, [polygon()], attributes={}))
    yield read(via_json(tmp_path, [polygon()]))
    yield read(via_csv(tmp_path, row("0.png")))


@case("rename all but one of them in the file, or remove what is double")
def a_repeated_key(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    text = file.read_text()
    yield read(write(file, text.replace('"kind": "dog"', '"kind": "dog", "kind": "cat"')))
    yield read(write(file, text.replace('"kind": "dog"', '"kind": "dog", "colour": "cat"')))
    yield read(write(file, text))


@case("mend them, or read without strict: the sound part then loads", leads_on=True)
def errors_read_strictly(tmp_path: Path) -> Attempts:
    broken = via_json(tmp_path, [polygon(kind="dog"), "none"], name="broken.json")
    yield wrong(via.read, broken, strict=True)
    yield wrong(via.read, broken)
    yield wrong(via.read, via_json(tmp_path, [polygon(kind="dog")]), strict=True)


# CSV.

COLUMNS = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
COLUMNS += "region_attributes"


def row(name: str, number: int | str = 0, count: int = 1, **more: Any) -> str:
    """A row of VIA's CSV with a polygon."""
    region = polygon((5 + 9 * int(number or 0), 5), (25, 5), (25, 25))
    shape = more.get("shape", json.dumps(region["shape_attributes"]))
    attributes = json.dumps(more.get("attributes", {}))
    out = io.StringIO()
    csv.writer(out).writerow([name, 9, attributes, count, number, shape, '{"kind": "dog"}'])
    return out.getvalue().strip()


def via_csv(folder: Path, *rows: str, columns: str = COLUMNS) -> Path:
    """A CSV of VIA 2."""
    return write(folder / "via.csv", "\n".join([columns, *rows]) + "\n")


@case("export the file again from VIA")
def other_columns(tmp_path: Path) -> Attempts:
    columns = COLUMNS.replace("region_id", "id")
    yield read(via_csv(tmp_path, row("0.png"), columns="#" + columns))
    yield read(via_csv(tmp_path, row("0.png"), columns="#" + COLUMNS))


@case("mend the line, or export the file again from VIA")
def a_line_cut_short(tmp_path: Path) -> Attempts:
    yield read(via_csv(tmp_path, row("0.png"), "1.png,9,{}"))
    yield read(via_csv(tmp_path, row("0.png"), row("1.png")))


@case("see that no row was lost, export the file again from VIA")
def a_lost_row(tmp_path: Path) -> Attempts:
    yield read(via_csv(tmp_path, row("0.png", 0, count=2)))
    yield read(via_csv(tmp_path, row("0.png", 0, count=2), row("0.png", 1, count=2)))


@case("number the regions of an image from 0")
def regions_without_numbers(tmp_path: Path) -> Attempts:
    yield read(via_csv(tmp_path, row("0.png", 0, count=2), row("0.png", "", count=2)))
    yield read(via_csv(tmp_path, row("0.png", 0, count=2), row("0.png", 1, count=2)))


@case("give all rows of an image the same file_attributes")
def rows_of_other_file_attributes(tmp_path: Path) -> Attempts:
    rows = [row("0.png", n, count=2, attributes={"at": f"{n}"}) for n in (0, 1)]
    yield read(via_csv(tmp_path, *rows))
    rows = [row("0.png", n, count=2, attributes={"at": "0"}) for n in (0, 1)]
    yield read(via_csv(tmp_path, *rows))


@case("mend the cell, or read VIA's JSON of the same set")
def a_cell_that_is_no_json(tmp_path: Path) -> Attempts:
    yield read(via_csv(tmp_path, row("0.png", shape='{"name": "rect"')))
    yield read(via_csv(tmp_path, row("0.png")))
    yield read(via_json(tmp_path, [polygon(kind="dog")]))


# VIA 3.


def via3(folder: Path, *metadata: Mapping[str, Any], **more: Any) -> Path:
    """A VIA 3 project of one image."""
    view = {"fid_list": ["1"]}
    project = {
        "project": {"vid_list": ["1"]},
        "config": {},
        "attribute": {"1": {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 1}},
        "file": {"1": {"fid": "1", "fname": "0.png", "type": 2, "loc": 1, "src": "0.png"}},
        "view": {"1": view},
        "metadata": {
            f"1_{n}": {"vid": "1", "z": [], "xy": [2, 5, 5, 9, 9], "av": {"1": "dog"}, **each}
            for n, each in enumerate(metadata)
        },
    }
    return write(folder / "via3.json", {**project, **more})


def via3_csv(folder: Path, *lines: str) -> Path:
    """A CSV of VIA 3."""
    head = "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)"
    return write(folder / "via3.csv", "\n".join([head, *lines]) + "\n")


@case("add the file in VIA 3")
def a_view_of_an_unknown_file(tmp_path: Path) -> Attempts:
    yield read(via3(tmp_path, file={}))
    yield read(via3(tmp_path))


@case("make a view of each image in VIA 3")
def a_view_of_two_files(tmp_path: Path) -> Attempts:
    one = {"fname": "0.png", "type": 2, "loc": 1, "src": "0.png"}
    files = {"1": one, "2": {**one, "fname": "1.png", "src": "1.png"}}
    yield read(via3(tmp_path, file=files, view={"1": {"fid_list": ["1", "2"]}}))
    views = {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}}
    yield read(via3(tmp_path, file=files, view=views, project={"vid_list": ["1", "2"]}))


@case("rename it in VIA")
def two_attributes_of_one_name(tmp_path: Path) -> Attempts:
    one = {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 1}
    for name in ("kind", "colour"):
        yield read(via3(tmp_path, attribute={"1": one, "2": {**one, "aname": name}}))


@case("annotate it again in VIA")
def times_that_are_no_list(tmp_path: Path) -> Attempts:
    for times in ("now", []):
        yield read(via3(tmp_path, {"z": times}))


@case("annotate it again in VIA")
def values_that_are_no_object(tmp_path: Path) -> Attempts:
    for values in ("dog", {"1": "dog"}):
        yield read(via3(tmp_path, {"av": values}))


@case("annotate them as regions of images")
def metadata_of_a_time(tmp_path: Path) -> Attempts:
    yield read(via3(tmp_path, {"z": [1.5]}))
    yield read(via3(tmp_path, {}))


@case("mend the line, or export it again from VIA")
def a_line_of_via3_cut_short(tmp_path: Path) -> Attempts:
    sound = '"1_a","[""0.png""]",0,"[]","[2,5,5,9,9]","{""1"":""dog""}"'
    yield read(via3_csv(tmp_path, sound, '"1_b","[""0.png""]",0'))
    yield read(via3_csv(tmp_path, sound, sound.replace("1_a", "1_b").replace("5,5", "6,6")))


# COCO, read as VIA.


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


# Writing VIA files.


@case("leave it out, or mend it")
def a_shape_that_cannot_be_read_again(tmp_path: Path) -> Attempts:
    for corners in (((5.0, 5.0),), ((5, 5), (25, 5), (25, 25))):
        shape = via.Polygon(*(tuple(each) for each in zip(*corners, strict=True)))
        regions = (via.Region(0, shape, {}),)
        yield wrong(via.write_project, tmp_path / "out.json", annotations(regions))
    yield wrong(via.write_project, tmp_path / "out.json", annotations(()))


def annotations(regions: tuple[via.Region, ...] = (), name: str = "0.png", **more: Any) -> Any:
    """One image."""
    images = (via.ImageRecord("0", name, None, regions),)
    return via.Annotations("", via.Container.VIA2_JSON, images, more.pop("region", {}), {}, **more)


@case("rename the image")
def a_name_with_a_line_break(tmp_path: Path) -> Attempts:
    for name in ("a\nb.png", "a b.png"):
        yield wrong(via.write_csv, tmp_path / "out.csv", annotations(name=name))


@case("rename the image, or write a project")
def a_name_with_a_comma(tmp_path: Path) -> Attempts:
    yield wrong(via.write_csv, tmp_path / "out.csv", annotations(name="a,b.png"))
    yield wrong(via.write_csv, tmp_path / "out.csv", annotations(name="a b.png"))
    yield wrong(via.write_project, tmp_path / "out.json", annotations(name="a,b.png"))


@case("write a project, which holds them", "write a project, which holds it")
def what_a_csv_does_not_hold(tmp_path: Path) -> Attempts:
    full = annotations(region={"kind": via.Attribute("kind")}, default_path="images/")
    yield wrong(via.write_csv, tmp_path / "out.csv", full)
    yield wrong(via.write_project, tmp_path / "out.json", full)
