"""Checks of annotation files: counts, problems, and the regions that leave their image."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from roilab import via
from roilab.curation.check import CheckReport, check_annotations, unusable_file
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.records import detectron2_annotation
from roilab.data.usable_images import find_images
from roilab.errors import UserError
from roilab.image_files import ImageFolder
from roilab.skeleton import COCO_PERSON, Skeleton


def test_the_unusable_file_of_a_folder_is_named(tmp_path: Path) -> None:
    inner = tmp_path / "ulm" / "a.png"
    for file, named in ((inner, 1), (tmp_path, 0)):
        [problem] = unusable_file(tmp_path, UserError("no image", file=file)).problems
        assert problem.message.count(str(file)) == named


def errors(report: CheckReport) -> int:
    return sum(problem.severity == "error" for problem in report.problems)


@pytest.mark.parametrize("points", [0, 1])
def test_objects_without_any_labelled_keypoint(points: int, tmp_path: Path) -> None:
    regions = []
    for x in (2, 16):
        box = {"name": "rect", "x": x, "y": 2, "width": 12, "height": 20}
        regions.append({"shape_attributes": box, "region_attributes": {"class": "person"}})
    nose = {"name": "point", "cx": 8, "cy": 8}
    labels = {"class": "person", "keypoint": "nose"}
    regions += [{"shape_attributes": nose, "region_attributes": labels}] * points
    entry = {"filename": "a.png", "size": -1, "regions": regions, "file_attributes": {}}
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    path = tmp_path / "via.json"
    path.write_text(json.dumps({"a.png-1": entry}))
    keypoint = "keypoint" if points else None
    rules = via.LabelRules(class_attribute="class", keypoint_attribute=keypoint)
    for skeleton in (None, COCO_PERSON) if not points else (COCO_PERSON,):
        annotations = via.read(path)
        (located,) = find_images([(annotations, ImageFolder(tmp_path))])
        report = check_annotations(annotations, located, rules, skeleton)
        assert not errors(report)
        messages = [
            problem.message for problem in report.problems if "labelled keypoint" in problem.message
        ]
        if points or skeleton is None:
            assert not messages
        else:
            (message,) = messages
            assert "none of the 2 objects" in message


NAMES = COCO_PERSON.keypoints


@pytest.mark.parametrize(
    ("skeleton", "names", "keypoints", "is_warned"),
    [
        (None, NAMES, [0] * 51, True),
        (COCO_PERSON, NAMES, [0] * 51, True),
        (None, NAMES, None, True),  # declared, and no annotation has any
        (COCO_PERSON, NAMES, None, True),
        (None, NAMES, [5, 5, 2, *[0] * 48], False),
        (COCO_PERSON, NAMES, [5, 5, 2, *[0] * 48], False),
        (None, (), None, False),
    ],
)
def test_coco_objects_without_any_labelled_keypoint(
    skeleton: Skeleton | None,
    names: tuple[str, ...],
    keypoints: list[int] | None,
    is_warned: bool,
    tmp_path: Path,
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    person = {"image_id": 1, "category_id": 1, "bbox": [2, 2, 9, 9], "iscrowd": 0}
    more = {} if keypoints is None else {"keypoints": keypoints}
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 32}],
        "annotations": [person | more | {"id": number} for number in (1, 2, 3)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    annotations = read_annotations(path)
    (located,) = find_images([(annotations, ImageFolder(tmp_path))])
    report = check_annotations(annotations, located, via.LabelRules(), skeleton)
    assert not errors(report)
    messages = [
        problem.message for problem in report.problems if "labelled keypoint" in problem.message
    ]
    assert [("3 objects" in message) for message in messages] == [True] * is_warned


SIZE = 100
NOSE = Skeleton("s", ("cat",), ("nose",), (), (), (0.1,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ImageFolder:
    path: Path = tmp_path_factory.mktemp("images")
    Image.new("RGB", (SIZE, SIZE)).save(path / "a.png")
    return ImageFolder(path)


def problems_of(folder: ImageFolder, *shapes: via.Shape) -> list[str]:
    regions = tuple(
        via.Region(n, shape, {"point": "nose"} if isinstance(shape, via.Point) else {"kind": "cat"})
        for n, shape in enumerate(shapes)
    )
    image = via.ImageRecord("a.png", "a.png", None, regions)
    file = via.Annotations("via.json", via.Container.VIA2_JSON, (image,), {}, {})
    (located,) = find_images([(file, folder)])
    report = check_annotations(file, located, via.LabelRules(class_attribute="kind"))
    return [problem.message for problem in report.problems]


corner = st.integers(-3, SIZE + 3)
noise = st.floats(-1e-9, 1e-9)


@given(corner, corner, st.integers(1, 50), st.integers(1, 50), noise, noise)
def test_noise_of_floats_changes_no_problem(
    folder: ImageFolder, x: int, y: int, width: int, height: int, dx: float, dy: float
) -> None:
    exact = via.Polygon((x, x + width, x + width, x), (y, y, y + height, y + height))
    moved = via.Polygon(tuple(x + dx for x in exact.xs), tuple(y + dy for y in exact.ys))
    # A region that lies beyond the edge and touches it has nothing to be trained with, however.
    touches = x in (0 - width, SIZE) or y in (0 - height, SIZE)
    counts = [len(problems_of(folder, polygon)) for polygon in (exact, moved)]
    assert touches or counts[0] == counts[1]


@pytest.mark.parametrize(
    ("right", "count"), [(100, 0), (100 + 1e-14, 0), (100.5, 0), (100.51, 1), (101, 1)]
)
def test_half_a_pixel_is_rounding(folder: ImageFolder, right: float, count: int) -> None:
    assert len(problems_of(folder, via.Rect(20, 20, right - 20, 30))) == count
    assert len(problems_of(folder, via.Rect(100 - right, 20, 30, 30))) == count


@pytest.mark.parametrize("left", [100, 100.25])
def test_a_region_beyond_the_edge_is_left_out(folder: ImageFolder, left: float) -> None:
    """However near it is."""
    (message,) = problems_of(folder, via.Rect(left, 20, 0.2, 30))
    assert "left out" in message


@given(st.floats(0, 120), st.floats(0, 120))
def test_a_point_without_a_problem_is_within_the_image_of_training(
    folder: ImageFolder, x: float, y: float
) -> None:
    """VIA's canvas lets a point be at the edge itself; Detectron2 drops what is beyond."""
    outline = via.Rect(0, 0, SIZE, SIZE)
    messages = problems_of(folder, outline, via.Point(x, y))
    outside = [message for message in messages if "outside" in message]
    instance = via.Instance("cat", (outline,), ((x, y, 2),), (0,))
    keypoints = detectron2_annotation(instance, ["cat"], NOSE, SIZE, SIZE)["keypoints"]
    kept = all(0 <= coordinate <= SIZE for coordinate in keypoints[:2])
    assert kept is not bool(outside)


