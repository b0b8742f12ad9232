"""Attributes -> classes, groups and keypoints; what is ambiguous is refused, never guessed."""

import copy
import gc
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roilab import via
from roilab.errors import UserError
from roilab.skeleton import Skeleton

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
BONES = Skeleton(
    name="bones",
    classes=("person",),
    keypoints=("head", "left", "right"),
    swaps=(("left", "right"),),
    links=(("head", "left"),),
    sigmas=(0.1, 0.1, 0.1),
)
Drawn = tuple[via.Shape, Mapping[str, via.Value]]


def box(x: float = 0, size: float = 10, **attributes: via.Value) -> Drawn:
    return via.Rect(x, 0, size, size), attributes


def dot(x: float = 1, y: float = 1, **attributes: via.Value) -> Drawn:
    return via.Point(x, y), attributes


def file_of(*images: list[Drawn], **declared: via.Attribute) -> via.Annotations:
    records = tuple(
        via.ImageRecord(
            key=f"{number}.jpg-1",
            filename=f"{number}.jpg",
            size=None,
            regions=tuple(via.Region(index, *drawn) for index, drawn in enumerate(regions)),
        )
        for number, regions in enumerate(images)
    )
    return via.Annotations("via.json", via.Container.VIA2_PROJECT, records, declared, {})


def build(
    drawn: via.Annotations | list[Drawn], skeleton: Skeleton | None = None, **rules: Any
) -> via.LabelledSet:
    """The instances of a file, or of a file with the regions of one image."""
    annotations = file_of(drawn) if isinstance(drawn, list) else drawn
    return via.build_instances(annotations, via.LabelRules(**rules), skeleton)


def labels(result: via.LabelledSet) -> list[str]:
    return [instance.label for image in result.images for instance in image.instances]


def problems(result: via.LabelledSet) -> list[tuple[str, int | None, str | None]]:
    return [(problem.severity, problem.region, problem.attribute) for problem in result.problems]


KINDS = via.Attribute("kind", "radio", "", {"1": "car", "2": ""})
CAT = via.Attribute("kind", "image", "", {"cat": "data:image/png;base64,AAAA"})
CATS = via.Attribute("kind", "radio", "", {"1": "cat", "2": "cat", "3": "dog"})
USED = via.Attribute("kind", "dropdown", "", {"a": "truck", "b": "bus"})
BOXES = [box(kind=("cat",)), box(kind=()), box(kind=("cat", "dog"))]
Place = tuple[str, int | None, str | None]


