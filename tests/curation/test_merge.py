"""Several files as one: nothing is lost, nothing is twice, and what clashes is said."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab import via
from roilab.curation.merge import merge_annotations
from roilab.errors import UserError
from roilab.skeleton import Skeleton

BONES = Skeleton("bones", ("cat",), ("nose", "tail"), (), (), (0.1, 0.1))


def image(name: str, *values: dict[str, via.Value], size: int | None = 1) -> via.ImageRecord:
    regions = tuple(via.Region(n, via.Rect(n, 0, 5, 5), labels) for n, labels in enumerate(values))
    return via.ImageRecord(f"{name}{size}", name, size, regions)


def source(
    file: str, *images: via.ImageRecord, default_path: str = "", **declared: via.Attribute
) -> via.Annotations:
    return via.Annotations(file, via.Container.VIA2_PROJECT, images, declared, {}, default_path)


def merge_images(*groups: Sequence[via.ImageRecord]) -> via.Annotations:
    """Files a, b, ... of some images as one."""
    return merge_annotations(
        [source(name, *images) for name, images in zip("abc", groups, strict=False)], "o"
    )


def severities(annotations: via.Annotations) -> list[str]:
    return [problem.severity for problem in annotations.problems]


def test_images_and_attributes_are_united() -> None:
    kind = via.Attribute("kind", "dropdown", "what", {"cat": "cat"})
    dog = via.Attribute("kind", "dropdown", "", {"dog": "dog"})
    a = source("a", image("1", {"kind": "cat"}), kind=kind, default_path="p/")
    b = source(
        "b", image("2", {"kind": "dog"}), kind=dog, id=via.Attribute("id"), default_path="p/"
    )
    merged = merge_annotations([a, b], "out")
    assert [record.filename for record in merged.images] == ["1", "2"]
    assert merged.region_attributes == {
        "kind": via.Attribute("kind", "dropdown", "what", {"cat": "cat", "dog": "dog"}),
        "id": via.Attribute("id"),
    }
    assert merged.default_path == "p/"
    assert merged.problems == ()


def test_the_same_image_is_kept_once() -> None:
    merged = merge_images([image("1", {"k": "x"})], [image("1", {"k": "x"})])
    assert len(merged.images) == 1
    assert severities(merged) == ["note"]


@pytest.mark.parametrize("others", ["", "x", "xy", "yx", "xxx"])
def test_the_same_image_annotated_otherwise_is_an_error(others: str) -> None:
    other = image("1", *({"k": value} for value in others))
    merged = merge_images([image("1", {"k": "x"}, {"k": "x"})], [other])
    assert merged.images[0].regions[0].attributes == {"k": "x"}
    (problem,) = merged.problems
    assert (problem.severity, problem.file, problem.image) == ("error", "b", "1")


@pytest.mark.parametrize(
    ("shape", "is_same"),
    [
        (via.Rect(2, 3, 5, 4), True),
        (via.Polygon((2, 7, 7, 2), (3, 3, 7, 7)), True),
        (via.Polygon((7, 7, 2, 2), (3, 7, 7, 3)), True),  # from another vertex on
        (via.Polygon((2, 2, 7, 7), (3, 7, 7, 3)), True),  # the other way round
        (via.Polygon((7, 2, 2, 7), (7, 7, 3, 3)), True),
        (via.Polygon((2, 7, 2, 7), (3, 3, 7, 7)), False),  # the corners in a bow tie
        (via.Polygon((2, 7, 7), (3, 3, 7)), False),
        (via.Rect(2, 3, 5, 5), False),
        (via.Circle(2, 3, 5), False),
    ],
)
def test_a_shape_is_the_same_whatever_kind_of_file_holds_it(
    shape: via.Shape, is_same: bool
) -> None:
    pair = [
        source(file, via.ImageRecord("1", "1", 1, (via.Region(0, outline, {"k": "x"}),)))
        for file, outline in (("a", via.Rect(2, 3, 5, 4)), ("b", shape))
    ]
    for sources in (pair, pair[::-1]):
        assert severities(merge_annotations(sources, "o")) == ["note" if is_same else "error"]


def test_curves_are_the_same_where_their_numbers_are() -> None:
    circles = [
        via.ImageRecord(name, name, 1, (via.Region(0, via.Circle(9, 9, radius), {}),))
        for name, radius in (("1", 3), ("2", 3), ("1", 3), ("2", 4))
    ]
    merged = merge_images(circles[:2], circles[2:])
    expected = {None: "note", "2": "error"}
    assert {problem.image: problem.severity for problem in merged.problems} == expected


def test_every_image_has_a_key_of_its_own() -> None:
    """That of VIA is the name and the size, one behind the other."""
    images = (image("a1", size=2), image("a", size=12), image("a12", size=None))
    merged = merge_images([], images, [image("b")])
    assert len({record.key for record in merged.images}) == len(merged.images) == 4


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({}, {"width": "9", "height": "5"}, True),  # VIA's own export to COCO
        ({"place": "x", "width": "9"}, {"place": "x"}, True),
        ({"place": "x"}, {"place": "y"}, False),
        ({"place": "x"}, {}, False),
        ({"width": "9"}, {"width": "8"}, False),
    ],
)
def test_an_image_has_its_attributes(
    one: dict[str, via.Value], other: dict[str, via.Value], is_same: bool
) -> None:
    pair = [
        source(file, replace(image("1", {"k": "x"}), attributes=attributes))
        for file, attributes in (("a", one), ("b", other))
    ]
    for sources in (pair, pair[::-1]):
        assert severities(merge_annotations(sources, "o")) == ["note" if is_same else "error"]


def test_another_size_is_another_image() -> None:
    merged = merge_images([image("1", size=1)], [image("1", size=2)])
    assert len(merged.images) == 2


@pytest.mark.parametrize("known_first", [True, False])
def test_an_image_without_a_size_is_the_one_of_its_name(known_first: bool) -> None:
    one, other = image("1", {"k": "x"}, size=7), image("1", {"k": "x"}, size=None)
    pair = (one, other) if known_first else (other, one)
    merged = merge_images(pair[:1], pair[1:])
    assert [record.size for record in merged.images] == [7]
    assert severities(merged) == ["note"]


def test_an_image_without_a_size_and_two_of_its_name() -> None:
    merged = merge_images([image("1", size=1), image("1", size=2)], [image("1", size=None)])
    assert len(merged.images) == 3
    (problem,) = merged.problems
    assert (problem.severity, problem.file, problem.image) == ("warning", "b", "1")


TAGGED = {
    "class": via.Attribute("class", "dropdown", "what it is [roilab:class]", {"cat": "cat"}),
    "instance": via.Attribute("instance", "text", "[roilab:instance]"),
    "keypoint": via.Attribute("keypoint", "dropdown", "[roilab:keypoint]", {"nose": "nose"}),
    "score": via.Attribute("score", "text", "[roilab:score]"),
}


def predicted() -> via.Annotations:
    values: dict[str, via.Value] = {"class": "cat", "instance": "1", "score": "0.9"}
    regions = (
        via.Region(0, via.Rect(0, 0, 9, 9), values),
        via.Region(1, via.Rect(20, 0, 9, 9), values | {"instance": "2"}),
        via.Region(2, via.Point(3, 3), values | {"keypoint": "nose"}),
    )
    return source("new", via.ImageRecord("p", "p", 1, regions), **TAGGED)


def test_the_class_has_one_name() -> None:
    name = via.Attribute("name", "radio", "what", {"cat": "cat", "dog": "dog"})
    old = source("old", image("1", {"name": "cat"}, {"name": "dog"}), name=name)
    merged = merge_annotations([old, predicted()], "o")
    assert "class" not in merged.region_attributes
    assert severities(merged) == []
    assert [len(image.instances) for image in via.build_instances(merged).images] == [2, 2]
    # The other way round, the name is the other one.
    assert "name" not in merge_annotations([predicted(), old], "o").region_attributes


def test_a_class_that_is_ticked() -> None:
    kind = via.Attribute("kind", "checkbox", "", {"cat": "cat", "dog": "dog"})
    old = source("old", image("1", {"kind": ("dog",)}, {"kind": ()}), kind=kind)
    merged = merge_annotations([old, predicted()], "o")
    values = [[r.attributes["kind"] for r in record.regions] for record in merged.images]
    assert values == [[("dog",), ()], [("cat",)] * 3]
    merged = merge_annotations([predicted(), old], "o")
    values = [[r.attributes["class"] for r in record.regions] for record in merged.images]
    assert values == [["cat"] * 3, ["dog", ""]]
    assert severities(merged) == ["warning"]  # of the types


def test_points_tied_by_place_and_by_an_attribute() -> None:
    regions = (
        via.Region(0, via.Rect(0, 0, 5, 5), {"name": "cat"}),
        via.Region(1, via.Rect(10, 0, 5, 5), {"name": "cat"}),
        via.Region(2, via.Point(12, 2), {"name": "", "part": "tail"}),
    )
    old = source("old", via.ImageRecord("1", "1", 1, regions))
    joined = merge_annotations([old, predicted()], "o", skeleton=BONES)
    labelled = via.build_instances(joined, skeleton=BONES)
    assert [problem.severity for problem in labelled.problems] == []
    before, after = ([cat.keypoints for cat in image.instances] for image in labelled.images)
    assert before == [((0, 0, 0),) * 2, ((0, 0, 0), (12, 2, 2))]
    assert after == [((3, 3, 2), (0, 0, 0)), ((0, 0, 0),) * 2]
    with pytest.raises(UserError, match="which attribute is the keypoint"):
        merge_annotations([old, predicted()], "o")


def test_a_class_that_cannot_be_told() -> None:
    old = source("old", image("1", {"name": "cat", "colour": "red"}))
    with pytest.raises(UserError, match=r"which attribute is the class[^$]*give class_attribute"):
        merge_annotations([old, predicted()], "o")
    merged = merge_annotations([old, predicted()], "o", via.LabelRules(class_attribute="name"))
    labelled = via.build_instances(merged)
    assert [len(image.instances) for image in labelled.images] == [1, 2]
    # Where the files agree there is no need to know.
    merge_annotations([old, source("b", image("2", {"name": "cat", "colour": "red"}))], "o")


def test_a_name_that_is_taken() -> None:
    old = source("old", image("1", {"score": "cat"}))
    with pytest.raises(UserError, match="'class' would be 'score'"):
        merge_annotations([old, predicted()], "o")


def test_other_ids_of_the_same_options() -> None:
    kind = via.Attribute("kind", "dropdown", "", {"1": "cat"})
    other = via.Attribute("kind", "dropdown", "", {"cat": "cat"})
    one = source("a", image("1", {"kind": "1"}), kind=kind)
    merged = merge_annotations([one, source("b", image("2", {"kind": "cat"}), kind=other)], "o")
    assert merged.region_attributes["kind"].options == {"cat": "cat"}
    assert via.build_instances(merged).classes == ("cat",)


def test_option_ids_of_two_meanings_are_named_by_them() -> None:
    one = via.Attribute("kind", "radio", "", {"1": "cat", "2": "dog"}, default_options=("2",))
    other = via.Attribute("kind", "radio", "", {"1": "dog", "2": "cow"})
    drawn = {"kind": "1"}, {"kind": "2"}
    first = source("a", image("1", *drawn), kind=one)
    sources = [first, source("b", image("2", *drawn), kind=other)]
    merged = merge_annotations(sources, "out")
    assert severities(merged) == ["warning"]
    names = [[e.label for e in image.instances] for image in via.build_instances(merged).images]
    assert names == [["cat", "dog"], ["dog", "cow"]]
    assert list(merged.region_attributes["kind"].options) == ["dog", "cow", "cat"]
    assert merged.region_attributes["kind"].default_options == ("dog",)


def test_a_file_without_declarations_takes_those_of_the_other() -> None:
    kind = via.Attribute("kind", "dropdown", "", {"cat": "cat"})
    known = source("b", image("2", {"kind": "cat"}), kind=kind)
    merged = merge_annotations([source("a", image("1", {"kind": "dog"})), known], "out")
    expected = via.Attribute("kind", "dropdown", "", {"cat": "cat", "dog": "dog"})
    assert merged.region_attributes["kind"] == expected


def test_default_paths_that_differ_are_left_out() -> None:
    sources = [source("a", default_path="p/"), source("b", default_path="q/")]
    merged = merge_annotations(sources, "out")
    assert merged.default_path == ""
    assert severities(merged) == ["warning"]


def test_a_file_without_a_default_path_contradicts_none() -> None:
    for paths in (["", "p/"], ["p/", ""], ["p/", "", "p/"]):
        sources = [source(str(i), default_path=path) for i, path in enumerate(paths)]
        merged = merge_annotations(sources, "out")
        assert merged.default_path == "p/"
        assert not merged.problems


def test_progress_sees_the_images_of_each_file() -> None:
    seen: list[int] = []

    def progress(images: Sequence[via.ImageRecord]) -> Sequence[via.ImageRecord]:
        seen.append(len(images))
        return images

    sources = [source("a", image("1"), image("2")), source("b", image("3"))]
    merge_annotations(sources, "o", progress=progress)
    assert seen == [2, 1]


class TestOneAttributeForEachClass:
    FLAGS = source("flags", image("b.jpg", {"cat": "cat"}, {"dog": "yes"}))

    def test_joins_a_file_with_one_attribute(self) -> None:
        known = source("known", image("a.jpg", {"kind": "cat"}, {"kind": "dog"}))
        for files in ([known, self.FLAGS], [self.FLAGS, known]):
            merged = merge_annotations(files, "m")
            assert severities(merged) == []
            labelled = via.build_instances(merged)
            labels = [instance.label for image in labelled.images for instance in image.instances]
            assert sorted(labels) == ["cat", "cat", "dog", "dog"]
            assert len(merged.region_attributes) == 1

    def test_named(self) -> None:
        odd = source("odd", image("b.jpg", {"cat": "tabby"}, {"dog": "brown"}))
        merged = merge_annotations([odd], "m", via.LabelRules(class_attribute=("cat", "dog")))
        assert via.build_instances(merged).classes == ("cat", "dog")

    def test_none_is_the_class(self) -> None:
        tracks = [source(n, image(f"{n}.jpg", {"track": n})) for n in "12"]
        rules = via.LabelRules(class_attribute="")
        merged = merge_annotations(tracks, "m", rules)
        assert set(merged.region_attributes) == {"track"}


def test_a_rectangle_is_the_polygon_of_vias_own_coco_export(tmp_path: Path) -> None:
    rect = {"name": "rect", "x": 3, "y": 4, "width": 10, "height": 6}
    regions = [{"shape_attributes": rect, "region_attributes": {"kind": "1"}}]
    entry = {"filename": "a.png", "size": 99, "regions": regions, "file_attributes": {}}
    kind = {"type": "dropdown", "options": {"1": "cat"}, "default_options": {}, "description": ""}
    project = {
        "_via_settings": {},
        "_via_img_metadata": {"a.png99": entry},
        "_via_attributes": {"region": {"kind": kind}, "file": {}},
    }
    ring = [3, 4, 13, 4, 13, 10, 3, 10]
    row = {"id": 0, "image_id": 1, "category_id": 1, "segmentation": ring}
    exported = {
        "info": {"description": "VIA project exported to COCO format"},
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [{**row, "bbox": [3, 4, 10, 6], "area": 60, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "cat", "supercategory": "kind"}],
    }

    def merged() -> via.Annotations:
        files = []
        for name, content in (("via.json", project), ("coco.json", exported)):
            (tmp_path / name).write_text(json.dumps(content))
            files.append(via.read(tmp_path / name))
        return merge_annotations(files, "out")

    assert "error" not in severities(merged())
    assert "1 image of an earlier file" in merged().problems[-1].message
    assert [len(record.regions) for record in merged().images] == [1]
    ring[0] = 2  # another shape is no repetition
    assert "error" in severities(merged())


def test_coco_files_whose_ids_are_alike(tmp_path: Path) -> None:
    """They are of each file: an id names another image and another category in each."""
    sources = []
    for name, category in (("a", "cat"), ("b", "dog")):
        row = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0}
        data = {
            "images": [{"id": 1, "file_name": f"{name}.png", "width": 64, "height": 48}],
            "annotations": [row | {"segmentation": [[1, 1, 9, 1, 9, 9]], "bbox": [1, 1, 8, 8]}],
            "categories": [{"id": 1, "name": category}],
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(data))
        sources.append(via.read(path))
    merged = merge_annotations(sources, "out")
    assert merged.problems == ()
    images = via.build_instances(merged).images
    labels = [[instance.label for instance in image.instances] for image in images]
    assert labels == [["cat"], ["dog"]]
    again = merge_annotations([sources[0], sources[0]], "out")
    assert (len(again.images), severities(again)) == (1, ["note"])


def test_an_attribute_of_every_file_with_two_roles() -> None:
    regions = (
        via.Region(0, via.Rect(0, 0, 9, 9), {"name": "cat"}),
        via.Region(1, via.Point(5, 5), {"name": "nose"}),
    )
    sources = [source(name, via.ImageRecord(name, name, 1, regions)) for name in "ab"]
    with pytest.raises(UserError, match="'name' is both the class and the keypoint") as caught:
        merge_annotations(sources, "o", skeleton=BONES)
    assert caught.value.file == "a"


def test_a_score_is_no_class() -> None:
    score = via.Attribute("score", description="[roilab:score]")
    labelled = source("a", image("1", {"kind": "cat"}))
    scored = source("b", image("2", {"score": "0.9"}), score=score)
    assert len(merge_annotations([labelled, scored], "o").images) == 2
    unclear = image("2", {"score": "0.9", "state": "wet", "mood": "sad"})
    with pytest.raises(UserError, match="which attribute is the class") as caught:
        merge_annotations([labelled, source("b", unclear, score=score)], "o")
    assert caught.value.found == "state ('wet'); mood ('sad')"


NAMES = st.sampled_from(["kind", "part", "id"])
VALUES = st.sampled_from(["", "cat", "nose", "1"])
# Few names, so that one attribute often has several roles.
DECLARED = st.dictionaries(NAMES, st.sampled_from(["", *via.records.TAGS.values()]))
SHAPES = st.sampled_from([via.Point(9, 9), via.Rect(0, 0, 20, 20)])
REGIONS = st.lists(st.tuples(SHAPES, st.dictionaries(NAMES, VALUES)), max_size=4)
FILES = st.lists(st.tuples(DECLARED, REGIONS), min_size=2, max_size=3)
RULES = st.fixed_dictionaries({}, optional={"class_attribute": NAMES, "keypoint_attribute": NAMES})


@given(files=FILES, rules=RULES, skeleton=st.sampled_from([None, BONES]))
def test_any_files_are_merged_or_refused(files, rules, skeleton: Skeleton | None) -> None:
    sources = []
    for name, (declared, rows) in zip("abc", files, strict=False):
        regions = tuple(via.Region(number, *row) for number, row in enumerate(rows))
        attributes = {key: via.Attribute(key, description=tag) for key, tag in declared.items()}
        sources.append(source(name, via.ImageRecord(name, name, 1, regions), **attributes))
    try:
        merged = merge_annotations(sources, "out", via.LabelRules(**rules), skeleton)
    except UserError:
        return
    shapes = [[region.shape for region in record.regions] for record in merged.images]
    assert shapes == [[shape for shape, _ in rows] for _, rows in files]
