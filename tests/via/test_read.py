"""Containers by content, values as they occur in the wild, and located problems."""

import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest

from roilab.errors import UserError
from roilab.via import Annotations, Attribute, Container, Ellipse, Polygon, Problem, Rect, read

RECT = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}
OTHER = RECT | {"x": 50}


def region(shape: object = None, **attributes: object) -> dict[str, Any]:
    return {"shape_attributes": shape or RECT, "region_attributes": attributes}


def entry(*regions: object, **more: object) -> dict[str, Any]:
    base = {"filename": "a.jpg", "size": 10, "regions": list(regions), "file_attributes": {}}
    return base | more


def polygon(xs: object, ys: object) -> dict[str, Any]:
    return region({"name": "polygon", "all_points_x": xs, "all_points_y": ys})


def load(tmp_path: Path, data: object, encoding: str = "utf-8") -> Annotations:
    path = tmp_path / "via.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding=encoding)
    return read(path)


def only_problem(annotations: Annotations) -> Problem:
    (problem,) = annotations.problems
    assert problem.file == annotations.file
    assert problem.remedy
    return problem


class TestContainers:
    @pytest.mark.parametrize(
        ("data", "container", "indices"),
        [
            (entry(fileref="", base64_img_data="", regions={"0": region(), "2": region()}),
             Container.VIA1_JSON, [0, 2]),
            (entry(region()), Container.VIA2_JSON, [0]),
            (entry(regions={"x": region(), "y": region()}), Container.VIA2_JSON, [0, 1]),
        ],
    )  # fmt: skip
    def test_entries(
        self, tmp_path: Path, data: dict[str, Any], container: Container, indices: list[int]
    ) -> None:
        annotations = load(tmp_path, {"a.jpg10": data})
        assert annotations.container is container
        assert [region.index for region in annotations.images[0].regions] == indices
        assert annotations.images[0].regions[0].shape == Rect(1, 2, 3, 4)

    @pytest.mark.parametrize("via1", [True, False])
    def test_a_list_of_entries_is_an_object_of_them(self, tmp_path: Path, via1: bool) -> None:
        more = {"fileref": "", "base64_img_data": ""} if via1 else {}
        entries = [entry(region(kind="cat"), **more), entry(filename="b.jpg", size=-1, **more)]
        listed = load(tmp_path, entries)
        keyed = load(tmp_path, {f"{entry['filename']}{entry['size']}": entry for entry in entries})
        assert listed == keyed

    def test_entries_of_a_list_that_are_none(self, tmp_path: Path) -> None:
        entries = [entry(region()), entry(region()), 7, entry(filename=""), {"x": 1}]
        annotations = load(tmp_path, entries)
        assert [image.filename for image in annotations.images] == ["a.jpg", "a.jpg"]
        assert [problem.severity for problem in annotations.problems] == ["error"] * 3 + ["warning"]
        assert len({image.key for image in annotations.images}) == 2

    def test_project(self, tmp_path: Path) -> None:
        kind = {"type": "radio", "description": "d", "options": {" 1 ": " a car ", "2": ""},
                "default_options": {"2": True, "1": False}}  # fmt: skip
        note = {"type": "text", "default_value": "none"}
        project = {
            "_via_settings": {"core": {"default_filepath": "pics/"}},
            "_via_img_metadata": {"a": entry(), "b": entry(filename="b.jpg")},
            "_via_attributes": {"region": {"kind": kind}, "file": {"note": note}},
            "_via_image_id_list": ["b", "gone"],
        }
        annotations = load(tmp_path, project)
        assert annotations.container is Container.VIA2_PROJECT
        assert [image.filename for image in annotations.images] == ["b.jpg", "a.jpg"]
        assert annotations.default_path == "pics/"
        assert annotations.region_attributes["kind"].options == {"1": "a car", "2": ""}
        assert annotations.region_attributes["kind"].default_options == ("2",)
        assert annotations.file_attributes["note"] == Attribute("note", default_value="none")
        problem = only_problem(annotations)
        assert (problem.severity, problem.image) == ("warning", "gone")

    def test_old_project_without_order_and_attributes(self, tmp_path: Path) -> None:
        annotations = load(tmp_path, {"_via_img_metadata": {"a": entry(region())}})
        assert len(annotations.images) == 1
        assert annotations.problems == ()

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        assert load(tmp_path, {"a": entry()}, "utf-8-sig").images[0].filename == "a.jpg"

    @pytest.mark.parametrize(
        ("content", "named"),
        [
            ("a,b,c\n1,2,3\n", "a CSV"),
            ("hello", "not JSON"),
            ("", "empty file"),
            ([1], "list"),
            ({}, "empty JSON object"),
            ({"some": 1, "other": 2}, "'some', 'other'"),
        ],
    )
    def test_other_files_are_named(self, tmp_path: Path, content: object, named: str) -> None:
        with pytest.raises(UserError, match="not a file of a kind") as error:
            load(tmp_path, content)
        assert named in str(error.value)
        assert "via.json" in str(error.value)
        assert "VIA 2 project" in str(error.value)

    @pytest.mark.parametrize("kind", ["region", "file"])
    def test_attributes_file_is_refused_as_what_it_is(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(UserError, match="attributes file") as error:
            load(tmp_path, {kind: {"name": {"type": "text"}}})
        assert "via.json" in str(error.value)

    def test_key_that_occurs_twice(self, tmp_path: Path) -> None:
        one = json.dumps(entry(region()))
        annotations = load(tmp_path, f'{{"a": {one}, "b": {one}, "a": {one}}}')
        assert len(annotations.images) == 2
        problem = annotations.problems[0]
        assert (problem.severity, "'a'" in problem.message) == ("error", True)
        assert (problem.image, "2 times" in problem.message) == ("a.jpg", True)

    @pytest.mark.parametrize("wrap", ["{}", '{{"_via_img_metadata": {}}}'])
    def test_key_that_occurs_twice_in_a_region(self, tmp_path: Path, wrap: str) -> None:
        text = json.dumps({"k": entry(region(), region(RECT | {"x": 7}, kind="z"))})
        text = text.replace('"kind"', '"kind": "x", "kind": "y", "kind"')
        annotations = load(tmp_path, wrap.format(text))
        assert annotations.images[0].regions[1].attributes == {"kind": "z"}
        problem = only_problem(annotations)
        assert (problem.image, problem.region, problem.attribute) == ("a.jpg", 1, "kind")
        assert "3 times" in problem.message
        assert "k > regions > 1 > region_attributes" in problem.message

    def test_keys_that_occur_twice_in_many_places(self, tmp_path: Path) -> None:
        text = json.dumps({"k": entry(region(kind="z"), region(RECT | {"x": 7}, kind="z"))})
        text = text.replace('"x": 7', '"x": 5, "x": 7').replace('"kind"', '"kind": "x", "kind"')
        problems = load(tmp_path, text).problems
        places = [(problem.region, problem.attribute) for problem in problems]
        assert places == [(0, "kind"), (1, None), (1, "kind")]

    def test_regions_that_are_twice_in_an_image(self, tmp_path: Path) -> None:
        other = region(RECT | {"x": 77})
        annotations = load(tmp_path, {"a": entry(region(), other, region(), other)})
        assert len(annotations.images[0].regions) == 4
        problem = only_problem(annotations)
        assert (problem.severity, problem.region) == ("warning", 2)
        assert "the same as region 0, and 1 more" in problem.message

    def test_two_entries_of_one_image(self, tmp_path: Path) -> None:
        problem = only_problem(load(tmp_path, {"a": entry(region()), "b": entry()}))
        assert (problem.severity, problem.image) == ("warning", "a.jpg")
        assert "2 entries" in problem.message

    @pytest.mark.parametrize("end", ["\r\n", "\r"])
    def test_any_line_ending(self, tmp_path: Path, end: str) -> None:
        text = json.dumps({"a": entry(region())}, indent=1).replace("\n", end)
        assert len(load(tmp_path, text).images[0].regions) == 1

    def test_strict_raises_what_would_be_left_out(self, tmp_path: Path) -> None:
        sound = load(tmp_path, {"a": entry(region())})
        assert read(sound.file, strict=True) == sound
        lossy = load(tmp_path, {"a": entry(region(), {})})
        assert len(lossy.images[0].regions) == 1
        with pytest.raises(UserError, match=r"1 error(.|\n)*region 1"):
            read(lossy.file, strict=True)

    def test_the_collector_is_left_as_it_was(self, tmp_path: Path) -> None:
        assert gc.isenabled()
        load(tmp_path, {"a": entry()})
        with pytest.raises(UserError):
            load(tmp_path, "{")
        assert gc.isenabled()

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("none", "No such file"), ("", "a folder"), ("pipe", "a pipe"), ("a\0b", "null")],
    )
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, name: str, reason: str) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(UserError, match=reason) as error:
            read(tmp_path / name)
        assert error.value.message == "the annotation file cannot be read"

    def test_broken_json_has_a_position(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="line 2, column 3"):
            load(tmp_path, '{"a":\n  oops}')

    def test_other_encoding(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="0xe9 at position 2"):
            load(tmp_path, '{"é": 1}', "latin-1")


