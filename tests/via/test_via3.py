"""VIA 3 projects and CSV files, after the grammar of its writer."""

from pathlib import Path
from typing import Any

import pytest

from roilab import via

from .test_read import load


def project(**changes: Any) -> dict[str, Any]:
    """A project of one image with a class and a caption."""
    kinds = {"0": "cat", "1": "dog"}
    base: dict[str, Any] = {
        "project": {"pid": "__VIA_PROJECT_ID__", "vid_list": ["1"], "pname": "p"},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}},
        "attribute": {
            "1": {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 4, "desc": "what",
                  "options": kinds, "default_option_id": ""},
            "2": {"aname": "caption", "anchor_id": "FILE1_Z0_XY0", "type": 1, "options": {}},
            "3": {"aname": "state", "anchor_id": "FILE1_Z0_XY1", "type": 2,
                  "options": {"1": "wet", "3": "cut"}},
        },
        "file": {"1": {"fid": 1, "fname": "a.jpg", "type": 2, "loc": 1, "src": ""}},
        "metadata": {"1_x": region([2, 10, 20, 50, 80], {"1": "1", "3": "1,3"})},
        "view": {"1": {"fid_list": [1]}},
    }  # fmt: skip
    return base | changes


def region(xy: object, values: dict[str, str] | None = None, z: object = ()) -> dict[str, Any]:
    return {"vid": "1", "flg": 0, "z": list(z), "xy": xy, "av": values or {}}  # type: ignore[call-overload]


def test_a_project(tmp_path: Path) -> None:
    data = project()
    data["metadata"]["1_f"] = region([], {"2": "a caption"})
    annotations = load(tmp_path, data)
    assert annotations.container is via.Container.VIA3_PROJECT
    (image,) = annotations.images
    assert (image.filename, image.size) == ("a.jpg", None)
    assert image.attributes == {"caption": "a caption"}
    assert image.regions[0].shape == via.Rect(10, 20, 50, 80)
    assert image.regions[0].attributes == {"kind": "1", "state": ("1", "3")}
    assert annotations.region_attributes["kind"] == via.Attribute(
        "kind", "dropdown", "what", {"0": "cat", "1": "dog"}
    )
    assert annotations.region_attributes["state"].type == "checkbox"
    assert set(annotations.file_attributes) == {"caption"}
    assert annotations.problems == ()


def test_classes_by_description(tmp_path: Path) -> None:
    data = project(
        metadata={"m": region([1, 5, 6], {"1": "0"}), "n": region([2, 1, 1, 9, 9], {"1": "1"})}
    )
    assert via.build_instances(load(tmp_path, data)).classes == ("dog",)


SHAPES: list[tuple[list[float], via.Shape]] = [
    ([1, 5.5, 6], via.Point(5.5, 6)),
    ([2, 1, 2, 3, 4], via.Rect(1, 2, 3, 4)),
    ([3, 9, 8, 7], via.Circle(9, 8, 7)),
    ([4, 9, 8, 7, 6], via.Ellipse(9, 8, 7, 6)),
    ([5, 1, 2, 3, 4], via.Polyline((1, 3), (2, 4))),
    ([6, 1, 2, 3, 4, 5, 7], via.Polyline((1, 3, 5), (2, 4, 7))),
    ([7, 0, 0, 9, 0, 9, 9], via.Polygon((0, 9, 9), (0, 0, 9))),
    ([8, 1, 5, 9, 6, 4, 2, 5, 8], via.Rect(1, 2, 8, 6)),
    ([9, 0, 5, 5, 0, 10, 5], via.Circle(5, 5, 5)),
]


@pytest.mark.parametrize(("xy", "expected"), SHAPES)
def test_shapes(tmp_path: Path, xy: list[float], expected: via.Shape) -> None:
    annotations = load(tmp_path, project(metadata={"m": region(xy)}))
    assert annotations.images[0].regions[0].shape == expected
    assert annotations.problems == ()