@pytest.mark.parametrize(
    ("annotations", "rules", "names", "places", "words"),
    [
        # The only attribute is the class, whatever its name; where it is named, that one is.
        (file_of([box(xyzzy="cat"), box(xyzzy="dog", e="")]), {}, ["cat", "dog"], [], ""),
        (file_of([box(kind="cat", color="red")]), {"class_attribute": "color"}, ["red"], [], ""),
        (file_of([box()]), {"default_class": "it"}, ["it"], [], ""),
        (file_of([], []), {}, [], [], ""),
        # An unknown name is no mistake where a default labels all, or where it is declared.
        (file_of([box()]), {"class_attribute": "a", "default_class": "b"}, ["b"], [], ""),
        (file_of([box(other="x")], kind=via.Attribute("kind")),
         {"class_attribute": "kind", "default_class": "it"}, ["it"], [], ""),
        # An option shows its description where it has one, unless that is a picture.
        (file_of([box(kind="1"), box(kind="2")], kind=KINDS), {}, ["car", "2"], [], ""),
        (file_of([box(kind="cat")], kind=CAT), {}, ["cat"], [], ""),
        (file_of(BOXES), {}, ["cat"], [("error", 1, "kind"), ("error", 2, "kind")], "cat, dog"),
        (file_of(BOXES), {"default_class": "it"}, ["cat", "it"], [("error", 2, "kind")], ""),
        # A region without a class is left out with its place, or skipped as asked.
        (file_of([box(kind="cat")], [box(), box(kind="")]), {}, ["cat"],
         [("error", 0, "kind"), ("error", 1, "kind")], "1.jpg, region 1"),
        (file_of([box(kind="cat"), box()], [box(kind="")]), {"unlabelled": "skip"}, ["cat"],
         [("note", None, "kind")], "2 regions"),
        # A typing error, or a class that only another split of the data has.
        (file_of([box(kind="truck"), box(kind="bus")]), {"class_map": {"trucks": "x"}},
         ["truck", "bus"], [("warning", None, "kind")], "'trucks' (the file has bus, truck)"),
        (file_of([box(kind="a")], kind=USED), {"class_map": {"bus": "x"}}, ["truck"], [], ""),
        # Parts of one object have one class; a line may outline nothing.
        (file_of([box(kind="a", id="1"), box(kind="b", id="1")]),
         {"class_attribute": "kind", "instance_attribute": "id"}, ["a"], [("error", 1, "id")], ""),
        (file_of([(via.Polyline((0, 5), (0, 5)), {"kind": "a"})]), {}, [],
         [("error", 0, None)], ""),
        # Two options of one description.
        (file_of([box(kind="1"), box(kind="2")], kind=CATS), {}, ["cat", "cat"],
         [("warning", None, "kind")], "'1', '2'"),
        # A file without attributes is skipped and counted.
        (file_of([box(), box(20)], [box()]), {"unlabelled": "skip"}, [],
         [("note", None, None)], "3 regions"),
        # Paths of keypoints are ignored without a skeleton.
        (file_of([box(kind="a"), (via.Polyline((1, 2), (1, 5)), {})]),
         {"keypoint_vertices": "polyline", "class_attribute": "kind"}, ["a"],
         [("warning", None, None)], ""),
        # Points without a skeleton are one warning.
        (file_of([box(kind="a"), dot(part="head"), dot()], [dot()]), {}, ["a"],
         [("warning", None, None)], "3 regions"),
    ],
)  # fmt: skip
def test_classes(
    annotations: via.Annotations, rules: Any, names: list[str], places: list[Place], words: str
) -> None:
    result = build(annotations, **rules)
    assert labels(result) == names
    assert result.classes == tuple(sorted(set(names)))
    assert problems(result) == places
    assert words in "\n".join(map(str, result.problems))


