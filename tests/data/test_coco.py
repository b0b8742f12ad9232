"""Records -> COCO json -> records: the same instances."""

import json
from pathlib import Path
from typing import Any

import pytest
from detectron2.data.datasets import load_coco_json
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from roilab.data.coco import to_coco
from roilab.data.read import read
from roilab.skeleton import Skeleton
from roilab.via import (
    Annotations,
    Circle,
    Container,
    ImageRecord,
    Instance,
    LabelledImage,
    LabelledSet,
    Polygon,
    Rect,
    Region,
    label,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
BONES = Skeleton("bones", ("person",), ("head", "hand"), (), (), (0.1, 0.1))

coordinates = st.integers(0, 1000).map(lambda tenth: tenth / 10)
boxes = st.tuples(coordinates, coordinates, st.integers(1, 50), st.integers(1, 50))
polygons = boxes.map(lambda b: Polygon((b[0], b[0] + b[2], b[0] + b[2]), (b[1], b[1], b[1] + b[3])))
points = st.tuples(coordinates, coordinates, st.sampled_from([1, 2])) | st.just((0, 0, 0))


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    name = draw(st.sampled_from(["person", "car"]))
    outlines = tuple(draw(st.lists(polygons, min_size=1, max_size=3)))
    keypoints = tuple(draw(st.tuples(points, points))) if name == "person" else None
    return Instance(name, outlines, keypoints, ())


@given(st.lists(st.lists(instances(), max_size=4), min_size=1, max_size=3))
def test_instances_come_back(
    tmp_path_factory: pytest.TempPathFactory, images: list[list[Instance]]
) -> None:
    labelled = LabelledSet(
        "via.json",
        tuple(
            LabelledImage(ImageRecord(f"{n}", f"{n}.jpg", None, ()), tuple(found))
            for n, found in enumerate(images)
        ),
        tuple(sorted({each.label for found in images for each in found})),
        (),
    )
    data, problems = to_coco(labelled, BONES, lambda _: (200, 200))
    assert problems == ()
    path = tmp_path_factory.mktemp("coco") / "coco.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    again = label(read(path, strict=True), skeleton=BONES)
    found = [
        [(each.label, each.outlines, each.keypoints) for each in image.instances]
        for image in again.images
    ]
    assert found == [[(e.label, e.outlines, e.keypoints) for e in each] for each in images]


def labelled_set(**attributes: str) -> LabelledSet:
    regions = (Region(0, Rect(1, 2, 30, 40), {"kind": "a"}), Region(1, Circle(20, 20, 9), {}))
    image = ImageRecord("k", "a.jpg", None, regions, attributes)
    source = Annotations("via.json", Container.VIA2_JSON, (image,), {}, {})
    from roilab.via import LabelRules

    return label(source, LabelRules(default_class="b"))


def test_libraries_read_it(tmp_path: Path) -> None:
    data, problems = to_coco(labelled_set(), None, lambda _: (100, 80))
    assert [each.severity for each in problems] == ["note", "note"]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    coco = COCO(str(path))
    assert len(coco.getAnnIds()) == 2
    assert coco.annToMask(coco.loadAnns([1])[0]).sum() == 30 * 40
    (record,) = load_coco_json(str(path), str(tmp_path))
    assert len(record["annotations"]) == 2


def test_sizes(tmp_path: Path) -> None:
    def unknown(_: Any) -> None:
        return None

    data, problems = to_coco(labelled_set(), None, unknown)
    assert data["images"] == []
    assert [(each.severity, each.image) for each in problems] == [("error", "a.jpg")]
    # A file that was COCO before knows them.
    data, _ = to_coco(labelled_set(width="70", height="60"), None, unknown)
    assert (data["images"][0]["width"], data["images"][0]["height"]) == (70, 60)


@pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the project")
def test_persons_of_coco_there_and_back(tmp_path: Path) -> None:
    from roilab.skeleton import COCO_PERSON

    source = DATA / "coco-keypoints" / "test_coco.json"
    before = label(read(source), skeleton=COCO_PERSON)
    assert sum(len(image.instances) for image in before.images) == 14
    data, _ = to_coco(before, COCO_PERSON, lambda _: None)
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    original = json.loads(source.read_text(encoding="utf-8"))["annotations"]
    persons = {each["id"]: each for each in original}
    assert len(data["annotations"]) == len(persons)
    for ours, theirs in zip(
        sorted(data["annotations"], key=lambda each: each["bbox"]),
        sorted(persons.values(), key=lambda each: each["bbox"]),
        strict=True,
    ):
        assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=0.02)
        assert ours["keypoints"] == theirs["keypoints"]
        assert ours["num_keypoints"] == theirs["num_keypoints"]
