"""Every remedy is followed, and what it is for is gone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.via import Attribute, LabelRules, Polyline, label, read

from .test_instances import BONES, Drawn, box, dot, file_of, path

PERSON = {"kind": "person"}
CAR_BONES = replace(BONES, classes=("car",))
AS_FOUND = LabelRules()


class Use(NamedTuple):
    """A file and how it is labelled."""

    drawn: Sequence[Drawn]
    rules: LabelRules = AS_FOUND
    skeleton: Skeleton | None = None
    declared: Mapping[str, Attribute] = {}


def remedies(use: Use) -> dict[str, str | None]:
    """Message -> remedy of all that is said."""
    try:
        result = label(file_of(list(use.drawn), **use.declared), use.rules, use.skeleton)
    except UserError as error:
        return {error.message: error.remedy}
    return {each.message: each.remedy for each in result.problems}


TWO = [box(kind="cat", colour="red"), box(20, kind="dog", colour="red")]
TIED = [box(kind="person", id="a"), dot(part="head", kind="person", id="a")]
NAMED = dot(part="head")
SEEN = [box(kind="person"), dot(part="head", a="visible", b="occluded")]
ALIKE = {"kind": Attribute("kind", "radio", "", {"1": "cat", "2": "cat"})}
TOLD_APART = {"kind": Attribute("kind", "radio", "", {"1": "cat", "2": "dog"})}
BY_ID = LabelRules(class_attribute="kind", instance_attribute="id")
LINE = path((1, 1), (2, 2), (3, 3))
LONG = path((1, 1), (2, 2), (3, 3), (4, 4))
MARKED = [box(kind="person"), (LINE[0], {})]

# What is said, words of the remedy, where it is said, and what following it makes of that.
CASES: list[tuple[str, str, Use, Use]] = [
    (
        "several attributes could be the class",
        "give class_attribute",
        Use(TWO),
        Use(TWO, LabelRules(class_attribute="kind")),
    ),
    (
        "several attributes could be the class",
        "several names where each",
        Use(TWO),
        Use([box(kind="cat"), box(colour="red")], LabelRules(class_attribute=["kind", "colour"])),
    ),
    (
        "several attributes could be the class",
        '"" and default_class',
        Use(TWO),
        Use(TWO, LabelRules(class_attribute="", default_class="it")),
    ),
    (
        "no attribute of the regions can be the class",
        "give default_class",
        Use([box()]),
        Use([box()], LabelRules(default_class="it")),
    ),
    (
        "no attribute of the regions can be the class",
        "unlabelled=skip",
        Use([box()]),
        Use([box()], LabelRules(unlabelled="skip")),
    ),
    (
        "no attribute of the regions can be the class",
        "class_attribute",
        Use([box(part="head"), NAMED], skeleton=BONES),
        Use(
            [box(part="head"), NAMED],
            LabelRules(class_attribute="part", keypoint_attribute="part"),
            BONES,
        ),
    ),
    (
        "no region has the attribute 'sort'",
        "give another class_attribute",
        Use(TWO, LabelRules(class_attribute="sort")),
        Use(TWO, LabelRules(class_attribute="kind")),
    ),
    (
        "no region has the attribute 'sort'",
        "give default_class as well",
        Use([box()], LabelRules(class_attribute="sort")),
        Use([box()], LabelRules(class_attribute="sort", default_class="it")),
    ),
    (
        "no region has the attribute 'id'",
        "leave instance_attribute out",
        Use([box()], LabelRules(instance_attribute="id", default_class="it")),
        Use([box()], LabelRules(default_class="it")),
    ),
    (
        "cannot tell which attribute names the keypoints",
        "give keypoint_attribute",
        Use([box(kind="person"), dot(part="head", place="left")], skeleton=BONES),
        Use(
            [box(kind="person"), dot(part="head", place="left")],
            LabelRules(keypoint_attribute="part"),
            BONES,
        ),
    ),
    (
        "cannot tell which attribute names the keypoints",
        "name the points",
        Use([box(kind="person"), dot(part="nose")], skeleton=BONES),
        Use([box(kind="person"), NAMED], skeleton=BONES),
    ),
    (
        "several attributes could be the visibility of the points",
        "give visibility_attribute",
        Use(SEEN, skeleton=BONES),
        Use(SEEN, LabelRules(visibility_attribute="a"), BONES),
    ),
    (
        "several attributes could be the visibility of the points",
        '""',
        Use(SEEN, skeleton=BONES),
        Use(SEEN, LabelRules(visibility_attribute=""), BONES),
    ),
    (
        "cannot tell which attribute ties points to their object",
        "give instance_attribute",
        Use(TIED, skeleton=BONES),
        Use(TIED, LabelRules(instance_attribute="id"), BONES),
    ),
    (
        "cannot tell which attribute ties points to their object",
        'instance_attribute=""',
        Use(TIED, skeleton=BONES),
        Use(TIED, LabelRules(class_attribute="kind", instance_attribute=""), BONES),
    ),
    (
        "the region has no class",
        "give default_class",
        Use([box(kind="cat"), box(20)]),
        Use([box(kind="cat"), box(20)], LabelRules(default_class="it")),
    ),
    (
        "the region has no class",
        "unlabelled=skip",
        Use([box(kind="cat"), box(20)]),
        Use([box(kind="cat"), box(20)], LabelRules(unlabelled="skip")),
    ),
    (
        "the region has several classes: cat, dog",
        "give it one",
        Use([box(kind=("cat", "dog"))]),
        Use([box(kind=("cat",))]),
    ),
    (
        "class_map renames 'dgo', which does not occur",
        "the file has cat, dog",
        Use([box(kind="cat"), box(20, kind="dog")], LabelRules(class_map={"dgo": "it"})),
        Use([box(kind="cat"), box(20, kind="dog")], LabelRules(class_map={"dog": "it"})),
    ),
    (
        "class_map makes 'cat' one class with 'dog', which occurs as well",
        "map 'dog' to 'dog'",
        Use([box(kind="cat"), box(20, kind="dog")], LabelRules(class_map={"cat": "dog"})),
        Use(
            [box(kind="cat"), box(20, kind="dog")],
            LabelRules(class_map={"cat": "dog", "dog": "dog"}),
        ),
    ),
    (
        "the classes 'Cat', 'cat' differ only by case or white space",
        "class_map",
        Use([box(kind="cat"), box(20, kind="Cat")]),
        Use([box(kind="cat"), box(20, kind="Cat")], LabelRules(class_map={"Cat": "cat"})),
    ),
    (
        "the options '1', '2' are one class: all are described as 'cat'",
        "describe them differently",
        Use([box(kind="1")], declared=ALIKE),
        Use([box(kind="1")], declared=TOLD_APART),
    ),
    (
        "1 regions of class 'cat' are dropped by class_map",
        "take it out of class_map",
        Use([box(kind="cat")], LabelRules(class_map={"cat": None})),
        Use([box(kind="cat")]),
    ),
    (
        "1 regions without a class are skipped",
        "label them",
        Use([box(kind="cat"), box(20)], LabelRules(unlabelled="skip")),
        Use([box(kind="cat"), box(20, kind="cat")], LabelRules(unlabelled="skip")),
    ),
    (
        "1 regions that hold keypoints are ignored",
        "give a skeleton",
        Use([box(kind="person"), NAMED]),
        Use([box(kind="person"), NAMED], skeleton=BONES),
    ),
    (
        "1 regions that hold keypoints are ignored",
        "an attribute in VIA that names each, then a skeleton",
        Use([box(kind="person"), dot()]),
        Use([box(kind="person"), NAMED], skeleton=BONES),
    ),
    (
        "no class of the file (car) has skeleton 'bones'",
        "map a class to person with class_map",
        Use([box(kind="car")], skeleton=BONES),
        Use([box(kind="car"), NAMED], LabelRules(class_map={"car": "person"}), BONES),
    ),
    (
        "no class of the file (car) has skeleton 'bones'",
        "name the class in the skeleton's file",
        Use([box(kind="car")], skeleton=BONES),
        Use([box(kind="car")], skeleton=CAR_BONES),
    ),
    (
        "the file has no keypoint of skeleton 'bones'",
        "give keypoint_vertices",
        Use([box(kind="person"), (LINE[0], PERSON)], skeleton=BONES),
        Use(MARKED, LabelRules(keypoint_vertices="polyline"), BONES),
    ),
    (
        "an attribute of the points is not used: state ('2')",
        "give visibility_attribute",
        Use([box(kind="person"), dot(part="head", state="2")], skeleton=BONES),
        Use(
            [box(kind="person"), dot(part="head", state="2")],
            LabelRules(visibility_attribute="state"),
            BONES,
        ),
    ),
    (
        "the point belongs to no object",
        "set 'id'",
        Use([box(kind="person", id="1"), NAMED], BY_ID, BONES),
        Use([box(kind="person", id="1"), dot(part="head", id="1")], BY_ID, BONES),
    ),
    (
        "the point belongs to object '1', a car, without keypoints",
        "tie it to a person",
        Use([box(kind="car", id="1"), dot(part="head", id="1")], BY_ID, BONES),
        Use(
            [box(kind="car", id="1"), box(20, kind="person", id="2"), dot(part="head", id="2")],
            BY_ID,
            BONES,
        ),
    ),
    (
        "the point belongs to object '1', a car, without keypoints",
        "name the class in the file of skeleton 'bones'",
        Use([box(kind="car", id="1"), dot(part="head", id="1")], BY_ID, BONES),
        Use([box(kind="car", id="1"), dot(part="head", id="1")], BY_ID, CAR_BONES),
    ),
    (
        "the point belongs to object '1', which is dropped as asked",
        "keep the object's class",
        Use(
            [box(kind="person", id="1"), dot(part="head", id="1")],
            replace(BY_ID, class_map={"person": None}),
            BONES,
        ),
        Use([box(kind="person", id="1"), dot(part="head", id="1")], BY_ID, BONES),
    ),
    (
        "the point belongs to object '1', which is left out",
        "mend the object's outline",
        Use([box(id="1"), box(20, kind="person"), dot(part="head", id="1")], BY_ID, BONES),
        Use([box(kind="person", id="1"), dot(part="head", id="1")], BY_ID, BONES),
    ),
    (
        "the point belongs to several objects: 1, 2",
        "tick one object",
        Use([box(kind="person", id="1"), dot(part="head", id=("1", "2"))], BY_ID, BONES),
        Use([box(kind="person", id="1"), dot(part="head", id=("1",))], BY_ID, BONES),
    ),
    (
        "taken for an object of its own, since several are ticked: 1, 2",
        "tick one object",
        Use([box(kind="cat", id=("1", "2"))], BY_ID),
        Use([box(kind="cat", id=("1",))], BY_ID),
    ),
    (
        "class dog, but region 0 of object '1' is a cat",
        "give both one class",
        Use([box(kind="cat", id="1"), box(kind="dog", id="1")], BY_ID),
        Use([box(kind="cat", id="1"), box(20, kind="cat", id="1")], BY_ID),
    ),
    (
        "the polyline encloses no area: all its vertices lie on one line",
        "draw it again",
        Use([box(kind="cat"), (LINE[0], {"kind": "cat"})]),
        Use([box(kind="cat"), (Polyline((0, 5, 0), (0, 0, 5)), {"kind": "cat"})]),
    ),
    (
        "the point lies in no person",
        "draw the object's outline around it",
        Use([box(kind="person"), dot(50, 50, part="head")], skeleton=BONES),
        Use([box(0, 60, kind="person"), dot(50, 50, part="head")], skeleton=BONES),
    ),
    (
        "the point lies in no person",
        "give instance_attribute",
        Use([box(kind="person"), dot(50, 50, part="head")], skeleton=BONES),
        Use([box(kind="person", id="1"), dot(50, 50, part="head", id="1")], BY_ID, BONES),
    ),
    (
        "the point lies in several outlines of the same area: regions 0 and 1",
        "delete one",
        Use([box(kind="person"), box(5, kind="person"), dot(7, 7, part="head")], skeleton=BONES),
        Use([box(kind="person"), dot(7, 7, part="head")], skeleton=BONES),
    ),
    (
        "the point belongs to one of several objects, none of them outlined",
        "outline the objects",
        Use([NAMED, dot(50, part="head")], LabelRules(default_class="person"), BONES),
        Use(
            [NAMED, dot(50, part="head"), box(), box(45)],
            LabelRules(default_class="person"),
            BONES,
        ),
    ),
    (
        "a second head of one person",
        "name it as what it is",
        Use([box(kind="person"), NAMED, dot(2, part="head")], skeleton=BONES),
        Use([box(kind="person"), NAMED, dot(2, part="left")], skeleton=BONES),
    ),
    (
        "the class of the point's object is unknown",
        "outline the object",
        Use([NAMED], skeleton=replace(BONES, classes=("person", "child"))),
        Use([NAMED, box(kind="child")], skeleton=replace(BONES, classes=("person", "child"))),
    ),
    (
        "none of the object's points is labelled, and it has no outline",
        "delete its points",
        Use([dot(part="head", seen="absent")], skeleton=BONES),
        Use([], skeleton=BONES),
    ),
    (
        "a person of 1 points without an outline",
        "outline it",
        Use([NAMED], skeleton=BONES),
        Use([NAMED, box(kind="person")], skeleton=BONES),
    ),
    (
        "'nose' is no keypoint",
        "use a name of skeleton 'bones'",
        Use([box(kind="person"), NAMED, dot(2, part="nose")], skeleton=BONES),
        Use([box(kind="person"), NAMED, dot(2, part="left")], skeleton=BONES),
    ),
    (
        "'often' is no visibility",
        "use one of",
        Use([box(kind="person"), dot(part="head", seen="often")],
            LabelRules(visibility_attribute="seen"), BONES),
        Use([box(kind="person"), dot(part="head", seen="occluded")],
            LabelRules(visibility_attribute="seen"), BONES),
    ),
    (
        "4 vertices for the 3 keypoints",
        "draw a vertex for each of head, left, right",
        Use([box(kind="person"), (LONG[0], {})],
            LabelRules(keypoint_vertices="polyline"), BONES),
        Use(MARKED, LabelRules(keypoint_vertices="polyline"), BONES),
    ),
    (
        "the attributes 'a', 'b' are read as a class each, by their names",
        "give class_attribute",
        Use([box(a="a"), box(20, b="b")]),
        Use([box(a="a"), box(20, b="b")], LabelRules(class_attribute="a", default_class="b")),
    ),
    (
        "the class is 'name' by its name, not 'id'",
        "give class_attribute",
        Use([box(name="cat", id="1")]),
        Use([box(name="cat", id="1")], LabelRules(class_attribute="name")),
    ),
    (
        "regions of an image with the same 'instance' are one object, by its name",
        'give instance_attribute=""',
        Use([box(kind="cat", instance="1")]),
        Use([box(kind="cat", instance="1")], LabelRules(instance_attribute="")),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "remedy", "before", "after"), CASES)
def test_of_labelling(message: str, remedy: str, before: Use, after: Use) -> None:
    said = remedies(before)
    assert message in said
    assert remedy in (said[message] or "")
    followed = remedies(after)
    assert message not in followed
    # What was an error is not replaced by one that leads back.
    assert not any(said[message] == other for other in followed.values())


RECT = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}
DRAWN = {"shape_attributes": RECT, "region_attributes": {"kind": "cat"}}
ENTRY: dict[str, Any] = {
    "filename": "a.jpg", "size": 1, "regions": [DRAWN], "file_attributes": {},
}  # fmt: skip


def one(**changed: object) -> dict[str, Any]:
    return {"a.jpg1": ENTRY | changed}


def region(**changed: object) -> dict[str, Any]:
    return one(regions=[DRAWN | changed])


def values(value: object) -> dict[str, Any]:
    return region(region_attributes={"kind": value})


def shape(**changed: object) -> dict[str, Any]:
    return region(shape_attributes=RECT | changed)


def listed(*ids: str) -> dict[str, Any]:
    return {"_via_img_metadata": one(), "_via_image_id_list": list(ids), "_via_attributes": {}}


HEADER = (
    "filename,file_size,file_attributes,region_count,region_id,"
    "region_shape_attributes,region_attributes\n"
)


def row(count: int = 1, number: object = 0, attributes: str = "{}", shape: str = "") -> str:
    drawn = json.dumps(RECT | {"width": 9} if number else RECT)
    cell = shape or '"' + drawn.replace('"', '""') + '"'
    return f"a.jpg,1,{attributes},{count},{number},{cell},{{}}\n"


VIA3 = "# Exported using VGG Image Annotator (x)\n# CSV_HEADER = "
VIA3_COLUMNS = (
    "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"
    '"1","[""a.jpg""]",0,"[]","[2,1,1,9,9]","{}"\n'
)

RESULTS = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5}]
READING: list[tuple[str, str, object, object]] = [
    ("no file name", "give it a filename", one(filename=""), one()),
    ("no file name", "remove the entry", {"x": {"regions": []}} | one(), one()),
    ("no list of regions", "write []", one(regions=5), one(regions=[])),
    ("the region is not an object", "draw it again", one(regions=[5]), one()),
    ("a rect without extent", "draw the region again", shape(width=0), shape()),
    ("unknown shape 'star'", "delete it", shape(name="star"), one(regions=[])),
    ("the value is a list", "give one value", values(["cat"]), values("cat")),
    ("the value is a list", "use a checkbox", values(["cat"]), values({"cat": True})),
    ("neither ticked nor not", "true or false", values({"cat": "x"}), values({"cat": True})),
    ("the attributes are no object", "set the attributes", region(region_attributes=5), one()),
    ("the same as region 0", "delete one", one(regions=[DRAWN, DRAWN]), one()),
    ("2 entries have this file name", "make them one", one() | {"b": ENTRY}, one()),
    ("but has no readable entry", "remove it from the list", listed("a.jpg1", "b"),
     listed("a.jpg1")),
    ("occurs 2 times", "remove what is double",
     json.dumps(one()).replace('"x": 1', '"x": 1, "x": 1'), one()),
    ("a VIA attributes file", "save the project",
     {"region": {}, "file": {}}, listed("a.jpg1")),
    ("not valid JSON", "mend the line", json.dumps(one())[:-1], one()),
    ("not a file of a kind", "export the annotations", "a,b,c\n1,2,3\n", HEADER + row()),
    ("COCO results", "as its 'annotations'", RESULTS,
     {"images": [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 50}],
      "categories": [{"id": 1, "name": "cat"}], "annotations": RESULTS}),
    ("has 3 cells, expected 7", "mend the line", HEADER + "a.jpg,1,2\n", HEADER + row()),
    ("2 regions are stated", "no row was lost", HEADER + row(2), HEADER + row(2) + row(2, 1)),
    ("no number of their own", "from 0", HEADER + row(1, "x"), HEADER + row()),
    ("other file_attributes", "the same file_attributes",
     HEADER + row(2) + row(2, 1, '"{""x"":""1""}"'), HEADER + row(2) + row(2, 1)),
    ("is not JSON", "mend the cell", HEADER + row(shape='"{oops"'), HEADER + row()),
    ("is not JSON", "json.dumps", HEADER + row(shape=f'"{RECT}"'), HEADER + row()),
    ("not those of VIA", "export the file again", "filename,x\n", HEADER + row()),
    ("temporal segments", "annotate regions",
     VIA3 + "metadata_id,file_list,temporal_segment_start,temporal_segment_end,metadata\n",
     HEADER + row()),
    ("not those of VIA 3", "export the file again", VIA3 + "metadata_id,file_list\n",
     VIA3 + VIA3_COLUMNS),
]  # fmt: skip


def said_of(tmp_path: Path, content: object) -> dict[str, str | None]:
    file = tmp_path / "via"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    try:
        return {each.message: each.remedy for each in read(file).problems}
    except UserError as error:
        return {error.message: error.remedy}


@pytest.mark.parametrize(("message", "remedy", "before", "after"), READING)
def test_of_reading(
    tmp_path: Path, message: str, remedy: str, before: object, after: object
) -> None:
    said = {text: way for text, way in said_of(tmp_path, before).items() if message in text}
    assert said
    assert all(remedy in (way or "") for way in said.values())
    assert said_of(tmp_path, after) == {}