def findings(tmp_path: Path, folder: ImageFolder, text: str) -> CheckReport:
    path = tmp_path / "via"
    path.write_text(text, encoding="utf-8")
    annotations = read_annotations(path)
    (located,) = find_images([(annotations, folder)])
    return check_annotations(annotations, located, via.LabelRules(default_class="cat"))


def test_a_row_with_two_bad_cells_is_one_region(tmp_path: Path, folder: ImageFolder) -> None:
    rows = ["a.png,-1,{},2,0,\"{'x': 1}\",\"{'c': 1}\"", "a.png,-1,{},2,1,\"{'x': 1}\",{}"]
    columns = "filename,file_size,file_attributes,region_count,region_id"
    header = f"{columns},region_shape_attributes,region_attributes"
    report = findings(tmp_path, folder, "\n".join([header, *rows]))
    assert (report.regions, report.instances, errors(report)) == (2, 0, 3)
    assert report.empty_images == 0


RECT: dict[str, Any] = {"name": "rect", "x": 1, "y": 1, "width": 9, "height": 9}


def test_a_region_that_is_read_in_spite_of_an_error_is_one(
    tmp_path: Path, folder: ImageFolder
) -> None:
    region = {"shape_attributes": RECT, "region_attributes": {"kind": "cat"}}
    entry = {"filename": "a.png", "size": -1, "regions": [region], "file_attributes": {}}
    text = json.dumps({"a.png-1": entry}).replace('"x": 1', '"x": 5, "x": 1')
    report = findings(tmp_path, folder, text)
    assert (report.regions, report.instances, errors(report)) == (1, 1, 1)


def test_refused_regions_of_entries_of_one_name_are_all_counted(
    tmp_path: Path, folder: ImageFolder
) -> None:
    bad = {"shape_attributes": {"name": "rect", "x": 1}, "region_attributes": {}}
    entry = {"filename": "a.png", "size": -1, "regions": [bad], "file_attributes": {}}
    report = findings(tmp_path, folder, json.dumps({"a": entry, "b": entry | {"size": 7}}))
    assert report.regions == 2
