"""Remedies of labelling: which attribute is what, classes, keypoints and objects."""

from pathlib import Path

from .cases import Attempts, case
from .files import FAR, choice, point, polygon, skeleton, via_json, via_project
from .reading import label

# Which attribute is what.


@case(
    'give class_attribute=NAME; class_attribute=["A", "B"] where each is a class of its own; '
    'class_attribute="" default_class=NAME where none is the class'
)
def two_possible_classes(tmp_path: Path) -> Attempts:
    regions = [polygon(kind="dog", colour=""), polygon(*FAR, kind="", colour="red")]
    file = via_json(tmp_path, regions)
    yield label(file)
    yield label(file, class_attribute="kind", unlabelled="skip")
    yield label(file, class_attribute=("kind", "colour"))
    yield label(file, class_attribute="", default_class="dog")


@case("give class_attribute=NAME if it is another")
def a_class_by_its_name(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(label="dog", id="1")])
    yield label(file)
    yield label(file, class_attribute="id")
    yield label(file, class_attribute="label")


@case("give class_attribute=NAME if one of them holds the class")
def attributes_that_are_a_class_each(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(dog="dog"), polygon(*FAR, cat="cat")])
    yield label(file)
    yield label(file, class_attribute="dog", unlabelled="skip")


@case('give instance_attribute="" if each region is an object')
def an_instance_by_its_name(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog", instance="1")])
    yield label(file)
    yield label(file, class_attribute="kind", instance_attribute="")


@case('where it is no class, give class_attribute="" default_class=NAME; where it is, {}')
def a_class_with_a_value_for_each_object(tmp_path: Path) -> Attempts:
    names = ("ann", "bob", "cleo", "dan", "eve", "fay", "gus", "hal", "ida")
    regions = [polygon((x, 5), (x + 5, 5), (x, 9), kind=name) for x, name in enumerate(names)]
    file = via_json(tmp_path, regions)
    yield label(file)
    yield label(file, class_attribute="", default_class="dog")
    yield label(file, class_attribute="kind")


@case("leave out {}")
def an_instance_attribute_where_there_is_none(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon()])
    yield label(file, default_class="dog", instance_attribute="id")
    yield label(file, default_class="dog")


@case("give default_class=NAME as well")
def a_class_attribute_where_there_is_none(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon()])
    yield label(file, class_attribute="kind")
    yield label(file, class_attribute="kind", default_class="dog")


NO_CLASS = (
    "give default_class=NAME, the class of all regions, or class_attribute=NAME, or unlabelled=skip"
)


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


@case("give keypoint_attribute=NAME")
def two_possible_keypoint_attributes(tmp_path: Path, bones: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="nose", other="tail")]
    file = via_json(tmp_path, regions)
    yield label(file, bones)
    yield label(file, bones, keypoint_attribute="part")


@case("name the points, or the skeleton's")
def points_without_a_known_name(tmp_path: Path, bones: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="ear")]
    file = via_json(tmp_path, regions)
    yield label(file, bones)
    yield label(file, skeleton(tmp_path, "other", keypoints=["ear", "tail"]))
    regions[1] = point(9, 9, part="nose")
    yield label(via_json(tmp_path, regions), bones)


@case('give visibility_attribute=NAME; where none of them is, visibility_attribute=""')
def two_possible_visibilities(tmp_path: Path, bones: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="nose", seen="visible", state="occluded")]
    file = via_json(tmp_path, regions)
    yield label(file, bones)
    yield label(file, bones, visibility_attribute="seen")
    yield label(file, bones, visibility_attribute="")


TIES = (
    "give instance_attribute=NAME; where points belong to the outline around them, "
    'instance_attribute=""'
)


@case(TIES)
def two_possible_ties(tmp_path: Path, bones: Path) -> Attempts:
    regions = [
        polygon(kind="dog", id="1", track="7"),
        point(9, 9, part="nose", id="1", track="7"),
    ]
    file = via_json(tmp_path, regions)
    yield label(file, bones, class_attribute="kind")
    yield label(file, bones, class_attribute="kind", instance_attribute="id")
    yield label(file, bones, class_attribute="kind", instance_attribute="")


@case(TIES)
def a_class_that_points_carry_as_well(tmp_path: Path, bones: Path) -> Attempts:
    noses = [point(x, 9, part="nose", kind="dog") for x in (9, 45)]
    file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="dog"), *noses])
    yield label(file, bones)
    yield label(file, bones, instance_attribute="")


@case("give {} or {} if it is one of them")
def an_unused_attribute_of_points(tmp_path: Path, bones: Path) -> Attempts:
    regions = [polygon(kind="dog"), point(9, 9, part="nose", seen="yes")]
    file = via_json(tmp_path, regions)
    yield label(file, bones)
    yield label(file, bones, visibility_attribute="seen")


