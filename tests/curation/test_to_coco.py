"""Records -> COCO json -> records: the same instances."""

import json
from pathlib import Path
from typing import Any

import pytest
from detectron2.data.datasets import load_coco_json
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from roilab import via
from roilab.curation.to_coco import annotations_to_coco, lost_links
from roilab.data.mask_to_polygons import read_annotations
from roilab.errors import UserError
from roilab.skeleton import Skeleton

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
BONES = Skeleton("bones", ("person",), ("head", "hand"), (), (), (0.1, 0.1))

coordinates = st.integers(0, 1000).map(lambda tenth: tenth / 10)
sides = st.integers(1, 50)
boxes = st.tuples(coordinates, coordinates, sides, sides)
polygons = boxes.map(
    lambda b: via.Polygon((b[0], b[0] + b[2], b[0] + b[2]), (b[1], b[1], b[1] + b[3]))
)
shapes = (
    polygons
    | polygons.map(lambda polygon: via.Polyline(polygon.xs, polygon.ys))
    | boxes.map(lambda box: via.Rect(*box))
    | st.builds(via.Circle, coordinates, coordinates, sides)
    | st.builds(via.Ellipse, coordinates, coordinates, sides, sides, coordinates)
)
points = st.tuples(coordinates, coordinates, st.sampled_from(["visible", "occluded"]))


@st.composite
def objects(draw: st.DrawFn, tie: str) -> list[tuple[via.Shape, dict[str, str]]]:
    """The regions of an object: a car with outlines, or a person with outlines, points or both."""
    name = draw(st.sampled_from(["person", "car"]))
    values = {"class": name, "instance": tie}
    places = draw(st.lists(points, max_size=2)) if name == "person" else []
    drawn = draw(st.lists(shapes, min_size=not places, max_size=3))
    joints = zip(BONES.keypoints, places, strict=False)
    return [(shape, values) for shape in drawn] + [
        (via.Point(x, y), {**values, "keypoint": joint, "visibility": seen})
        for joint, (x, y, seen) in joints
    ]


@st.composite
def images(draw: st.DrawFn) -> list[tuple[via.Shape, dict[str, str]]]:
    count = draw(st.integers(0, 3))
    return [region for number in range(count) for region in draw(objects(str(number)))]


DECLARED = {
    "class": via.Attribute("class", "dropdown", "[roilab:class]", {"3": "truck", "1": "car"}),
    "instance": via.Attribute("instance", "text", "[roilab:instance]"),
    "keypoint": via.Attribute("keypoint", "text", "[roilab:keypoint]"),
    "visibility": via.Attribute("visibility", "text", "[roilab:visibility]"),
}


@given(st.lists(images(), min_size=1, max_size=3))
def test_instances_come_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[tuple[via.Shape, dict[str, str]]]]
) -> None:
    records = tuple(
        via.ImageRecord(
            f"{n}", f"{n}.jpg", None, tuple(via.Region(at, *e) for at, e in enumerate(regions))
        )
        for n, regions in enumerate(drawn)
    )
    source = via.Annotations("via.json", via.Container.VIA2_PROJECT, records, DECLARED, {})
    before = via.build_instances(source, skeleton=BONES)
    data, problems = annotations_to_coco(source, via.LabelRules(), BONES, lambda _: (400, 300))
    names = [category["name"] for category in data["categories"]]
    assert names == ["truck", "car", *(["person"] if "person" in before.classes else [])]
    notes = [problem.message for problem in problems if problem.severity == "note"]
    outlines = [
        s for regions in drawn for s, _ in regions if not isinstance(s, via.Point | via.Polygon)
    ]
    alone = [e for image in before.images for e in image.instances if not e.outlines]
    counts = [int(note.split()[-2]) for note in notes if "polygons" in note or "made up" in note]
    assert sum(counts) == len(outlines) + len(alone)
    assert "values" not in "".join(notes)
    path = tmp_path_factory.mktemp("coco") / "coco.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    again = via.build_instances(read_annotations(path, strict=True), skeleton=BONES)
    assert [len(image.instances) for image in again.images] == [
        len(image.instances) for image in before.images
    ]
    for one, other in zip(before.images, again.images, strict=True):
        for was, now in zip(one.instances, other.instances, strict=True):
            assert (now.label, now.keypoints) == (was.label, was.keypoints)
            # An object of points only got a box, which is read as its outline.
            assert now.polygons == was.polygons or not was.outlines


def labelled_set(**attributes: str) -> via.Annotations:
    regions = (
        via.Region(0, via.Rect(1, 2, 30, 40), {"kind": "a"}),
        via.Region(1, via.Circle(20, 20, 9), {}),
    )
    image = via.ImageRecord("k", "a.jpg", None, regions, attributes)
    return via.Annotations("via.json", via.Container.VIA2_JSON, (image,), {}, {})


RULES = via.LabelRules(default_class="b")


def messages(problems: tuple[via.Problem, ...]) -> str:
    return "\n".join(problem.message for problem in problems)


def test_libraries_read_it(tmp_path: Path) -> None:
    data, problems = annotations_to_coco(labelled_set(), RULES, None, lambda _: (100, 80))
    assert [problem.severity for problem in problems] == ["note", "note"]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    coco = COCO(str(path))
    assert len(coco.getAnnIds()) == 2
    assert coco.annToMask(coco.loadAnns([1])[0]).sum() == 30 * 40
    (record,) = load_coco_json(str(path), str(tmp_path))
    assert len(record["annotations"]) == 2


def unknown(_: Any) -> Any:
    raise UserError("no such image")


