"""roilab data as a user runs it: findings, exit status, pictures."""

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roilab.via import (
    Annotations,
    Attribute,
    Container,
    ImageRecord,
    Point,
    Polygon,
    Rect,
    Region,
    write_project,
)

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
Command = Callable[..., Any]
KEYS = {"severity", "file", "image", "region", "attribute", "message", "remedy"}


@pytest.fixture
def data(script: Command) -> Command:
    return partial(script, "data")


@pytest.fixture
def check(data: Command) -> Command:
    def call(folder: Path, *arguments: object, status: int = 0) -> tuple[dict[str, Any], str]:
        """Findings, and all that is printed."""
        out = folder / "out" / "findings.json"
        arguments = (folder / "via.json", "--json", out, *arguments)
        done = data("check", *arguments, status=status)
        (findings,) = json.loads(out.read_text(encoding="utf-8"))["files"]
        return findings, done.stdout + done.stderr

    return call


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three images: a person with two keypoints and a car, an empty one, one with two persons."""
    sizes = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        picture = Image.new("RGB", (64, 48), (90, 120, 90))
        picture.putpixel((0, 0), (number, 0, 0))  # none is a copy of another
        picture.save(path)
        sizes.append(path.stat().st_size)
    ring = Polygon((5, 30, 30), (5, 5, 40))
    regions = (
        Region(0, ring, {"kind": "person", "id": "1"}),
        Region(1, Rect(40, 10, 24, 20), {"kind": "car", "id": "2"}),
        Region(2, Point(20, 10), {"part": "nose", "id": "1", "seen": "visible"}),
        Region(3, Point(25, 15), {"part": "left_eye", "id": "1", "seen": "occluded"}),
    )
    two = (Region(0, ring, {"kind": "person"}), Region(1, Rect(1, 1, 9, 9), {"kind": "person"}))
    images = [
        ImageRecord(str(number), f"{number}.png", size, each)
        for number, (size, each) in enumerate(zip(sizes, (regions, (), two), strict=True))
    ]
    names = ("kind", "id", "part", "seen")
    declared = {name: Attribute(name) for name in names}
    project = Annotations("", Container.VIA2_PROJECT, tuple(images), declared, {})
    write_project(tmp_path / "via.json", project)
    return tmp_path


@contextmanager
def edited(project: Path) -> Iterator[list[dict[str, Any]]]:
    """The entries of the project's images, which are written again at the end of the block."""
    path = project / "via.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    yield list(content["_via_img_metadata"].values())
    path.write_text(json.dumps(content), encoding="utf-8")


def rename_points(project: Path) -> None:
    """Points of a skeleton that nobody knows."""
    with edited(project) as entries:
        for region in entries[0]["regions"][2:]:
            region["region_attributes"]["part"] = "antenna"


