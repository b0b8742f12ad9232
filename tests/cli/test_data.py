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

from roilab import via
from roilab.curation import contact_sheets
from roilab.draw import draw_instances

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
Command = Callable[..., Any]
KEYS = {"severity", "file", "image", "region", "attribute", "message", "remedy"}


@pytest.fixture
def data(script: Command, project: Path) -> Command:
    """roilab data, in the folder of the project."""
    return partial(script, "data")


@pytest.fixture
def check(data: Command) -> Command:
    def call(*arguments: object, status: int = 0) -> tuple[dict[str, Any], str]:
        """Findings, and all that is printed."""
        out = Path("out/findings.json")
        done = data("check", "via.json", "--json", out, *arguments, status=status)
        (findings,) = json.loads(out.read_text(encoding="utf-8"))["files"]
        return findings, done.stdout + done.stderr

    return call


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, into which it changes, of three images: a person with two keypoints and a car, an
    empty one, one with two persons."""
    monkeypatch.chdir(tmp_path)
    sizes = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        picture = Image.new("RGB", (64, 48), (90, 120, 90))
        picture.putpixel((0, 0), (number, 0, 0))  # none is a copy of another
        picture.save(path)
        sizes.append(path.stat().st_size)
    ring = via.Polygon((5, 30, 30), (5, 5, 40))
    regions = (
        via.Region(0, ring, {"kind": "person", "id": "1"}),
        via.Region(1, via.Rect(40, 10, 24, 20), {"kind": "car", "id": "2"}),
        via.Region(2, via.Point(20, 10), {"part": "nose", "id": "1", "seen": "visible"}),
        via.Region(3, via.Point(25, 15), {"part": "left_eye", "id": "1", "seen": "occluded"}),
    )
    two = (
        via.Region(0, ring, {"kind": "person"}),
        via.Region(1, via.Rect(1, 1, 9, 9), {"kind": "person"}),
    )
    images = [
        via.ImageRecord(str(number), f"{number}.png", size, shapes)
        for number, (size, shapes) in enumerate(zip(sizes, (regions, (), two), strict=True))
    ]
    names = ("kind", "id", "part", "seen")
    declared = {name: via.Attribute(name) for name in names}
    project = via.Annotations("", via.Container.VIA2_PROJECT, tuple(images), declared, {})
    via.write_project(tmp_path / "via.json", project)
    return tmp_path


@contextmanager
def edited() -> Iterator[list[dict[str, Any]]]:
    """The entries of the project's images, which are written again at the end of the block."""
    path = Path("via.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    yield list(content["_via_img_metadata"].values())
    path.write_text(json.dumps(content), encoding="utf-8")


def rename_points() -> None:
    """Points of a skeleton that nobody knows."""
    with edited() as entries:
        for region in entries[0]["regions"][2:]:
            region["region_attributes"]["part"] = "antenna"


class TestCheck:
    def test_counts(self, check: Command) -> None:
        findings, printed = check("--images", ".", "--skeleton", "coco_person")
        assert findings == {
            "file": "via.json",
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

    def test_warnings_alone_are_no_failure(self, check: Command) -> None:
        options = ("--class-attribute", "kind", "--class-map", "car=", "--class-map", "person=man")
        findings, printed = check(*options)
        assert findings["classes"] == {"man": 3}
        assert findings["keypoints"] == 0
        assert [problem["severity"] for problem in findings["problems"]] == ["warning", "note"]
        assert "0 errors, 1 warning, 1 note" in printed

    def test_cocos_skeleton_is_taken_where_it_fits(self, check: Command) -> None:
        named, _ = check("--skeleton", "coco_person")
        findings, printed = check()
        assert findings == named
        assert "skeleton: coco_person" in printed

    def test_class_attribute_has_to_be_named(self, check: Command) -> None:
        rename_points()
        findings, _ = check("--instance-attribute", "", status=1)
        assert (findings["images"], findings["regions"]) == (3, 6)
        assert (findings["instances"], findings["classes"]) == (0, {})
        (problem,) = findings["problems"]
        assert set(problem) == KEYS
        assert problem["severity"] == "error"
        assert "kind" in problem["message"]
        assert problem["remedy"].startswith("give --class-attribute NAME")

    def test_refused_regions_are_counted_and_located(self, check: Command) -> None:
        with edited() as entries:
            entries[1]["regions"] = [
                {"shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 0, "height": 5}}
            ]
        findings, printed = check("--class-attribute", "kind", status=1)
        assert (findings["regions"], findings["empty_images"]) == (7, 0)
        problem = next(row for row in findings["problems"] if row["severity"] == "error")
        assert (problem["image"], problem["region"]) == ("1.png", 0)
        assert problem["file"] == "via.json"
        assert "error: 1.png, region 0" in printed
        assert problem["remedy"] in printed

    def test_images(self, check: Command) -> None:
        Path("0.png").unlink()
        Path("1.png").write_bytes(Path("1.png").read_bytes()[:60])
        Image.new("RGB", (20, 60)).save("2.png")
        findings, _ = check("--class-attribute", "kind", status=1)
        problems = [
            (problem["severity"], problem["image"], problem["region"])
            for problem in findings["problems"]
            if problem["image"] is not None
        ]
        assert problems == [
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
    def test_point_at_the_edge_is_inside(self, x: float, outside: bool, check: Command) -> None:
        with edited() as entries:
            entries[0]["regions"][2]["shape_attributes"]["cx"] = x
        findings, _ = check("--skeleton", "coco_person")
        assert bool(findings["problems"]) is outside

    def test_an_object_outside_is_left_out_as_in_training(self, check: Command) -> None:
        with edited() as entries:
            entries[0]["regions"][1]["shape_attributes"]["x"] = 500
            entries[2]["regions"][1]["shape_attributes"]["x"] = 60
        findings, _ = check("--skeleton", "coco_person", status=1)
        assert [
            (problem["severity"], problem["image"], problem["region"])
            for problem in findings["problems"]
        ] == [("error", "0.png", 1), ("warning", "2.png", 1)]
        assert "left out" in findings["problems"][0]["message"]
        assert (findings["instances"], findings["classes"]) == (3, {"person": 3})

    def test_refused_regions_of_two_entries_of_one_name(self, check: Command) -> None:
        with edited() as entries:
            for entry in entries[:2]:
                entry["filename"] = "0.png"
                entry["regions"] = [{"shape_attributes": {"name": "rect", "x": 1, "y": 1}}]
        findings, _ = check("--class-attribute", "kind", status=1)
        assert findings["regions"] == 4

    def test_few_bits_in_files_of_16(self, check: Command) -> None:
        grey = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) % 4096
        Image.fromarray(grey).save("0.png")
        findings, said = check("--class-attribute", "kind")
        (warning,) = [row for row in findings["problems"] if "16 bits" in row["message"]]
        assert warning["severity"] == "warning"
        assert warning["message"].startswith("1 of 3 images looked at")
        assert "likely hold 12 bits" in said
        assert "datasets/README.md" in warning["remedy"]

    def test_two_entries_of_one_image(self, check: Command) -> None:
        content = json.loads(Path("via.json").read_text(encoding="utf-8"))
        images = content["_via_img_metadata"]
        lost, moved, here = images.values()
        lost |= {"filename": "x/2.png", "size": -1}
        moved |= {"filename": "x/1.png", "size": -1}
        images["more"] = here | {"filename": "./2.png"}
        Path("via.json").write_text(json.dumps(content), encoding="utf-8")
        findings, _ = check("--class-attribute", "kind", status=1)
        problems = {
            (problem["severity"], problem["image"], problem["message"].partition(":")[0])
            for problem in findings["problems"]
            if problem["image"]
        }
        assert problems == {
            ("error", "x/2.png", "no such image"),
            ("warning", "x/1.png", "not in the folder that its name states"),
            (
                "warning",
                "./2.png",
                "its file 2.png is that of the entry '2.png' as well",
            ),
        }

    def test_an_image_in_two_files(self, data: Command) -> None:
        other = Path("other.json")
        other.write_bytes(Path("via.json").read_bytes())
        done = data("check", "via.json", other, "--skeleton", "coco_person")
        assert "is that of the entry '0.png' of via.json as well" in done.stdout

    def test_an_image_that_pillow_stumbles_over(self, check: Command) -> None:
        header = struct.pack("<7I", 124, 0x1007, 8, 8, 0, 0, 0)
        Path("1.png").write_bytes(b"DDS " + header + bytes(96))
        findings, _ = check("--skeleton", "coco_person", status=1)
        assert [problem["image"] for problem in findings["problems"]] == ["1.png"]

    def test_long_lists_are_cut(self, check: Command) -> None:
        with edited() as entries:
            entries[2]["regions"] = [{"region_attributes": {}} for _ in range(30)]
        findings, printed = check("--class-attribute", "kind", status=1)
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
        self, arguments: tuple[str, ...], message: str, data: Command
    ) -> None:
        done = data("check", *arguments, status=2)
        assert done.stderr.startswith("error: ")
        assert message in done.stderr

    def test_a_file_that_cannot_be_read_is_an_error_beside_the_others(self, data: Command) -> None:
        names = ("0.png", "none.json", ".", "via.json")  # and the folder itself
        done = data("check", *names, status=1)
        for part in ("error: 0.png", "not UTF-8", "No such file", "it is a folder", "car 1, per"):
            assert part in done.stdout
        assert "give another value" not in done.stdout

    def test_the_most_severe_first(self, check: Command) -> None:
        Path("1.png").unlink()
        Image.new("RGB", (20, 60)).save("0.png")
        findings, printed = check("--class-map", "car=", status=1)
        severities = [problem["severity"] for problem in findings["problems"]]
        assert severities == sorted(severities, key=("error", "warning", "note").index)
        assert set(severities) == {"error", "warning", "note"}
        assert printed.index("error: ") < printed.index("warning: ") < printed.index("note: ")


class TestDraw:
    def test_sheets(self, data: Command) -> None:
        output = Path("pictures")
        options = ("--skeleton", "coco_person", "--output", output, "--limit", 2)
        done = data("draw", "via.json", *options, "--per-sheet", 1)
        sheets = sorted(output.iterdir())
        assert [sheet.name for sheet in sheets] == ["sheet_001.jpg", "sheet_002.jpg"]
        assert str(output) in done.stdout
        first, empty = (np.array(Image.open(sheet)).astype(int) for sheet in sheets)
        assert max(first.shape) >= 512
        # Below the title and within the gap around it.
        assert np.abs(first[80:-20, 20:-20] - [90, 120, 90]).max() > 60
        assert np.abs(empty[80:-20, 20:-20] - [90, 120, 90]).max() < 10

    def test_an_occluded_keypoint_is_a_ring(self, data: Command, monkeypatch) -> None:
        occluded: list[Any] = []

        def draw(pixels: np.ndarray, **parts: Any) -> np.ndarray:
            occluded.append(np.argwhere(parts["occluded"]).tolist())
            return draw_instances(pixels, **parts)

        monkeypatch.setattr(contact_sheets, "draw_instances", draw)
        data("draw", "via.json", "--skeleton", "coco_person", "--output", "pictures")
        assert occluded == [[[0, 1]], [], []], "the left eye of the first person"

    def test_one_sheet_of_all(self, data: Command) -> None:
        big = Path("0.png")
        Image.new("RGB", (3000, 2000), (90, 120, 90)).save(big)
        output = Path("pictures")
        data("draw", "via.json", "--output", output)
        (sheet,) = output.iterdir()
        with Image.open(sheet) as picture:
            assert 3 * 640 < picture.width < 3 * 680

    def test_images_are_those_that_training_reads(self, data: Command) -> None:
        """A grey of 16 bits is as its upper 8, and a file that breaks off is named."""
        grey = np.arange(48 * 64).reshape(48, 64) % 256
        draw = ("draw", "via.json", "--class-attribute", "kind")
        sheets = []
        for name, values in (("8", grey.astype(np.uint8)), ("16", (grey * 257).astype(np.uint16))):
            Image.fromarray(values).save("0.png")
            output = Path(name)
            data(*draw, "--output", output)
            sheets.append((output / "sheet_001.jpg").read_bytes())
        assert sheets[0] == sheets[1]
        content = Path("0.png").read_bytes()
        Path("0.png").write_bytes(content[: len(content) // 2])
        done = data(*draw, "--output", output)
        assert "0.png: cannot read the image" in done.stderr

    def test_cannot_be_labelled(self, data: Command) -> None:
        rename_points()
        done = data("draw", "via.json", "--instance-attribute", "", status=2)
        assert "several attributes could be the class" in done.stderr


@pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the project")
def test_balloons(tmp_path: Path, data: Command) -> None:
    out = tmp_path / "findings.json"
    file = DATA / "balloon" / "val" / "via_region_data.json"
    data("check", file, "--default-class", "balloon", "--json", out)
    (findings,) = json.loads(out.read_text(encoding="utf-8"))["files"]
    assert (findings["images"], findings["instances"]) == (13, 50)
    assert findings["problems"] == []