@pytest.mark.parametrize(
    ("regions", "rules", "words"),
    [
        ([box(a="cat", b="red"), box(b="blue")], {}, ["a ('cat'); b ('red', 'blue')"]),
        ([box()], {}, ["give default_class"]),
        ([box(kind="cat")], {"class_attribute": "sort"}, ["'sort'", "via.json", "kind ('cat')"]),
        ([box(kind="a")], {"instance_attribute": "id"}, ["instance_attribute"]),
        ([box(a="x")], {"class_attribute": "b", "default_class": "c"}, ["'b'"]),
        # No name is a hint.
        ([box(**{"class": "cat", "color": "red"})], {}, ["class ('cat'); color ('red')"]),
    ],
)
def test_what_has_to_be_named_is_asked_for(
    regions: list[Drawn], rules: Any, words: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        build(regions, **rules)
    assert all(word in str(error.value) for word in words)


class TestClassMap:
    @pytest.mark.parametrize("dropped", [None, ""])
    def test_map_renames_merges_and_drops(self, dropped: str | None) -> None:
        annotations = file_of([box(kind=kind) for kind in ("truck", "bus", "tree", "cat")])
        class_map = {"truck": "vehicle", "bus": "vehicle", "tree": dropped}
        result = build(annotations, class_map=class_map)
        assert labels(result) == ["vehicle", "vehicle", "cat"]
        assert result.classes == ("cat", "vehicle")
        assert problems(result) == [("note", None, "kind")]
        assert "1 region of class 'tree'" in result.problems[0].message

    @pytest.mark.parametrize(
        ("class_map", "warned"),
        [({"a": "b"}, True), ({"a": "b", "b": "b"}, False), ({"a": "c", "b": "c"}, False)],
    )
    def test_names_that_collide_after_mapping(
        self, class_map: dict[str, str | None], warned: bool
    ) -> None:
        result = build([box(kind="a"), box(kind="b")], class_map=class_map)
        assert len(result.classes) == 1
        assert problems(result) == [("warning", None, "kind")] * warned

    @pytest.mark.parametrize(("one", "other"), [("Cat", "cat"), ("sea cat", "sea  cat")])
    def test_names_that_look_alike(self, one: str, other: str) -> None:
        annotations = file_of([box(kind=one), box(kind=other), box(kind="dog")])
        result = build(annotations)
        assert len(result.classes) == 3
        assert problems(result) == [("warning", None, "kind")]
        assert build(annotations, class_map={one: other}).problems == ()


def tagged(role: str) -> via.Attribute:
    return via.Attribute("any", "text", f"some words [roilab:{role}]")


class TestTags:
    def test_tagged_attributes_play_their_roles(self) -> None:
        drawn = [
            box(what="person", kind="x", id="1", score="0.9"),
            dot(2, 3, part="left", id="1", state="occluded", kind="x"),
        ]
        roles = {"what": "class", "id": "instance", "part": "keypoint", "state": "visibility"}
        declared = {name: tagged(role) for name, role in roles.items()} | {"score": tagged("score")}
        result = build(file_of(drawn, **declared), BONES)
        (person,) = result.images[0].instances
        assert person == via.Instance(
            "person", (via.Rect(0, 0, 10, 10),), ((0, 0, 0), (2, 3, 1), (0, 0, 0)), (0, 1)
        )

    def test_a_score_is_no_class(self) -> None:
        annotations = file_of([box(kind="cat", s="0.5"), box(kind="dog", s="0.6")])
        with pytest.raises(UserError, match="several attributes could be the class"):
            build(annotations)
        annotations = replace(annotations, region_attributes={"s": tagged("score")})
        assert labels(build(annotations)) == ["cat", "dog"]

    def test_a_named_attribute_goes_before_a_tagged_one(self) -> None:
        annotations = file_of([box(kind="cat", other="x")], other=tagged("class"))
        assert labels(build(annotations)) == ["x"]
        assert labels(build(annotations, class_attribute="kind")) == ["cat"]


def path(*points: tuple[float, float], **attributes: via.Value) -> Drawn:
    return via.Polyline.through(points), attributes


LIMBS = ((1, 1), (2, 5), (7, 5))
SEEN = ((1, 1, 2), (2, 5, 2), (7, 5, 2))
NONE = ((0, 0, 0),) * 3
ONE = ((1, 1, 2), (0, 0, 0), (0, 0, 0))
PERSON = box(kind="person")
LINE = {"keypoint_vertices": "polyline", "class_attribute": "kind"}
RING = {"keypoint_vertices": "polygon"}
TIES = {"class_attribute": "kind", "instance_attribute": "id"}
PARTS = via.Attribute("part", "radio", "", {"0": "head", "1": "left", "left": "right"})


@pytest.mark.parametrize(
    ("regions", "rules", "keypoints", "places"),
    [
        # A person without points has zeros, and a car has no keypoints.
        ([PERSON, box(30, kind="car"), dot(part="head")], {}, [ONE, None], []),
        # The smallest outline of the skeleton's class around a point.
        ([box(0, 100, kind="person"), box(0, 20, kind="person"), box(0, 5, kind="car"),
          dot(part="head"), dot(50, 50, part="head")],
         {}, [((50, 50, 2), (0, 0, 0), (0, 0, 0)), ONE, None], []),
        ([PERSON, dot(70, 70, part="head")], {}, [NONE], [("error", 1, None)]),
        # A value that is a keypoint's name is that keypoint, whatever its description says.
        ([PERSON, dot(2, 2, part="0"), dot(3, 3, part="left")],
         {}, [((2, 2, 2), (3, 3, 2), (0, 0, 0))], []),
        # The class attribute, if it is named, is not the keypoint's.
        ([PERSON, dot(kind="head", part="left")],
         {"class_attribute": "kind"}, [((0, 0, 0), (1, 1, 2), (0, 0, 0))], []),
        ([PERSON, dot(part="head", visible="0")], {}, [ONE], [("warning", None, "visible")]),
        # Points of which none is labelled are no object.
        ([dot(part="head", v="0")], {"default_class": "person", "visibility_attribute": "v"},
         [], [("error", 0, None)]),
        # The vertices of a path, which is in the smallest outline around all of it, tied, or alone.
        ([box(size=100, kind="person"), PERSON, box(size=4, kind="person"), path(*LIMBS)],
         LINE, [NONE, SEEN, NONE], []),
        ([box(0, kind="person", id="1"), box(50, kind="person", id="2"), path(*LIMBS, id="2")],
         LINE, [NONE, SEEN], []),
        ([path(*LIMBS), path((11, 1), (12, 5), (17, 5))], {"keypoint_vertices": "polyline"},
         [SEEN, ((11, 1, 2), (12, 5, 2), (17, 5, 2))],
         [("warning", 0, None), ("warning", 1, None)]),
        ([PERSON, (via.Polygon.through(LIMBS), {})], RING, [SEEN], []),
        ([PERSON, path(*LIMBS, v="occluded")], {**LINE, "visibility_attribute": "v"},
         [((1, 1, 1), (2, 5, 1), (7, 5, 1))], []),
        # Too few, too many, outside; and a second path of one object, which is left out whole.
        ([PERSON, path(*LIMBS[:2])], LINE, [NONE], [("error", 1, None)]),
        ([PERSON, path(*LIMBS, (8, 8))], LINE, [NONE], [("error", 1, None)]),
        ([PERSON, path((1, 1), (2, 5), (70, 5))], LINE, [NONE], [("error", 1, None)]),
        ([PERSON, path(*LIMBS), path(*LIMBS)], LINE, [SEEN], [("error", 2, None)]),
    ],
)  # fmt: skip
def test_keypoints(
    regions: list[Drawn], rules: Any, keypoints: list[object], places: list[Place]
) -> None:
    result = build(file_of(regions, part=PARTS), BONES, **rules)
    (image,) = result.images
    assert [instance.keypoints for instance in image.instances] == keypoints
    assert problems(result) == places
    left_out = {region for severity, region, _ in places if severity == "error"}
    used = {region for instance in image.instances for region in instance.regions}
    assert used == set(range(len(regions))) - left_out


@pytest.mark.parametrize("points", [((1, 1), (2, 2), (7, 7)), ((1, 1), (9, 1), (9, 9), (9, 1))])
def test_a_polygon_without_area(points: tuple[tuple[float, float], ...]) -> None:
    """A straight limb: a path of keypoints, but no outline."""
    bones = replace(BONES, keypoints=(*BONES.keypoints, "foot"), sigmas=(0.1,) * 4)
    drawn: list[Drawn] = [PERSON, (via.Polygon.through(points), {"kind": "person"})]
    result = build(drawn, bones if len(points) == 4 else BONES, **RING, class_attribute="kind")
    assert result.problems == ()
    assert result.images[0].instances[0].keypoints == tuple((*point, 2) for point in points)
    result = build(drawn, class_attribute="kind")
    assert [instance.regions for instance in result.images[0].instances] == [(0,)]
    assert problems(result) == [("error", 1, None)]
    assert "encloses no area" in result.problems[0].message


def test_skeleton_without_any_keypoint_is_a_warning() -> None:
    result = build([PERSON], BONES)
    assert problems(result) == [("warning", None, None)]
    assert "no keypoint of skeleton" in result.problems[0].message


def test_regions_of_one_object() -> None:
    parts = [box(0, kind="a", id="1"), box(50, kind="a", id="2"), box(20, kind="a", id="1")]
    result = build(file_of(parts, parts[:1]), **TIES)
    first, second = result.images[0].instances
    assert first.regions == (0, 2)
    assert first.polygons == tuple(via.outline(via.Rect(x, 0, 10, 10)) for x in (0, 20))
    assert first.keypoints is None
    assert second.regions == (1,)


def people() -> list[Drawn]:
    """Two persons that overlap and a car, as the sample set has them."""
    return [
        box(0, kind="person", id="a"),
        box(2, kind="person", id="b"),
        box(30, kind="car", id="c"),
        dot(3, 4, part="head", id="b", seen="visible"),
        dot(5, 6, part="left", id="a", seen="occluded"),
        dot(7, 8, part="right", id="a", seen=""),
    ]


class TestTiedKeypoints:
    def test_all_attributes_are_found(self) -> None:
        result = build(people(), BONES)
        first, second, car = result.images[0].instances
        assert first.keypoints == ((0, 0, 0), (5, 6, 1), (7, 8, 2))
        assert first.regions == (0, 4, 5)
        assert second.keypoints == ((3, 4, 2), (0, 0, 0), (0, 0, 0))
        assert car == via.Instance("car", (via.Rect(30, 0, 10, 10),), None, (2,))
        assert result.problems == ()

    def test_input_is_not_touched(self) -> None:
        annotations = file_of(people())
        before = copy.deepcopy(annotations)
        build(annotations, BONES, class_map={"car": None})
        assert annotations == before

    def test_class_on_points_is_not_taken_for_the_instance(self) -> None:
        regions = people()
        marked = [
            (shape, {"kind": "person", **attributes}) if isinstance(shape, via.Point) else region
            for region in regions
            for shape, attributes in [region]
        ]
        marked.append(dot(8, 8, kind="person", part="left", id="b", seen=""))
        result = build(marked, BONES)
        assert labels(result) == ["person", "person", "car"]
        assert result.problems == ()

    def test_two_possible_instance_attributes(self) -> None:
        one = [box(kind="person", id="a"), dot(part="head", kind="person", id="a")]
        with pytest.raises(UserError, match=r"id \('a'\); kind \('person'\)"):
            build(one, BONES)
        result = build(one, BONES, class_attribute="kind")
        assert result.images[0].instances[0].keypoints == ((1, 1, 2), (0, 0, 0), (0, 0, 0))

    @pytest.mark.parametrize(
        ("extra", "attribute"),
        [
            (dot(part="tail", id="a"), "part"),
            (dot(id="a"), "part"),
            (dot(part="left", id="a"), "part"),
            (dot(part="head"), "id"),
            (dot(part="head", id="c"), "id"),
            (dot(part="head", id="a", seen="sometimes"), "seen"),
        ],
        ids=["unknown", "unnamed", "twice", "untied", "of a car", "visibility"],
    )
    def test_bad_point_is_left_out_with_its_place(self, extra: Drawn, attribute: str) -> None:
        rules = {**TIES, "visibility_attribute": "seen"}
        good = build(people(), BONES, **rules)
        result = build([*people(), extra], BONES, **rules)
        assert result.images[0].instances == good.images[0].instances
        assert problems(result) == [("error", 6, attribute)]

    @pytest.mark.parametrize(
        ("kind", "places"),
        [
            ("", [("error", 1, "kind"), ("error", 2, "id")]),
            ("crowd", [("note", None, "kind"), ("note", 2, "id")]),
        ],
        ids=["unlabelled", "dropped"],
    )
    def test_points_go_with_their_object(self, kind: str, places: list[Place]) -> None:
        points = [dot(part="head", id="b"), dot(2, part="head", id="a")]
        drawn = [box(kind="person", id="a"), box(kind=kind, id="b"), *points]
        class_map = {"crowd": None} if kind else {}
        result = build(drawn, BONES, class_map=class_map)
        assert labels(result) == ["person"]
        assert problems(result) == places

    def test_object_of_points_only(self) -> None:
        result = build([*people(), dot(9, 9, part="head", id="z")], BONES)
        added = result.images[0].instances[-1]
        assert added == via.Instance("person", (), ((9, 9, 2), (0, 0, 0), (0, 0, 0)), (6,))
        assert problems(result) == [("warning", 6, None)]

    def test_class_of_points_only_must_be_known(self) -> None:
        pets = Skeleton("pets", ("cat", "dog"), ("head",), (), (), (0.1,))
        annotations = file_of([box(kind="cat", id="1"), dot(part="head", id="1")], [])
        both = [box(kind="cat", id="1"), dot(part="head", id="1"), dot(part="head", id="2")]
        assert labels(build(annotations, pets)) == ["cat"]
        result = build(both, pets)
        assert labels(result) == ["cat"]
        assert problems(result) == [("error", 2, None)]
        assert labels(build(both, pets, default_class="dog")) == ["cat", "dog"]


class TestPlacedKeypoints:
    def test_without_outlines_one_object_an_image(self) -> None:
        lone = [dot(part="head"), dot(5, 5, part="left")]
        crowd = [dot(part="head"), dot(5, 5, part="head")]
        result = build(file_of(lone, crowd, []), BONES, default_class="person")
        assert [len(image.instances) for image in result.images] == [1, 0, 0]
        places = [("warning", 0, None), ("error", 0, None), ("error", 1, None)]
        assert problems(result) == places

    def test_keypoint_default_on_outlines_is_not_the_class(self) -> None:
        regions = [box(part="head"), dot(part="head")]
        with pytest.raises(UserError, match="default_class"):
            build(regions, BONES, class_attribute=None)
        result = build(regions, BONES, default_class="person", keypoint_attribute="part")
        assert labels(result) == ["person"]


class TestSkeleton:
    def test_no_class_of_the_file_has_it(self) -> None:
        """Normal for one file of several: whoever joins the files knows whether it is a slip."""
        result = build([box(kind="car")], BONES)
        assert labels(result) == ["car"]
        (problem,) = result.problems
        assert problem.severity == "warning"
        assert "car" in problem.message
        assert "person" in problem.remedy

    def test_no_point_is_named_as_in_it(self) -> None:
        with pytest.raises(UserError, match=r"part \('nose'\)(.|\n)*head, left, right"):
            build([box(kind="person"), dot(part="nose")], BONES)

    def test_two_attributes_name_its_keypoints(self) -> None:
        regions = [box(kind="person"), dot(part="head", place="left")]
        with pytest.raises(UserError, match="give keypoint_attribute"):
            build(regions, BONES)
        result = build(regions, BONES, keypoint_attribute="place")
        assert result.images[0].instances[0].keypoints == ((0, 0, 0), (1, 1, 2), (0, 0, 0))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *(("v", value, expected) for value, expected in (
            ("0", 0), ("1", 1), ("2", 2), ("", 2), ("Visible", 2), ("occluded", 1), ("hidden", 1),
            ("unlabelled", 0), ("true", 2), ("no", 1), (("Occluded",), 1), ((), 2),
            (("visible",), 2),
        )),
        ("Occluded", "yes", 1), ("Occluded", "false", 2), ("Occluded", "", 2),
        # A checkbox that is ticked for visible.
        ("box", (), 1), ("box", ("y",), 2),
    ],
)  # fmt: skip
def test_visibility(name: str, value: via.Value, expected: int) -> None:
    ticks = via.Attribute("box", "checkbox", "", {"y": "visible"})
    drawn = file_of([box(kind="person"), dot(part="head", **{name: value})], box=ticks)
    result = build(drawn, BONES, visibility_attribute=name)
    head = (1, 1, expected) if expected else (0, 0, 0)
    assert result.images[0].instances[0].keypoints == (head, (0, 0, 0), (0, 0, 0))
    assert result.problems == ()