@pytest.mark.parametrize(
    "xy",
    [[2, 1, 2, 3], [9, 0, 0, 1, 1, 2, 2], [9, 0, 0, 1, 1], [8, 1], [77, 1, 2], ["2", 1, 2, 3, 4],
     [8, 1, "x", 3, 4], [7, 0, 0, 1, 1], "rect", {"x": 1}, [1, 10**400, 1],
     [9, 0, 10**400, 1, 1, 2, 0], [2, 1, 2, 3, 4, 5], [1, 1, 2, 3], [3, 9, 8, 7, 6],
     [8, 1, 5, 9, 6, 4, 2, 5, 8, 1, 1], [9, 0, 5, 5, 0, 10, 5, 1, 1]],
)  # fmt: skip
def test_shapes_that_are_none_have_a_place(tmp_path: Path, xy: object) -> None:
    data = project(metadata={"m": region([1, 5, 5]), "n": region(xy)})
    annotations = load(tmp_path, data)
    assert len(annotations.images[0].regions) == 1
    (problem,) = annotations.problems
    assert (problem.severity, problem.image, problem.region) == ("error", "a.jpg", 1)
    assert "metadata 'n'" in problem.message


def test_values_of_a_region_name_its_metadata(tmp_path: Path) -> None:
    data = project()
    data["metadata"]["1_x"]["av"] = {"1": ["0"]}
    (problem,) = load(tmp_path, data).problems
    assert (problem.region, problem.attribute) == (0, "kind")
    assert "metadata '1_x'" in problem.message


def test_metadata_that_give_one_image_a_value_twice(tmp_path: Path) -> None:
    data = project()
    data["metadata"] |= {"f": region([], {"2": "first"}), "g": region([]) | {"av": {"2": ["x"]}}}
    annotations = load(tmp_path, data)
    assert annotations.images[0].attributes == {"caption": "first"}
    assert [problem.message for problem in annotations.problems] == ["the value is a list"]
    data["metadata"] |= {"g": region([], {"2": "last"}), "h": region([]) | {"av": {"3": "1"}}}
    attributes = load(tmp_path, data).images[0].attributes
    assert attributes == {"caption": "last", "state": ("1",)}


@pytest.mark.parametrize("times", ["[1.5", {"t": 1}, 5, ["x"]])
def test_times_that_are_none(tmp_path: Path, times: object) -> None:
    data = project()
    data["metadata"]["t"] = region([1, 5, 5]) | {"z": times}
    annotations = load(tmp_path, data)
    assert len(annotations.images[0].regions) == 1
    (problem,) = annotations.problems
    assert (problem.severity, problem.image) == ("error", "a.jpg")
    assert "annotation 't'" in problem.message
    assert "belong to a time" not in problem.message


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (None, "file 7, which the project does not have"),
        ({"fname": "b.mp4", "type": 4}, "a video"),
        ({"fname": "b.wav", "type": 8}, "a sound"),
        ({"fname": "b"}, "unknown type None"),
    ],
)
def test_a_view_without_an_image_is_called_what_it_is(
    tmp_path: Path, file: dict[str, Any] | None, message: str
) -> None:
    data = project()
    data["view"]["2"] = {"fid_list": ["7"]}
    data["file"] |= {"7": file} if file is not None else {}
    annotations = load(tmp_path, data)
    assert len(annotations.images) == 1
    (problem,) = annotations.problems
    assert problem.severity == "error"
    assert message in problem.message
    assert "video or a sound" not in problem.message


def test_a_default_option(tmp_path: Path) -> None:
    data = project()
    data["attribute"]["1"]["default_option_id"] = "1"
    assert load(tmp_path, data).region_attributes["kind"].default_options == ("1",)


def test_what_belongs_to_time_is_counted(tmp_path: Path) -> None:
    data = project()
    data["metadata"] |= {f"t{n}": region([1, 5, 5], z=[n]) for n in range(3)}
    annotations = load(tmp_path, data)
    assert len(annotations.images[0].regions) == 1
    (problem,) = annotations.problems
    assert (problem.severity, problem.image) == ("error", "a.jpg")
    assert "3 annotations" in problem.message


def test_videos_and_views_of_two_files_are_left_out(tmp_path: Path) -> None:
    data = project(
        file={
            "1": {"fid": 1, "fname": "a.jpg", "type": 2, "loc": 1, "src": ""},
            "2": {"fid": 2, "fname": "b.mp4", "type": 4, "loc": 1, "src": ""},
        },
        view={"1": {"fid_list": [1, 2]}, "2": {"fid_list": ["2"]}, "3": {"fid_list": ["1"]}},
    )
    annotations = load(tmp_path, data)
    assert [image.key for image in annotations.images] == ["3"]
    severities = [(problem.severity, problem.image) for problem in annotations.problems]
    assert severities == [("error", "a.jpg, b.mp4"), ("error", "b.mp4"), ("error", "a.jpg, b.mp4")]


def test_metadata_of_no_view(tmp_path: Path) -> None:
    data = project()
    data["metadata"]["x"] = region([1, 5, 5]) | {"vid": "9"}
    (problem,) = load(tmp_path, data).problems
    assert "1 annotation without a view" in problem.message


