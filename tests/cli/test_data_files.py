"""roilab data convert, split, merge, stats and skeleton, as a user runs them."""

import json
from pathlib import Path

import pytest

from roilab.data.mask_to_polygons import read_annotations
from roilab.skeleton import COCO_PERSON, load_skeleton
from roilab.via import Attribute, build_instances

from .test_data import Command, data, edited, project

__all__ = ["data", "project"]  # fixtures

CLASS = Attribute("kind", "dropdown", "", {"car": "car", "person": "person"})


class TestConvert:
    @pytest.mark.parametrize("kind", ["via", "via-json", "via-csv", "coco"])
    def test_there_and_back(self, kind: str, data: Command) -> None:
        target, again = Path("out/target"), Path("out/again.json")
        data("convert", "via.json", target, "--to", kind, "--images", ".")
        named = ("--class-attribute", "class" if kind == "coco" else "kind")
        data("convert", target, again, "--to", "coco", "--images", ".", *named)
        rows = json.loads(again.read_text(encoding="utf-8"))["annotations"]
        assert len(rows) == 4
        assert sum(row.get("num_keypoints", 0) for row in rows) == 2

    def test_coco_to_via_needs_no_names(self, data: Command) -> None:
        data("convert", "via.json", "c.json", "--to", "coco")
        data("convert", "c.json", "v.json", "--to", "via")
        before, after = (
            [
                [(e.label, e.polygons, e.keypoints) for e in image.instances]
                for image in build_instances(read_annotations(name), skeleton=COCO_PERSON).images
            ]
            for name in ("via.json", "v.json")
        )
        assert before == after

    def test_what_is_lost_is_said(self, data: Command) -> None:
        done = data("convert", "via.json", "c.csv", "--to", "via-csv")
        assert "declarations of attributes are not written" in done.stdout

    def test_the_images_written_are_counted_and_why_others_are_not(self, data: Command) -> None:
        Path("0.png").unlink()
        Path("1.png").write_bytes(b"no image")
        done = data("convert", "via.json", "c.json", "--to", "coco", status=1)
        assert "c.json: 1 image, 2 errors" in done.stdout
        assert "0.png" in done.stdout
        remedies = [line for line in done.stdout.splitlines() if "remedy" in line]
        assert "put it there, or give the folder that holds it" in remedies[0]
        assert "repair the image file" in remedies[1]

    def test_images_that_a_csv_cannot_hold_are_not_counted(self, data: Command) -> None:
        with edited() as entries:
            entries[0]["filename"] = "a\nb.png"
        done = data("convert", "via.json", "c.csv", "--to", "via-csv", status=1)
        assert "c.csv: 2 images, 1 error," in done.stdout

    @pytest.mark.parametrize(
        ("kind", "option"),
        [
            ("via", ("--class-map", "person=man")),
            ("via", ("--skeleton", "coco_person")),
            ("via-json", ("--class-attribute", "kind")),
            ("via-json", ("--default-class", "")),
            ("via-csv", ("--unlabelled", "skip")),
        ],
    )
    def test_options_without_effect(
        self, kind: str, option: tuple[str, str], data: Command
    ) -> None:
        target = Path("target")
        done = data("convert", "via.json", target, "--to", kind, *option, status=2)
        assert f"{option[0]}\n" in done.stderr
        assert "leave it out" in done.stderr
        assert not target.exists()

    def test_a_class_that_is_text_becomes_a_dropdown(self, data: Command) -> None:
        data("convert", "via.json", "v.json", "--to", "via-json")
        data("convert", "v.json", "w.json", "--to", "via")
        assert read_annotations("w.json").region_attributes["kind"] == CLASS
        data("merge", "v.json", "--output", "m.json")
        assert read_annotations("m.json").region_attributes["kind"] == CLASS

    def test_sizes_of_files_are_filled_in(self, data: Command) -> None:
        data("convert", "via.json", "c.json", "--to", "coco")
        Path("2.png").unlink()
        target = Path("v.json")
        done = data("convert", "c.json", target, "--to", "via", "--images", ".")
        assert [image.size for image in read_annotations(target).images] == [
            Path("0.png").stat().st_size,
            Path("1.png").stat().st_size,
            None,
        ]
        assert "the sizes of 1 image stay unknown" in done.stdout

    @pytest.mark.parametrize("target", ["via.json", "0.png"])
    def test_nothing_is_written_over(self, target: str, data: Command) -> None:
        before = Path(target).read_bytes()
        done = data("convert", "via.json", target, "--to", "via-json", status=2)
        assert "would be written over" in done.stderr
        assert Path(target).read_bytes() == before