def test_sizes() -> None:
    data, problems = annotations_to_coco(labelled_set(), RULES, None, unknown)
    assert data["images"] == []
    assert [(problem.severity, problem.image) for problem in problems] == [("error", "a.jpg")]
    # A file that was COCO before knows them.
    data, _ = annotations_to_coco(labelled_set(width="70", height="60"), RULES, None, unknown)
    assert (data["images"][0]["width"], data["images"][0]["height"]) == (70, 60)


def test_why_a_size_is_unknown() -> None:
    def broken(_: Any) -> Any:
        raise UserError("cannot read the image", found="not an image")

    def lost(_: Any) -> Any:
        raise UserError("two files have this name", remedy="rename one")

    remedies = []
    for size_of in (broken, lost):
        (problem,) = annotations_to_coco(labelled_set(), RULES, None, size_of)[1]
        remedies.append(problem.remedy)
    assert remedies[0].startswith("repair the image file")
    assert remedies[1:] == ["rename one"]


def test_categories_are_what_is_declared() -> None:
    kind = via.Attribute("kind", "dropdown", "", {"0": "bus", "1": "a", "2": "van"})
    image = via.ImageRecord("k", "a.jpg", 1, (via.Region(0, via.Rect(0, 0, 5, 5), {"kind": "1"}),))
    source = via.Annotations("via.json", via.Container.VIA2_PROJECT, (image,), {"kind": kind}, {})
    data, problems = annotations_to_coco(source, via.LabelRules(), None, lambda _: (9, 9))
    categories = {category["id"]: category["name"] for category in data["categories"]}
    assert categories == {1: "bus", 2: "a", 3: "van"}
    assert data["annotations"][0]["category_id"] == 2
    assert "have no object: bus, van" in messages(problems)
    rules = via.LabelRules(class_map={"van": "bus", "a": "car", "bus": "bus"})
    data, _ = annotations_to_coco(source, rules, None, lambda _: (9, 9))
    assert [category["name"] for category in data["categories"]] == ["bus", "car"]


def test_values_that_coco_has_no_place_for() -> None:
    values = {"kind": "a", "colour": "red", "note": ""}
    region = via.Region(0, via.Rect(0, 0, 5, 5), values)
    image = via.ImageRecord("k", "a.jpg", 1, (region,), {"camera": "left"})
    source = via.Annotations("via.json", via.Container.VIA2_JSON, (image,), {}, {})
    rules = via.LabelRules(class_attribute="kind")
    _, problems = annotations_to_coco(source, rules, None, lambda _: (9, 9))
    assert "not kept: 2 attribute values" in messages(problems)


def test_links_that_the_skeleton_has_not() -> None:
    names = ("head", "hand", "foot")
    links = (("head", "hand"), ("foot", "head"), ("hand", "head"))
    category = via.CocoCategory(1, "person", names, links)
    bones = Skeleton("b", ("person",), names, (), (("hand", "head"),), (0.1,) * 3)
    assert lost_links([category], bones) == 1
    assert lost_links([category, via.CocoCategory(2, "car")], None) == 3
    assert lost_links([], bones) == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the project")
def test_persons_of_coco_there_and_back(tmp_path: Path) -> None:
    from roilab.skeleton import COCO_PERSON

    source = DATA / "coco-keypoints" / "test_coco.json"
    annotations = read_annotations(source)
    before = via.build_instances(annotations, skeleton=COCO_PERSON)
    assert sum(len(image.instances) for image in before.images) == 14
    data, problems = annotations_to_coco(annotations, via.LabelRules(), COCO_PERSON, unknown)
    assert "with another id" in messages(problems)
    assert "values" not in messages(problems)
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    original = json.loads(source.read_text(encoding="utf-8"))["annotations"]
    persons = {person["id"]: person for person in original}
    assert len(data["annotations"]) == len(persons)
    for ours, theirs in zip(
        sorted(data["annotations"], key=lambda row: row["bbox"]),
        sorted(persons.values(), key=lambda row: row["bbox"]),
        strict=True,
    ):
        assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=0.02)
        assert ours["keypoints"] == theirs["keypoints"]
        assert ours["num_keypoints"] == theirs["num_keypoints"]


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "-1", "\x1b[31mred"])
def test_names_are_kept_to_the_byte(tmp_path: Path, name: str) -> None:
    region = via.Region(0, via.Rect(1, 2, 3, 4), {"class": name})
    image = via.ImageRecord("k", f"{name}.jpg", 5, (region,))
    source = via.Annotations(
        "via", via.Container.VIA2_PROJECT, (image,), {"class": via.Attribute("class")}, {}
    )
    data, _ = annotations_to_coco(source, via.LabelRules(), None, lambda _: (9, 9))
    (tmp_path / "coco.json").write_text(json.dumps(data))
    (again,) = read_annotations(tmp_path / "coco.json").images
    assert again.filename == f"{name}.jpg"
    assert name in again.regions[0].attributes.values()


def test_what_lies_outside_its_image_is_left_out() -> None:
    regions = tuple(
        via.Region(at, via.Rect(x, 1, 5, 5), {"class": "car"}) for at, x in enumerate((1, 20, 30))
    )
    image = via.ImageRecord("k", "a.jpg", 1, regions)
    source = via.Annotations("via.json", via.Container.VIA2_JSON, (image,), {}, {})
    data, problems = annotations_to_coco(source, via.LabelRules(), None, lambda _: (20, 10))
    assert [row["bbox"] for row in data["annotations"]] == [[1, 1, 5, 5]]
    assert messages(problems).count("left out: the car lies outside") == 2