def test_where_files_are(tmp_path: Path) -> None:
    files = {
        "1": {"fname": "a.jpg", "type": 2, "loc": 1, "src": ""},
        "2": {"fname": "b.jpg", "type": 2, "loc": 2, "src": "http://example.org/b.jpg"},
        "3": {"fname": "c.jpg", "type": 2, "loc": 3, "src": "c.jpg"},
        "4": {"fname": "d.jpg", "type": 2, "loc": 4, "src": "data:image/png;base64,AAAA"},
    }
    data = project(
        file=files,
        view={fid: {"fid_list": [fid]} for fid in files},
        config={"file": {"loc_prefix": {"1": "pics/", "2": "", "3": "/home/x/", "4": ""}}},
        project={"vid_list": ["4", "1", "2", "3"]},
        metadata={},
    )
    annotations = load(tmp_path, data)
    names = [image.filename for image in annotations.images]
    assert names == ["d.jpg", "a.jpg", "http://example.org/b.jpg", "/home/x/c.jpg"]
    assert annotations.default_path == "pics/"


def test_two_attributes_of_one_name(tmp_path: Path) -> None:
    data = project()
    data["attribute"]["3"]["aname"] = "kind"
    annotations = load(tmp_path, data)
    assert set(annotations.region_attributes) == {"kind", "kind (3)"}
    assert annotations.images[0].regions[0].attributes == {"kind": "1", "kind (3)": ("1", "3")}
    assert [problem.severity for problem in annotations.problems] == ["warning"]


CSV = """# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# SHAPE_ID = {"POINT":1,"RECTANGLE":2}
ATTRIBUTES
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_a","[""a.jpg""]",0,"[]","[2,10,20,50,80]","{""1"":""0""}"
"1_b","[""a.jpg""]",0,"[]","[]","{""2"":""words""}"
"2_a","[""b, c.jpg""]",0,"[]","[1,3,4]","{}"
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "declared",
    [
        (
            '# ATTRIBUTE = {"1":{"aname":"kind","anchor_id":"FILE1_Z0_XY1","type":4,"options":'
            '{"0":"cat"}},"2":{"aname":"caption","anchor_id":"FILE1_Z0_XY0","type":1,"options":{}}}'
        ),
        '# ATTRIBUTES = {"1":"kind","2":"caption"}',
    ],
)
def test_csv(tmp_path: Path, declared: str, end: str) -> None:
    annotations = load(tmp_path, CSV.replace("ATTRIBUTES", declared, 1).replace("\n", end))
    assert annotations.container is via.Container.VIA3_CSV
    a, b = annotations.images
    assert (a.filename, b.filename) == ("a.jpg", "b, c.jpg")
    assert a.regions[0].shape == via.Rect(10, 20, 50, 80)
    assert a.regions[0].attributes == {"kind": "0"}
    assert a.attributes == {"caption": "words"}
    assert b.regions[0].shape == via.Point(3, 4)
    assert annotations.problems == ()


@pytest.mark.parametrize(
    "line",
    [
        '"x","[""a.jpg""]",0,"[]","[2,10',
        '"x","[""a.jpg""]",0,"[]","no","{}"',
        '"x","[""a.jpg""]",0,"[]","[1,2,3]","no"',
        '"x","[""a.jpg""]",0,"[1.5]","[1,2,3]","{}"',
        '"x","[""a.jpg"",""b.jpg""]",0,"[]","[1,2,3]","{}"',
        '"x","[""a.jpg""]",0,"[","[1,2,3]","{}"',
    ],
)
def test_bad_rows_of_a_csv(tmp_path: Path, line: str) -> None:
    annotations = load(tmp_path, CSV.replace("ATTRIBUTES\n", "") + line + "\n")
    assert sum(len(image.regions) for image in annotations.images) == 2
    assert "error" in {problem.severity for problem in annotations.problems}


def test_a_key_that_a_cell_of_a_csv_repeats(tmp_path: Path) -> None:
    line = '"x","[""a.jpg""]",0,"[]","[1,2,3]","{""1"":""0"",""1"":""1""}"'
    annotations = load(tmp_path, CSV.replace("ATTRIBUTES\n", "") + line + "\n")
    (problem,) = annotations.problems
    assert (problem.severity, problem.image) == ("error", "a.jpg")
    assert "annotation 'x'" in problem.message
    assert "2 times" in problem.message