class TestCheck:
    def test_counts(self, project: Path, check: Command) -> None:
        findings, printed = check(project, "--images", project, "--skeleton", "coco_person")
        assert findings == {
            "file": str(project / "via.json"),
            "container": "VIA 2 project",
            "images": 3,
            "empty_images": 1,
            "regions": 6,
            "instances": 4,
            "crowds": 0,
            "keypoints": 2,
            "classes": {"car": 1, "person": 3},
            "shapes": {"point": 2, "polygon": 2, "rect": 2},
            "problems": [],
        }
        assert "car 1, person 3" in printed

    def test_warnings_alone_are_no_failure(self, project: Path, check: Command) -> None:
        options = ("--class-attribute", "kind", "--class-map", "car=", "--class-map", "person=man")
        findings, printed = check(project, *options)
        assert findings["classes"] == {"man": 3}
        assert findings["keypoints"] == 0
        assert [each["severity"] for each in findings["problems"]] == ["warning", "note"]
        assert "0 errors, 1 warning, 1 note" in printed

    def test_cocos_skeleton_is_taken_where_it_fits(self, project: Path, check: Command) -> None:
        named, _ = check(project, "--skeleton", "coco_person")
        found, printed = check(project)
        assert found == named
        assert "skeleton: coco_person" in printed

    def test_class_attribute_has_to_be_named(self, project: Path, check: Command) -> None:
        rename_points(project)
        findings, _ = check(project, "--instance-attribute", "", status=1)
        assert (findings["images"], findings["regions"]) == (3, 6)
        assert (findings["instances"], findings["classes"]) == (0, {})
        (problem,) = findings["problems"]
        assert set(problem) == KEYS
        assert problem["severity"] == "error"
        assert "kind" in problem["message"]
        assert problem["remedy"].startswith("give --class-attribute NAME")

    def test_refused_regions_are_counted_and_located(self, project: Path, check: Command) -> None:
        with edited(project) as entries:
            entries[1]["regions"] = [
                {"shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 0, "height": 5}}
            ]
        findings, printed = check(project, "--class-attribute", "kind", status=1)
        assert (findings["regions"], findings["empty_images"]) == (7, 0)
        problem = next(each for each in findings["problems"] if each["severity"] == "error")
        assert (problem["image"], problem["region"]) == ("1.png", 0)
        assert problem["file"] == str(project / "via.json")
        assert "error: 1.png, region 0" in printed
        assert problem["remedy"] in printed

    def test_images(self, project: Path, check: Command) -> None:
        (project / "0.png").unlink()
        (project / "1.png").write_bytes((project / "1.png").read_bytes()[:60])
        Image.new("RGB", (20, 60)).save(project / "2.png")
        findings, _ = check(project, "--class-attribute", "kind", status=1)
        found = [
            (each["severity"], each["image"], each["region"])
            for each in findings["problems"]
            if each["image"] is not None
        ]
        assert found == [
            ("error", "0.png", None),
            ("error", "1.png", None),
            ("warning", "2.png", None),  # another size in bytes
            ("warning", "2.png", 0),  # reaches out of 20 pixels
        ]

    @pytest.mark.parametrize(
        ("x", "outside"),
        [
            *((65, True), (63, False), (0, False), (-1, True)),
            # VIA rounds a click in an enlarged image up to the edge.
            (64, False),
            # Half a pixel beyond the edge is rounding.
            *((64.5, False), (64.6, True), (-0.5, False), (-0.6, True)),
        ],
    )
    def test_point_at_the_edge_is_inside(
        self, project: Path, x: float, outside: bool, check: Command
    ) -> None:
        with edited(project) as entries:
            entries[0]["regions"][2]["shape_attributes"]["cx"] = x
        findings, _ = check(project, "--skeleton", "coco_person")
        assert bool(findings["problems"]) is outside

    def test_an_object_outside_is_left_out_as_in_training(
        self, project: Path, check: Command
    ) -> None:
        with edited(project) as entries:
            entries[0]["regions"][1]["shape_attributes"]["x"] = 500
            entries[2]["regions"][1]["shape_attributes"]["x"] = 60
        findings, _ = check(project, "--skeleton", "coco_person", status=1)
        assert [
            (each["severity"], each["image"], each["region"]) for each in findings["problems"]
        ] == [("error", "0.png", 1), ("warning", "2.png", 1)]
        assert "left out" in findings["problems"][0]["message"]
        assert (findings["instances"], findings["classes"]) == (3, {"person": 3})

    def test_refused_regions_of_two_entries_of_one_name(
        self, project: Path, check: Command
    ) -> None:
        with edited(project) as entries:
            for entry in entries[:2]:
                entry["filename"] = "0.png"
                entry["regions"] = [{"shape_attributes": {"name": "rect", "x": 1, "y": 1}}]
        findings, _ = check(project, "--class-attribute", "kind", status=1)
        assert findings["regions"] == 4

    def test_few_bits_in_files_of_16(self, project: Path, check: Command) -> None:
        grey = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) % 4096
        Image.fromarray(grey).save(project / "0.png")
        findings, said = check(project, "--class-attribute", "kind")
        (found,) = [each for each in findings["problems"] if "16 bits" in each["message"]]
        assert found["severity"] == "warning"
        assert found["message"].startswith("1 of 3 images looked at")
        assert "likely hold 12 bits" in said
        assert "datasets/README.md" in found["remedy"]

    def test_two_entries_of_one_image(self, project: Path, check: Command) -> None:
        content = json.loads((project / "via.json").read_text(encoding="utf-8"))
        images = content["_via_img_metadata"]
        lost, moved, here = images.values()
        lost |= {"filename": "x/2.png", "size": -1}
        moved |= {"filename": "x/1.png", "size": -1}
        images["more"] = here | {"filename": "./2.png"}
        (project / "via.json").write_text(json.dumps(content), encoding="utf-8")
        findings, _ = check(project, "--class-attribute", "kind", status=1)
        found = {
            (each["severity"], each["image"], each["message"].partition(":")[0])
            for each in findings["problems"]
            if each["image"]
        }
        assert found == {
            ("error", "x/2.png", "no such image"),
            ("warning", "x/1.png", "not in the folder that its name states"),
            (
                "warning",
                "./2.png",
                f"its file {project / '2.png'} is that of the entry '2.png' as well",
            ),
        }

    def test_an_image_in_two_files(self, project: Path, data: Command) -> None:
        other = project / "other.json"
        other.write_bytes((project / "via.json").read_bytes())
        done = data("check", project / "via.json", other, "--skeleton", "coco_person")
        assert f"is that of the entry '0.png' of {project / 'via.json'} as well" in done.stdout

    def test_an_image_that_pillow_stumbles_over(self, project: Path, check: Command) -> None:
        header = struct.pack("<7I", 124, 0x1007, 8, 8, 0, 0, 0)
        (project / "1.png").write_bytes(b"DDS " + header + bytes(96))
        findings, _ = check(project, "--skeleton", "coco_person", status=1)
        assert [each["image"] for each in findings["problems"]] == ["1.png"]

    def test_long_lists_are_cut(self, project: Path, check: Command) -> None:
        with edited(project) as entries:
            entries[2]["regions"] = [{"region_attributes": {}} for _ in range(30)]
        findings, printed = check(project, "--class-attribute", "kind", status=1)
        assert len(findings["problems"]) == 30
        assert "... and 10 more errors" in printed

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("via.json", "--images", "nowhere", "--skeleton", "coco_person"), "no such folder"),
            (("via.json", "--skeleton", "none.json"), "skeleton"),
            (("via.json", "--class-map", "person"), "OLD=NEW"),
        ],
    )
    def test_mistakes_end_with_2_and_no_traceback(
        self, project: Path, arguments: tuple[str, ...], message: str, data: Command
    ) -> None:
        paths = [
            project / each if each.endswith((".json", ".png", "nowhere")) else each
            for each in arguments
        ]
        done = data("check", *paths, status=2)
        assert done.stderr.startswith("error: ")
        assert message in done.stderr

    def test_a_file_that_cannot_be_read_is_an_error_beside_the_others(
        self, project: Path, data: Command
    ) -> None:
        names = ("0.png", "none.json", "", "via.json")  # and the folder itself
        done = data("check", *(project / name for name in names), status=1)
        for part in ("error: 0.png", "not UTF-8", "No such file", "it is a folder", "car 1, per"):
            assert part in done.stdout
        assert "give another value" not in done.stdout

    def test_the_most_severe_first(self, project: Path, check: Command) -> None:
        (project / "1.png").unlink()
        Image.new("RGB", (20, 60)).save(project / "0.png")
        findings, printed = check(project, "--class-map", "car=", status=1)
        severities = [each["severity"] for each in findings["problems"]]
        assert severities == sorted(severities, key=("error", "warning", "note").index)
        assert set(severities) == {"error", "warning", "note"}
        assert printed.index("error: ") < printed.index("warning: ") < printed.index("note: ")