@case("give the points an attribute in VIA that names each, then skeleton=FILE")
def points_without_names(tmp_path: Path) -> Attempts:
    dog = polygon(kind="dog")
    yield label(via_json(tmp_path, [dog, point(9, 9)]))
    yield label(via_json(tmp_path, [dog, point(9, 9, part="nose")]), skeleton(tmp_path))


@case("give skeleton=FILE to read them; roilab data skeleton proposes one")
def points_without_a_skeleton(tmp_path: Path) -> Attempts:
    # A name that COCO's skeleton has not, which the data commands take where it fits.
    file = via_json(tmp_path, [polygon(kind="dog"), point(9, 9, part="tail")])
    yield label(file)
    yield label(file, skeleton(tmp_path))


@case("rename a class with {}, or name yours in the skeleton file")
def no_class_has_the_skeleton(tmp_path: Path, bones: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="puppy")])
    yield label(file, bones)
    yield label(file, bones, class_map={"puppy": "dog"})
    yield label(file, skeleton(tmp_path, "puppy", classes=["puppy"]))


@case(
    "mark them as points, or, where a path has them as vertices, give "
    "keypoint_vertices=polyline or keypoint_vertices=polygon"
)
def no_keypoint(tmp_path: Path, bones: Path) -> Attempts:
    line = polygon((9, 9), (20, 20), kind="")
    line["shape_attributes"]["name"] = "polyline"
    yield label(via_json(tmp_path, [polygon(kind="dog")]), bones)
    yield label(
        via_json(tmp_path, [polygon(kind="dog"), line]), bones, keypoint_vertices="polyline"
    )
    yield label(via_json(tmp_path, [polygon(kind="dog"), point(9, 9, part="nose")]), bones)


# Classes.


@case("give it one in VIA")
def two_classes_ticked(tmp_path: Path) -> Attempts:
    for ticks in ({"dog": True, "cat": True}, {"dog": True}):
        yield label(via_json(tmp_path, [polygon(kind=ticks)]))


@case("label it in VIA, or give default_class=NAME, or unlabelled=skip")
def a_region_without_a_class(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="")])
    yield label(file)
    yield label(file, default_class="cat")
    yield label(file, unlabelled="skip")
    yield label(via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind="cat")]))


@case("label them in VIA if they should count")
def skipped_regions(tmp_path: Path) -> Attempts:
    for kind in ("", "cat"):
        file = via_json(tmp_path, [polygon(kind="dog"), polygon(*FAR, kind=kind)])
        yield label(file, unlabelled="skip")