class TestSplitAndMerge:
    def test_a_folder_is_no_file(self, data: Command) -> None:
        Path("train.json").mkdir()
        done = data("convert", "via.json", "train.json", "--to", "via", status=2)
        assert "is a folder, give the name of a file" in done.stderr
        done = data("split", "via.json", status=2)
        assert "the file to write is a folder" in done.stderr

    def test_there_and_back(self, data: Command) -> None:
        done = data("split", "via.json", "--train", 0.6, "--output", "parts")
        split = done.stdout
        parts = [f"parts/{name}" for name in ("train.json", "val.json")]
        assert [len(read_annotations(part).images) for part in parts] == [2, 1]
        data("merge", *parts, "--output", "whole.json")
        before, after = (
            read_annotations("via.json"),
            read_annotations("whole.json"),
        )
        assert sorted(after.images, key=str) == sorted(before.images, key=str)
        assert after.region_attributes == {**before.region_attributes, "kind": CLASS}
        assert "the class 'car' is in train only, in 1 image" in split

    def test_a_second_split_does_not_write_over_the_first(self, data: Command) -> None:
        data("split", "via.json")
        done = data("split", "via.json", "--seed", 1, status=2)
        assert "would be written over" in done.stderr

    def test_share_out_of_range(self, data: Command) -> None:
        done = data("split", "via.json", "--train", 80, status=2)
        assert "--train" in done.stderr
        assert not Path("train.json").exists()

    def test_folds_hold_out_each_image_once(self, data: Command) -> None:
        done = data("split", "via.json", "--folds", 3, "--output", "folds")
        whole = {image.key for image in read_annotations("via.json").images}
        held_out = []
        for number in range(3):
            folder = Path(f"folds/fold_{number}")
            parts = [read_annotations(folder / name) for name in ("train.json", "val.json")]
            train, val = ({image.key for image in part.images} for part in parts)
            assert train | val == whole
            assert not train & val
            held_out += sorted(val)
            assert str(folder / "val.json") in done.stdout
        assert sorted(held_out) == sorted(whole)
        assert "the class 'car' is in 1 of 3 folds only, in 1 image" in done.stdout
        again = data("split", "via.json", "--folds", 3, "--output", "again")
        assert again.stdout == done.stdout.replace("folds/fold", "again/fold")
        for path in Path("folds").rglob("*.json"):
            assert ("again" / path.relative_to("folds")).read_bytes() == path.read_bytes()
        assert (
            "would be written over"
            in data("split", "via.json", "--folds", 2, "--output", "folds", status=2).stderr
        )

    def test_folds_that_cannot_be(self, data: Command) -> None:
        for options, problem in [
            (("--folds", 4), "4 folds of 3 different pictures"),
            (("--folds", 1), "--folds"),
            (("--folds", 3, "--train", 0.8), "not allowed with"),
        ]:
            done = data("split", "via.json", *options, "--output", "folds", status=2)
            assert problem in done.stderr
            assert not Path("folds").exists()

    def test_images_annotated_twice_otherwise(self, data: Command) -> None:
        other = Path("other.json")
        other.write_bytes(Path("via.json").read_bytes())

        with edited() as entries:
            entries[0]["regions"].pop()
        done = data("merge", "via.json", other, "--output", "whole.json", status=1)
        assert "annotated differently" in done.stdout

    def test_predictions_join_what_was_trained_with(self, data: Command) -> None:
        data("split", "via.json", "--output", "parts")
        new = Path("new.json")
        entries = {"p.png1": {"filename": "p.png", "size": 1, "file_attributes": {}}}
        values = {"class": "person", "instance": "1", "score": "0.9"}
        box = {"name": "rect", "x": 1, "y": 1, "width": 9, "height": 9}
        nose = {"name": "point", "cx": 3, "cy": 3}
        entries["p.png1"]["regions"] = [
            {"shape_attributes": box, "region_attributes": values},
            {"shape_attributes": nose, "region_attributes": {**values, "keypoint": "nose"}},
        ]
        declared = {
            role: {"type": "text", "description": f"[roilab:{role}]"}
            for role in ("class", "instance", "score", "keypoint", "visibility")
        }
        attributes = {"region": declared, "file": {}}
        content = {"_via_img_metadata": entries, "_via_attributes": attributes}
        new.write_text(json.dumps({"_via_settings": {}, **content}), encoding="utf-8")
        parts = [f"parts/{name}" for name in ("train.json", "val.json")]
        data("merge", *parts, new, "--output", "more.json")
        labelled = build_instances(read_annotations("more.json"), skeleton=COCO_PERSON)
        assert labelled.problems == ()
        assert sum(len(image.instances) for image in labelled.images) == 4 + 1
        poses = [e.keypoints for image in labelled.images for e in image.instances if e.keypoints]
        assert sum(point[2] > 0 for pose in poses for point in pose) == 2 + 1