class TestDraw:
    def test_sheets(self, project: Path, data: Command) -> None:
        output = project / "pictures"
        options = ("--skeleton", "coco_person", "--output", output, "--limit", 2)
        done = data("draw", project / "via.json", *options, "--per-sheet", 1)
        sheets = sorted(output.iterdir())
        assert [each.name for each in sheets] == ["sheet_001.jpg", "sheet_002.jpg"]
        assert str(output) in done.stdout
        first, empty = (np.array(Image.open(each)).astype(int) for each in sheets)
        assert max(first.shape) >= 512
        # Below the title and within the gap around it.
        assert np.abs(first[80:-20, 20:-20] - [90, 120, 90]).max() > 60
        assert np.abs(empty[80:-20, 20:-20] - [90, 120, 90]).max() < 10

    def test_one_sheet_of_all(self, project: Path, data: Command) -> None:
        big = project / "0.png"
        Image.new("RGB", (3000, 2000), (90, 120, 90)).save(big)
        output = project / "pictures"
        data("draw", project / "via.json", "--output", output)
        (sheet,) = output.iterdir()
        with Image.open(sheet) as picture:
            assert 3 * 640 < picture.width < 3 * 680

    def test_images_are_those_that_training_reads(self, project: Path, data: Command) -> None:
        """A grey of 16 bits is as its upper 8, and a file that breaks off is named."""
        grey = np.arange(48 * 64).reshape(48, 64) % 256
        draw = ("draw", project / "via.json", "--class-attribute", "kind")
        sheets = []
        for name, values in (("8", grey.astype(np.uint8)), ("16", (grey * 257).astype(np.uint16))):
            Image.fromarray(values).save(project / "0.png")
            output = project / name
            data(*draw, "--output", output)
            sheets.append((output / "sheet_001.jpg").read_bytes())
        assert sheets[0] == sheets[1]
        content = (project / "0.png").read_bytes()
        (project / "0.png").write_bytes(content[: len(content) // 2])
        done = data(*draw, "--output", output)
        assert "0.png: cannot read the image" in done.stderr

    def test_cannot_be_labelled(self, project: Path, data: Command) -> None:
        rename_points(project)
        done = data("draw", project / "via.json", "--instance-attribute", "", status=2)
        assert "several attributes could be the class" in done.stderr


@pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the project")
def test_balloons(tmp_path: Path, data: Command) -> None:
    out = tmp_path / "findings.json"
    file = DATA / "balloon" / "val" / "via_region_data.json"
    data("check", file, "--default-class", "balloon", "--json", out)
    (findings,) = json.loads(out.read_text(encoding="utf-8"))["files"]
    assert (findings["images"], findings["instances"]) == (13, 50)
    assert findings["problems"] == []