@case("leave out {} to keep them")
def a_dropped_class(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield label(file, class_map={"dog": None})
    yield label(file)


@case("the file has {}")
def an_unknown_class_in_the_map(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield label(file, class_map={"dgo": "animal"})
    yield label(file, class_map={"dog": "animal"})


@case("add {} if that is meant, else choose another name")
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


@case('make them one with class_map={"OLD": "NEW"}')
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
def several_objects_ticked(tmp_path: Path, bones: Path) -> Attempts:
    for ticks in ({"1": True, "2": True}, {"1": True}):
        regions = [polygon(kind="dog", id={"1": True}), point(9, 9, part="nose", id=ticks)]
        yield label(via_json(tmp_path, regions), bones, instance_attribute="id")


@case("tick one object")
def an_outline_of_several_objects(tmp_path: Path) -> Attempts:
    for ticks in ({"1": True, "2": True}, {"1": True}):
        yield label(via_json(tmp_path, [polygon(kind="dog", id=ticks)]), instance_attribute="id")


@case("set '{}'")
def a_point_without_an_object(tmp_path: Path, bones: Path) -> Attempts:
    for tie in ("", "1"):
        regions = [polygon(kind="dog", id="1"), point(9, 9, part="nose", id=tie)]
        yield label(via_json(tmp_path, regions), bones, instance_attribute="id")


@case("tie it to a {}, or name the class in the file of skeleton '{}'")
def a_point_of_another_class(tmp_path: Path, bones: Path) -> Attempts:
    dog = polygon(*FAR, kind="dog", id="2")
    for kind in ("car", "dog"):
        regions = [polygon(kind=kind, id="1"), dog, point(9, 9, part="nose", id="1")]
        yield label(via_json(tmp_path, regions), bones, instance_attribute="id")
    cars = skeleton(tmp_path, "cars", classes=["dog", "car"])
    regions[0] = polygon(kind="car", id="1")
    yield label(via_json(tmp_path, regions), cars, instance_attribute="id")


@case("keep the object's class to keep it")
def a_point_of_a_dropped_object(tmp_path: Path, bones: Path) -> Attempts:
    regions = [polygon(kind="dog", id="1"), point(9, 9, part="nose", id="1")]
    file = via_json(tmp_path, regions)
    rules = {"class_attribute": "kind", "instance_attribute": "id"}
    yield label(file, bones, **rules, class_map={"dog": None})
    yield label(file, bones, **rules)


@case("correct the object's outline first")
def a_point_of_a_broken_object(tmp_path: Path, bones: Path) -> Attempts:
    for corners in (((5, 5), (9, 9), (12, 12)), ()):
        regions = [polygon(*corners, kind="dog", id="1"), point(9, 9, part="nose", id="1")]
        file = via_json(tmp_path, regions)
        yield label(file, bones, class_attribute="kind", instance_attribute="id")


@case("delete one where it is double, or give instance_attribute=NAME")
def a_point_in_two_like_outlines(tmp_path: Path) -> Attempts:
    twice = [polygon(kind="dog", id="1"), polygon(kind="dog", id="2")]
    nose, bones = point(9, 9, part="nose"), skeleton(tmp_path)
    yield label(via_json(tmp_path, [*twice, nose]), bones, class_attribute="kind")
    yield label(via_json(tmp_path, [twice[0], nose]), bones, class_attribute="kind")
    nose = point(9, 9, part="nose", id="1")
    rules = {"class_attribute": "kind", "instance_attribute": "id"}
    yield label(via_json(tmp_path, [*twice, nose]), bones, **rules)


@case("draw the object's outline around it, or give instance_attribute=NAME")
def a_point_beside_its_outline(tmp_path: Path) -> Attempts:
    bones, nose = skeleton(tmp_path), point(50, 9, part="nose")
    yield label(via_json(tmp_path, [polygon(kind="dog"), nose]), bones)
    yield label(via_json(tmp_path, [polygon(*FAR, kind="dog"), nose]), bones)
    regions = [polygon(kind="dog", id="1"), point(50, 9, part="nose", id="1")]
    rules = {"class_attribute": "kind", "instance_attribute": "id"}
    yield label(via_json(tmp_path, regions), bones, **rules)


@case("outline the objects, or give instance_attribute=NAME")
def points_of_several_objects(tmp_path: Path, bones: Path) -> Attempts:
    noses = [point(9, 9, part="nose", id="1"), point(50, 9, part="nose", id="2")]
    file = via_json(tmp_path, noses)
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
def an_object_without_labelled_points(tmp_path: Path, bones: Path) -> Attempts:
    seen = [point(9, 9, part="nose", seen="absent")]
    yield label(via_json(tmp_path, seen), bones)
    yield label(via_json(tmp_path, [*seen, polygon(kind="dog")]), bones)
    yield label(via_json(tmp_path, []), bones)


@case("outline it if it should count for boxes and masks")
def an_object_of_points(tmp_path: Path) -> Attempts:
    bones, nose = skeleton(tmp_path), point(9, 9, part="nose")
    yield label(via_json(tmp_path, [nose]), bones)
    yield label(via_json(tmp_path, [nose, polygon(kind="dog")]), bones)


@case("draw a vertex for each of {}, in this order")
def a_path_with_a_vertex_too_many(tmp_path: Path, bones: Path) -> Attempts:
    for corners in (((5, 5), (9, 9), (12, 3)), ((5, 5), (9, 9))):
        line = polygon(*corners)
        line["shape_attributes"]["name"] = "polyline"
        yield label(via_json(tmp_path, [line]), bones, keypoint_vertices="polyline")


@case("use a name of skeleton '{}': {}")
def an_unknown_keypoint(tmp_path: Path, bones: Path) -> Attempts:
    for part in ("ear", "tail"):
        points = [point(9, 9, part="nose"), point(12, 12, part=part)]
        yield label(via_json(tmp_path, [polygon(kind="dog"), *points]), bones)


@case("tick at most one")
def two_visibilities_ticked(tmp_path: Path, bones: Path) -> Attempts:
    for ticks in ({"visible": True, "occluded": True}, {"visible": True}):
        regions = [polygon(kind="dog"), point(9, 9, part="nose", seen=ticks)]
        yield label(via_json(tmp_path, regions), bones, visibility_attribute="seen")


@case("use one of {}")
def an_unknown_visibility(tmp_path: Path, bones: Path) -> Attempts:
    for seen in ("perhaps", "occluded", "yes"):
        regions = [polygon(kind="dog"), point(9, 9, part="nose", seen=seen)]
        yield label(via_json(tmp_path, regions), bones, visibility_attribute="seen")