class TestDraw:
    def test_sheets_of_an_earlier_drawing_are_removed(self, data: Command) -> None:
        output = Path("pictures")
        data("draw", "via.json", "--output", output, "--per-sheet", 1)
        assert len(list(output.iterdir())) == 3
        (output / "sheet_mine.jpg").write_bytes(b"")
        done = data("draw", "via.json", "--output", output)
        assert "1 sheet:" in done.stdout
        assert "2 earlier ones removed" in done.stdout
        names = {path.name for path in output.iterdir()}
        assert names == {"sheet_001.jpg", "sheet_mine.jpg"}


class TestStatsAndSkeleton:
    @pytest.mark.parametrize("name", ["", "/"])
    @pytest.mark.parametrize("option", ["--json", "--html"])
    def test_no_name_of_a_file(self, option: str, name: str, data: Command) -> None:
        done = data("stats", "via.json", option, name, status=2)
        assert "give the name of a file" in done.stderr

    def test_an_attribute_that_does_not_occur(self, data: Command) -> None:
        done = data("skeleton", "--from", "via.json", "--keypoint-attribute", "nope", status=2)
        assert "no point has the attribute 'nope'" in done.stderr

    def test_stats(self, data: Command) -> None:
        out, page = Path("stats.json"), Path("page.html")
        done = data("stats", "via.json", "--json", out, "--html", page)
        assert "3 images, 1 of them empty, 4 instances" in done.stdout
        stats = json.loads(out.read_text(encoding="utf-8"))
        assert stats["keypoints"]["nose"] == [1, 0, 2]
        assert {name: row["repeat_factor"] for name, row in stats["classes"].items()} == {
            "car": 1,
            "person": 1,
        }
        assert "with dataloader.train.repeat_threshold=0.1;" in done.stdout
        assert "left_eye" in page.read_text(encoding="utf-8")

    def test_repeat_factors(self, data: Command) -> None:
        """A car is in one of the two images that have an object."""
        out = Path("stats.json")
        done = data("stats", "via.json", "--json", out, "--repeat-threshold", 0.9)
        cars = next(line for line in done.stdout.splitlines() if line.startswith("| car"))
        assert cars.split("|")[-2].strip() == "1.34"
        stats = json.loads(out.read_text(encoding="utf-8"))
        assert stats["classes"]["car"]["repeat_factor"] == 1.8**0.5
        for wrong in ("-0.1", "1.5", "nan", "often"):
            assert "no share" in data("stats", "via.json", "--repeat-threshold", wrong, status=2)[2]

    def test_a_proposed_skeleton_is_one(self, data: Command) -> None:
        out = Path("mine.json")
        data("skeleton", "--from", "via.json", "--output", out)
        skeleton = load_skeleton(out)
        assert (skeleton.name, skeleton.classes) == ("mine", ("person",))
        assert skeleton.keypoints == ("nose", "left_eye")
        data("check", "via.json", "--skeleton", out)

    def test_sigmas_need_two_people(self, data: Command) -> None:
        again = Path("again.json")
        again.write_bytes(Path("via.json").read_bytes())

        with edited() as entries:
            entries[0]["regions"][2]["shape_attributes"]["cx"] += 3
        done = data("skeleton", "--from", "via.json", again, "--sigmas")
        # Two points 3 pixels apart: 2 * 1.5^2 over the area of the triangle, 25 * 35 / 2.
        assert f"sigma of nose: {(4.5 / 437.5) ** 0.5:.4f} from 1 object" in done.stderr


class TestCommands:
    def test_help_names_all(self, data: Command) -> None:
        done = data("--help")
        for name in (
            "check",
            "stats",
            "draw",
            "convert",
            "split",
            "merge",
            "skeleton",
            "augmented",
        ):
            assert name in done.stdout
            data(name, "--help")

    def test_a_slip_of_the_pen(self, data: Command) -> None:
        done = data("chek", status=2)
        assert "chek" in done.stderr
