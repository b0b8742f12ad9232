"""roilab data about attributes that are no class, one class each, or named by predictions."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from roilab.via import LabelRules, build_instances, read

Script = Callable[..., Any]
Regions = list[tuple[dict[str, Any], Mapping[str, object]]]


def square(x: int, **values: object) -> tuple[dict[str, Any], Mapping[str, object]]:
    return {"name": "rect", "x": x, "y": 10, "width": 20, "height": 20}, values


def point(x: int, y: int, **values: object) -> tuple[dict[str, Any], Mapping[str, object]]:
    return {"name": "point", "cx": x, "cy": y}, values


def write(folder: Path, *images: Regions) -> Path:
    """A VIA JSON beside its images of 100 x 100 pixels."""
    entries = {}
    for number, regions in enumerate(images):
        name = f"{number}.png"
        Image.new("RGB", (100, 100), (number, 90, 90)).save(folder / name)
        drawn = [{"shape_attributes": s, "region_attributes": v} for s, v in regions]
        entries[f"{name}-1"] = {
            "filename": name, "size": -1, "regions": drawn, "file_attributes": {},
        }  # fmt: skip
    path = folder / "via.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    return write(tmp_path, [square(10, track="71"), square(50, track="70")])


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    return write(tmp_path, [square(10, Key="Key")], [square(10, Image="Image")])


class TestNoClass:
    def test_the_warning_and_both_ways_out(self, script: Script, tracks: Path) -> None:
        done = script("data", "check", tracks)
        assert "1 warning," in done.stdout
        assert "2 values for 2 objects" in done.stdout
        done = script("data", "check", tracks, "--class-attribute", "", "--default-class", "cat")
        assert "cat 2" in done.stdout
        assert "0 errors, 0 warnings, 0 notes" in done.stdout
        done = script("data", "check", tracks, "--class-attribute", "track")
        assert "0 errors, 0 warnings, 0 notes" in done.stdout

    def test_every_command_that_labels(self, script: Script, tracks: Path, tmp_path: Path) -> None:
        none = ("--class-attribute", "", "--default-class", "cat")
        assert "cat" in script("data", "stats", tracks, *none).stdout
        script("data", "draw", tracks, *none, "--output", tmp_path / "sheets")
        target = tmp_path / "coco.json"
        script("data", "convert", tracks, target, "--to", "coco", *none)
        names = [category["name"] for category in json.loads(target.read_text())["categories"]]
        assert names == ["cat"]
        # Not the class, and so no dropdown.
        target = tmp_path / "project.json"
        script("data", "convert", tracks, target, "--to", "via", "--class-attribute", "")
        assert read(target).region_attributes["track"].type == "text"


class TestOneClassEach:
    @pytest.mark.parametrize("to", ["via", "coco"])
    def test_converted(self, script: Script, flags: Path, tmp_path: Path, to: str) -> None:
        target = tmp_path / "out.json"
        script("data", "convert", flags, target, "--to", to)
        annotations = read(target)
        assert build_instances(annotations).classes == ("Image", "Key")
        if to == "via":
            (declared,) = annotations.region_attributes.values()
            assert (declared.type, set(declared.options)) == ("dropdown", {"Key", "Image"})

    def test_divided_and_joined(self, script: Script, flags: Path, tmp_path: Path) -> None:
        script("data", "split", flags, "--output", tmp_path / "parts", "--train", "0.5")
        parts = [tmp_path / "parts" / f"{name}.json" for name in ("train", "val")]
        assert {len(read(part).images) for part in parts} == {1}
        whole = tmp_path / "whole.json"
        script("data", "merge", *parts, "--output", whole)
        assert build_instances(read(whole)).classes == ("Image", "Key")

    def test_named(self, script: Script, tmp_path: Path) -> None:
        odd = write(tmp_path, [square(10, scratch="deep"), square(50, dent="small")])
        done = script("data", "check", odd, status=1)
        assert "where each is a class of its own" in done.stdout
        names = ("--class-attribute", "scratch", "--class-attribute", "dent")
        done = script("data", "check", odd, *names)
        assert "dent 1, scratch 1" in done.stdout


class TestConvert:
    def test_nothing_is_lost_where_nothing_was_declared(
        self, script: Script, tracks: Path, tmp_path: Path
    ) -> None:
        for kind in ("via-json", "via-csv"):
            done = script("data", "convert", tracks, tmp_path / kind, "--to", kind)
            assert "0 errors, 0 warnings, 0 notes" in done.stdout
            assert read(tmp_path / kind).images == read(tracks).images

    def test_declarations_are_lost_where_there_are_any(
        self, script: Script, tracks: Path, tmp_path: Path
    ) -> None:
        project = tmp_path / "project.json"
        script("data", "convert", tracks, project, "--to", "via")
        done = script("data", "convert", project, tmp_path / "out.json", "--to", "via-json")
        assert "declarations of attributes are not written" in done.stdout

    def test_the_class_is_named_where_something_else_is_unclear(
        self, script: Script, tmp_path: Path
    ) -> None:
        """The note's remedy works, though what ties the points stays unknown."""
        tied = {"kind": "person", "id": "a"}
        file = write(tmp_path, [square(10, **tied), point(15, 15, part="nose", **tied)])
        target = tmp_path / "a.json"
        done = script("data", "convert", file, target, "--to", "via")
        assert "give --class-attribute" in done.stdout
        target = tmp_path / "b.json"
        done = script("data", "convert", file, target, "--to", "via", "--class-attribute", "kind")
        assert "--class-attribute" not in done.stdout
        assert read(target).region_attributes["kind"].type == "dropdown"