class TestInferredInstanceAttribute:
    def test_the_only_one_is_it_whatever_occurs_twice(self) -> None:
        parts = [dot(1, 1, part="head", id="a"), dot(2, 2, part="left", id="a")]
        slip, other = dot(3, 3, part="head", id="a"), dot(51, 1, part="head", id="b")
        outlines = [box(0, kind="person", id="a"), box(50, kind="person", id="b")]
        result = build([*outlines, *parts, slip, other], BONES)
        first, second = result.images[0].instances
        assert first.keypoints == ((1, 1, 2), (2, 2, 2), (0, 0, 0))
        assert second.keypoints == ((51, 1, 2), (0, 0, 0), (0, 0, 0))
        assert problems(result) == [("error", 4, "part")]
        assert "a second head" in result.problems[0].message

    def test_the_only_one_that_may_be_the_class_is_asked_about(self) -> None:
        """It names the class of two persons; with it as their tie, both were one."""
        drawn = [box(0, kind="person"), box(50, kind="person")]
        points = [dot(kind="person", part="head"), dot(51, kind="person", part="head")]
        with pytest.raises(UserError, match="cannot tell which attribute ties") as error:
            build([*drawn, *points], BONES)
        assert "region 3 of 0.jpg is a second head of 'person'" in str(error.value)
        result = build([*drawn, *points], BONES, class_attribute="kind")
        assert labels(result) == ["person", "person"]
        assert result.problems == ()

    def test_two_that_are_disqualified_are_named_with_the_place(self) -> None:
        head = dot(part="head", kind="person", id="a")
        drawn = [box(0, kind="person", id="a"), head, head]
        with pytest.raises(UserError) as error:
            build(drawn, BONES)
        for value in ("a", "person"):
            assert f"region 2 of 0.jpg is a second head of '{value}'" in str(error.value)