class TestValues:
    @pytest.mark.parametrize("values", ["text", ["x"], 5, True])
    def test_attributes_that_are_no_object(self, tmp_path: Path, values: object) -> None:
        bad = region() | {"region_attributes": values}
        annotations = load(tmp_path, {"a": entry(region(), bad | {"shape_attributes": OTHER})})
        assert annotations.images[0].regions[1].attributes == {}
        problem = only_problem(annotations)
        assert (problem.severity, problem.image, problem.region) == ("error", "a.jpg", 1)
        assert problem.attribute == "region_attributes"
        problem = only_problem(load(tmp_path, {"a": entry(file_attributes=values)}))
        assert (problem.image, problem.attribute) == ("a.jpg", "file_attributes")

    def test_attributes_that_are_missing(self, tmp_path: Path) -> None:
        empty = region() | {"region_attributes": None}
        assert load(tmp_path, {"a": entry(empty, file_attributes=None)}).problems == ()

    @pytest.mark.parametrize("state", ["yes", 2, {"x": 1}, [True]])
    def test_a_tick_that_is_none(self, tmp_path: Path, state: object) -> None:
        annotations = load(tmp_path, {"a": entry(region(box={"car": state, "bus": True}))})
        assert annotations.images[0].regions[0].attributes == {"box": ("bus",)}
        problem = only_problem(annotations)
        assert (problem.severity, problem.region, problem.attribute) == ("error", 0, "box")
        assert "'car'" in problem.message

    @pytest.mark.parametrize(
        ("raw", "value"),
        [
            (" Right\n", "Right"), (320, "320"), (1.5, "1.5"), (None, ""), (True, "true"),
            ({" a ": True, "b": "true", "c": False, "d": ""}, ("a", "b")),
            ({"a": 1, "b": "True", "c": "1", "d": 0, "e": "0", "f": None}, ("a", "b", "c")),
        ],
    )  # fmt: skip
    def test_every_form_of_value(self, tmp_path: Path, raw: object, value: object) -> None:
        annotations = load(tmp_path, {"a": entry(region(**{"name": raw, "": "x"}))})
        assert annotations.images[0].regions[0].attributes == {"name": value}
        assert annotations.problems == ()

    def test_list_as_value_is_a_problem_of_the_attribute(self, tmp_path: Path) -> None:
        annotations = load(tmp_path, {"a": entry(region(kind=["x"], other="y"))})
        assert annotations.images[0].regions[0].attributes == {"other": "y"}
        problem = only_problem(annotations)
        assert (problem.image, problem.region, problem.attribute) == ("a.jpg", 0, "kind")

    @pytest.mark.parametrize(
        ("size", "expected"),
        [(10, 10), ("63930", 63930), (-1, None), ("-1", None), (None, None), ("big", None), (0, 0)],
    )
    def test_size(self, tmp_path: Path, size: object, expected: int | None) -> None:
        assert load(tmp_path, {"a": entry(size=size)}).images[0].size == expected

    def test_file_attributes_and_stray_white_space_in_names(self, tmp_path: Path) -> None:
        data = entry(filename=" a b.jpg\n", file_attributes={"caption": " x "})
        image = load(tmp_path, {"key": data}).images[0]
        assert (image.key, image.filename, image.attributes) == ("key", "a b.jpg", {"caption": "x"})


