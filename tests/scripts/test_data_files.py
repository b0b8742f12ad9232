"""scripts/data.py convert, split, merge, stats and skeleton, as a user runs them."""

import json
from pathlib import Path
from typing import Any

import pytest

from roilab.data.read import read
from roilab.skeleton import COCO_PERSON, load
from roilab.via import label

from .test_data import data, edit, project

__all__ = ["project"]  # the fixture


class TestConvert:
    @pytest.mark.parametrize("kind", ["via", "via-json", "via-csv", "coco"])
    def test_there_and_back(self, project: Path, kind: str) -> None:
        target, again = project / "out" / "target", project / "out" / "again.json"
        done = data("convert", project / "via.json", target, "--to", kind, "--images", project)
        assert done.returncode == 0, done.stdout + done.stderr
        named = ("--class-attribute", "class" if kind == "coco" else "kind")
        done = data("convert", target, again, "--to", "coco", "--images", project, *named)
        assert done.returncode == 0, done.stdout + done.stderr
        rows = json.loads(again.read_text(encoding="utf-8"))["annotations"]
        assert len(rows) == 4
        assert sum(row.get("num_keypoints", 0) for row in rows) == 2

    def test_coco_to_via_needs_no_names(self, project: Path) -> None:
        data("convert", project / "via.json", project / "c.json", "--to", "coco")
        data("convert", project / "c.json", project / "v.json", "--to", "via")
        before, after = (
            [
                [(e.label, e.polygons, e.keypoints) for e in image.instances]
                for image in label(read(project / name), skeleton=COCO_PERSON).images
            ]
            for name in ("via.json", "v.json")
        )
        assert before == after

    def test_what_is_lost_is_said(self, project: Path) -> None:
        done = data("convert", project / "via.json", project / "c.csv", "--to", "via-csv")
        assert "the declarations of 4 attributes are not written" in done.stdout

    def test_an_image_without_a_size_is_an_error(self, project: Path) -> None:
        (project / "0.png").unlink()
        done = data("convert", project / "via.json", project / "c.json", "--to", "coco")
        assert done.returncode == 1
        assert "0.png" in done.stdout

    @pytest.mark.parametrize("target", ["via.json", "0.png"])
    def test_nothing_is_written_over(self, project: Path, target: str) -> None:
        before = (project / target).read_bytes()
        done = data("convert", project / "via.json", project / target, "--to", "via-json")
        assert done.returncode == 2
        assert "would be written over" in done.stderr
        assert (project / target).read_bytes() == before


class TestSplitAndMerge:
    def test_there_and_back(self, project: Path) -> None:
        done = data("split", project / "via.json", "--train", 0.6, "--output", project / "parts")
        assert done.returncode == 0, done.stdout + done.stderr
        parts = [project / "parts" / name for name in ("train.json", "val.json")]
        assert [len(read(part).images) for part in parts] == [2, 1]
        done = data("merge", *parts, "--output", project / "whole.json")
        assert done.returncode == 0, done.stdout + done.stderr
        before, after = read(project / "via.json"), read(project / "whole.json")
        assert sorted(after.images, key=str) == sorted(before.images, key=str)
        assert after.region_attributes == before.region_attributes

    def test_a_second_split_does_not_write_over_the_first(self, project: Path) -> None:
        assert data("split", project / "via.json").returncode == 0
        done = data("split", project / "via.json", "--seed", 1)
        assert done.returncode == 2
        assert "would be written over" in done.stderr

    def test_share_out_of_range(self, project: Path) -> None:
        done = data("split", project / "via.json", "--train", 80)
        assert done.returncode == 2
        assert "--train" in done.stderr
        assert not (project / "train.json").exists()

    def test_images_annotated_twice_otherwise(self, project: Path) -> None:
        other = project / "other.json"
        other.write_bytes((project / "via.json").read_bytes())

        def drop(entries: list[dict[str, Any]]) -> None:
            entries[0]["regions"].pop()

        edit(project, drop)
        done = data("merge", project / "via.json", other, "--output", project / "whole.json")
        assert done.returncode == 1
        assert "annotated differently" in done.stdout


class TestStatsAndSkeleton:
    def test_stats(self, project: Path) -> None:
        out, page = project / "stats.json", project / "page.html"
        done = data("stats", project / "via.json", "--json", out, "--html", page)
        assert done.returncode == 0, done.stderr
        assert "3 images, 1 of them empty, 4 instances" in done.stdout
        found = json.loads(out.read_text(encoding="utf-8"))
        assert found["keypoints"]["nose"] == [1, 0, 2]
        assert "left_eye" in page.read_text(encoding="utf-8")

    def test_a_proposed_skeleton_is_one(self, project: Path) -> None:
        out = project / "mine.json"
        done = data("skeleton", "--from", project / "via.json", "--output", out)
        assert done.returncode == 0, done.stderr
        found = load(out)
        assert (found.name, found.classes) == ("mine", ("person",))
        assert found.keypoints == ("nose", "left_eye")
        done = data("check", project / "via.json", "--skeleton", out)
        assert done.returncode == 0, done.stdout

    def test_sigmas_need_two_people(self, project: Path) -> None:
        done = data("skeleton", "--from", project / "via.json", "--sigmas")
        assert done.returncode == 2
        assert "annotated twice" in done.stderr
        again = project / "again.json"
        again.write_bytes((project / "via.json").read_bytes())

        def move(entries: list[dict[str, Any]]) -> None:
            entries[0]["regions"][2]["shape_attributes"]["cx"] += 3

        edit(project, move)
        done = data("skeleton", "--from", project / "via.json", again, "--sigmas")
        assert done.returncode == 0, done.stderr
        # Two points 3 pixels apart: 2 * 1.5^2 over the area of the triangle, 25 * 35 / 2.
        assert f"sigma of nose: {(4.5 / 437.5) ** 0.5:.4f} from 1 objects" in done.stderr


class TestCommands:
    def test_help_names_all(self) -> None:
        done = data("--help")
        assert done.returncode == 0
        for name in ("check", "stats", "draw", "convert", "split", "merge", "skeleton"):
            assert name in done.stdout
            assert data(name, "--help").returncode == 0

    def test_a_slip_of_the_pen(self) -> None:
        done = data("chek")
        assert done.returncode == 2
        assert "chek" in done.stderr
        assert "Traceback" not in done.stderr