def test_a_named_class_need_not_occur_where_regions_without_one_are_skipped() -> None:
    rules = {"unlabelled": "skip", "class_attribute": "kind"}
    assert problems(build([box()], **rules)) == [("note", None, "kind")]
    with pytest.raises(UserError, match="'kind'"):
        build([box(sort="cat")], **rules)


def test_an_outline_of_two_objects() -> None:
    result = build([box(0, kind="a", id=("1",)), box(20, kind="a", id=("1", "2"))], **TIES)
    assert [instance.regions for instance in result.images[0].instances] == [(0,), (1,)]
    assert problems(result) == [("warning", 1, "id")]
    assert "1, 2" in result.problems[0].message


def test_a_point_of_two_objects() -> None:
    drawn = [box(0, kind="person", id=("1",)), dot(part="head", id=("1", "2"))]
    result = build(drawn, BONES, **TIES)
    assert result.images[0].instances[0].regions == (0,)
    assert problems(result) == [("error", 1, "id")]
    assert "several objects: 1, 2" in result.problems[0].message


def test_a_point_in_two_outlines_of_one_area() -> None:
    outlines = [box(x, size, kind="person") for x, size in ((0, 10), (5, 10), (0, 100))]
    result = build([*outlines, dot(7, 7, part="head"), dot(2, 2, part="head")], BONES)
    assert [instance.regions for instance in result.images[0].instances] == [(0, 4), (1,), (2,)]
    assert problems(result) == [("error", 3, None)]
    assert "regions 0 and 1" in result.problems[0].message


@pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the project")
class TestRealFiles:
    @pytest.mark.parametrize(("split", "images", "count"), [("train", 61, 255), ("val", 13, 50)])
    def test_balloon(self, split: str, images: int, count: int) -> None:
        annotations = via.read(DATA / f"balloon/{split}/via_region_data.json")
        result = build(annotations, default_class="balloon")
        assert len(result.images) == images
        assert labels(result) == ["balloon"] * count
        assert result.problems == ()

    def test_vehicles(self) -> None:
        result = build(via.read(DATA / "vehicles-truck-car-bus/train/via_region_data.json"))
        assert result.classes == ("bus", "car", "truck")
        assert len(labels(result)) == 23

    def test_polylines_of_dogs_and_cats(self) -> None:
        result = build(via.read(DATA / "dog-cat/val/via_region_data.json"))
        assert result.classes == ("cat", "dog")
        assert len(labels(result)) == 97
        # Most images were annotated twice over, by an import into what was already there.
        assert len(result.problems) == 29
        assert all("the same as region" in problem.message for problem in result.problems)

    def test_insects_have_two_attributes(self) -> None:
        annotations = via.read(DATA / "kudzu-insects/train/via_region_data.json")
        with pytest.raises(UserError, match=r"inseto \('kudzu'\); insect \('kudzu'\)"):
            build(annotations)
        rules = {"class_attribute": "insect", "default_class": "kudzu"}
        assert Counter(labels(build(annotations, **rules))) == {"kudzu": 520}
        without = via.read(DATA / "kudzu-insects/val/via_region_data.json")
        assert Counter(labels(build(without, **rules))) == {"kudzu": 349}


def test_the_collector_of_cycles_is_as_it_was() -> None:
    was_enabled = gc.isenabled()
    try:
        for enabled in (gc.disable, gc.enable):
            enabled()
            before = gc.isenabled()
            build([], default_class="car")
            with pytest.raises(UserError):
                build([box()], class_attribute="nope")
            assert gc.isenabled() is before
    finally:
        (gc.enable if was_enabled else gc.disable)()