class TestShapes:
    def test_closing_vertex_is_dropped(self, tmp_path: Path) -> None:
        annotations = load(tmp_path, {"a": entry(polygon([0, 9, 9, 0, 0], [0, 0, 9, 0, 0]))})
        assert annotations.images[0].regions[0].shape == Polygon((0, 9, 9), (0, 0, 9))

    def test_an_ellipse_without_an_angle(self, tmp_path: Path) -> None:
        """The shapes as VIA 2.0.8 and later writes them are those of the writer's tests."""
        ellipse = {"name": "ellipse", "cx": -1, "cy": 2, "rx": 3, "ry": 4.5}
        annotations = load(tmp_path, {"a": entry(region(ellipse))})
        assert annotations.images[0].regions[0].shape == Ellipse(-1, 2, 3, 4.5, 0)

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (region(RECT | {"width": 0}), "without extent"),
            (region(RECT | {"height": -3}), "without extent"),
            (region({"name": "circle", "cx": 1, "cy": 1, "r": 0}), "without extent"),
            (region({"name": "ellipse", "cx": 1, "cy": 1, "rx": 2, "ry": 0}), "without extent"),
            (polygon([0, 1, 0], [0, 1, 0]), "2 distinct vertices"),
            (polygon([], []), "0 distinct vertices"),
            (polygon([0, 1, 2], [0, 1]), "3 values in all_points_x and 2"),
            (polygon([0, 1, float("nan")], [0, 1, 0]), "not finite"),
            (polygon([0, 1, 10**400], [0, 1, 0]), "wider than any image"),
            (polygon([0, 1, "2"], [0, 1, 0]), "expected a number"),
            (polygon(None, [0, 1, 0]), "no list 'all_points_x'"),
            (region({"name": "rect", "x": 1, "y": 2, "width": 3}), "no 'height'"),
            (region(RECT | {"x": float("inf")}), "not finite"),
            (region(RECT | {"x": True}), "expected a number"),
            (region({"name": "blob"}), "unknown shape 'blob'"),
            (region({"x": 1}), "unknown shape 'unknown'"),
            ({"region_attributes": {}}, "no shape_attributes"),
            (None, "not an object"),
        ],
    )
    def test_refused_with_its_place(self, tmp_path: Path, bad: object, message: str) -> None:
        annotations = load(tmp_path, {"a": entry(region(), bad, region(RECT | {"x": 77}))})
        assert [region.index for region in annotations.images[0].regions] == [0, 2]
        problem = only_problem(annotations)
        assert (problem.severity, problem.image, problem.region) == ("error", "a.jpg", 1)
        assert message in problem.message

    @pytest.mark.parametrize("digits", ["9" * 5000, "-" + "9" * 5000])
    def test_an_integer_that_python_does_not_convert(self, tmp_path: Path, digits: str) -> None:
        data = {"a": entry(region(RECT | {"x": 77}), region(RECT | {"x": 78}, id=79))}
        text = json.dumps(data)
        annotations = load(tmp_path, text.replace("77", digits).replace("79", digits))
        (kept,) = annotations.images[0].regions
        assert (kept.index, kept.attributes) == (1, {"id": digits})
        problem = only_problem(annotations)
        assert (problem.image, problem.region) == ("a.jpg", 0)
        assert f"{len(digits)} digits" in problem.message

    def test_a_figure_of_eight_has_an_area(self, tmp_path: Path) -> None:
        annotations = load(tmp_path, {"a": entry(polygon([0, 10, 0, 10], [0, 10, 10, 0]))})
        assert len(annotations.images[0].regions) == 1

    def test_entry_without_file_name(self, tmp_path: Path) -> None:
        annotations = load(tmp_path, {"a": entry(), "b": entry(filename="")})
        assert len(annotations.images) == 1
        assert only_problem(annotations).image == "b"

    def test_regions_that_are_no_list(self, tmp_path: Path) -> None:
        annotations = load(tmp_path, {"a": entry(regions="none")})
        assert annotations.images[0].regions == ()
        assert only_problem(annotations).image == "a.jpg"