class TestDraw:
    def test_points_of_nothing_are_counted_and_seen(self, script: Script, tmp_path: Path) -> None:
        outline = square(10, kind="person")
        file = write(tmp_path, [outline, point(15, 15, part="nose"), point(80, 80, part="nose")])

        def sheet(name: str, *options: str) -> tuple[str, bytes]:
            done = script("data", "draw", file, "--output", tmp_path / name, *options)
            return done.stdout, (tmp_path / name / "sheet_001.jpg").read_bytes()

        printed, with_both = sheet("found")
        assert "1 point belongs to no object" in printed
        write(tmp_path, [outline, point(15, 15, part="nose")])
        printed, with_one = sheet("all used")
        assert "to no object" not in printed
        assert with_one != with_both
        # Without the skeleton's names nobody reads them.
        write(tmp_path, [outline, point(15, 15, part="x"), point(80, 80, part="y")])
        assert "2 points belong to no object" in sheet("unread")[0]


def test_from_points_that_are_ignored_to_keypoints(script: Script, tmp_path: Path) -> None:
    """Each step does what the last one said; outlines have the default of the keypoint."""
    drawn = [square(10, keypoint="head"), point(15, 15, keypoint="head")]
    file = write(tmp_path, [*drawn, point(20, 20, keypoint="hip")])
    done = script("data", "check", file)
    assert "roilab data skeleton proposes one" in done.stdout
    bones = tmp_path / "s.json"
    done = script("data", "skeleton", "--from", file, "--output", bones, status=2)
    assert "give --default-class NAME" in done.stderr
    rest = ("--default-class", "cat")
    script("data", "skeleton", "--from", file, "--output", bones, *rest)
    done = script("data", "check", file, "--skeleton", bones, *rest)
    assert "0 errors, 0 warnings, 0 notes" in done.stdout
    assert "keypoints  2" in done.stdout


@pytest.mark.parametrize("options", [{}, {"class_attribute": ""}])
def test_training_reads_as_check_does(tracks: Path, options: dict[str, str]) -> None:
    from roilab.data.dataset import load_dataset

    rules = LabelRules(default_class="cat", **options)
    data = load_dataset(str(tracks), rules=rules)
    assert data.classes == build_instances(read(tracks), rules).classes
    assert data.classes == (("cat",) if options else ("70", "71"))


def test_training_takes_a_list_of_a_config(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    from roilab.data.dataset import load_dataset

    odd = write(tmp_path, [square(10, scratch="deep"), square(50, dent="small")])
    names = OmegaConf.create(["scratch", "dent"])
    rules = LabelRules(class_attribute=names)  # type: ignore[arg-type]
    assert load_dataset(str(odd), rules=rules).classes == ("dent", "scratch")
