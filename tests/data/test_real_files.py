"""Real files are read as their README says; images that use a small part of their range."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import narrow_range
from roilab.errors import UserError
from roilab.image_files import read_rgb

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

# File -> the kind it is, images, regions: what the README of the data says of it.
REAL = {
    "balloon/train/via_region_data.json": ("VIA 1 JSON", 61, 255),
    "balloon/val/via_region_data.json": ("VIA 1 JSON", 13, 50),
    "vehicles-truck-car-bus/train/via_region_data.json": ("VIA 2 JSON", 23, 23),
    "vehicles-truck-car-bus/val/via_region_data.json": ("VIA 2 JSON", 8, 8),
    "kudzu-insects/train/via_region_data.json": ("VIA 2 JSON", 24, 520),
    "kudzu-insects/val/via_region_data.json": ("VIA 2 JSON", 16, 349),
    "dog-cat/val/via_region_data.json": ("VIA 1 JSON", 30, 97),
    "heads-polyline/train/via_region_data.json": ("VIA 2 JSON", 31, 31),
    "heads-polyline/val/via_region_data.json": ("VIA 2 JSON", 5, 5),
    "defect-text/train/via_region_data.json": ("VIA 2 JSON", 9, 82),
    "defect-text/val/via_region_data.json": ("VIA 2 JSON", 2, 20),
    "multiformat-2label/via/via_region_data.json": ("VIA 2 JSON", 4, 42),
    "multiformat-2label/via/via_region_data.csv": ("VIA 2 CSV", 4, 25),
    # 23 annotations, of which two are crowds.
    "multiformat-2label/coco1.0/annotations/instances_default.json": ("COCO", 4, 21),
    "via-upstream/via1-tests/unit_test_annotation1.csv": ("VIA 1 CSV", 3, 12),
    "via-upstream/via1-tests/unit_test_annotation2.json": ("VIA 1 JSON", 3, 12),
    "via-upstream/via2-data/face_track_annotation/sherlock_ep01_tracks_FRCNN.csv": (
        "VIA 2 CSV", 266, 427,
    ),
    "via-upstream/via2-data/face_track_annotation/sherlock_ep01_tracks_FRCNN.json": (
        "VIA 2 JSON", 266, 427,
    ),
    # Every region is left out, with its line: its attributes are no JSON.
    "oddities/bad-attr-csv/dent_val.csv": ("VIA 2 CSV", 8, 0),
    "oddities/bad-attr-csv/dent_val.json": ("VIA 2 JSON", 8, 12),
    "oddities/unicode-postcards/via_project.json": ("VIA 2 project", 309, 937),
    # 17 outlines of 14 persons, and their labelled keypoints.
    "coco-keypoints/test_coco.json": ("COCO", 4, 198),
}  # fmt: skip
REFUSED = {
    "via-upstream/via2-data/face_track_annotation/sherlock_attributes.json": "attributes file",
    "coco-keypoints/test_coco_det_AP_H_56.json": "COCO results",
}


@pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the project")
class TestRealFiles:
    def test_none_is_forgotten(self) -> None:
        names = {str(path.relative_to(DATA)) for path in DATA.rglob("*.json")}
        names |= {str(path.relative_to(DATA)) for path in DATA.rglob("*.csv")}
        assert names == REAL.keys() | REFUSED.keys()

    @pytest.mark.parametrize("name", REAL)
    def test_counts(self, name: str) -> None:
        annotations = read_annotations(DATA / name)
        regions = sum(len(image.regions) for image in annotations.images)
        assert (annotations.container, len(annotations.images), regions) == REAL[name]
        errors = sum(problem.severity == "error" for problem in annotations.problems)
        assert errors == (12 if name == "oddities/bad-attr-csv/dent_val.csv" else 0)

    def test_what_is_left_out_has_a_place(self) -> None:
        problems = read_annotations(DATA / "oddities/bad-attr-csv/dent_val.csv").problems
        errors = [problem for problem in problems if problem.severity == "error"]
        assert len(errors) == 12
        assert all(error.image and error.region is not None for error in errors)

    @pytest.mark.parametrize("name", REFUSED)
    def test_refused_with_a_reason(self, name: str) -> None:
        with pytest.raises(UserError, match=REFUSED[name]) as error:
            read_annotations(DATA / name)
        assert Path(name).name in str(error.value)


README = Path(__file__).parents[2] / "datasets" / "README.md"
Values = np.ndarray


def noise(low: int, high: int, dtype: type, number: int = 0, channels: int = 1) -> Values:
    """48 x 64 values of all sizes from low to high."""
    random = np.random.default_rng(number)
    values = random.integers(low, high, (48, 64, channels), endpoint=True).astype(dtype)
    values[0, 0], values[0, 1] = low, high
    return values.squeeze(axis=2) if channels == 1 else values


def files(folder: Path, suffix: str, *images: Values) -> list[Path]:
    import cv2

    paths = [folder / f"{number}.{suffix}" for number in range(len(images))]
    for path, values in zip(paths, images, strict=True):
        assert cv2.imwrite(str(path), values)
    return paths


@pytest.fixture
def spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The program of the document."""
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "spread.py").write_text(program)

    def call(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["spread.py", *map(str, arguments)])
        runpy.run_path(str(tmp_path / "spread.py"))

    return call


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_few_bits_in_files_of_16(
    bits: int, channels: int, suffix: str, tmp_path: Path, spread: Callable[..., None]
) -> None:
    top = 2**bits - 1
    images = [noise(0, top, np.uint16, number, channels) for number in range(3)]
    paths = files(tmp_path, suffix, *images)
    problem = narrow_range(paths, "via.json")
    assert problem is not None
    assert (problem.severity, problem.file) == ("warning", "via.json")
    message, remedy = problem.message, problem.remedy
    assert "3 of 3 images looked at use a small part of the range of 16 bits" in message
    assert f"{bits} bits in files of 16" in message
    assert f"from 0 to {top >> 8} of 255" in message
    asked = re.search(r"spread (\d+) to (\d+) over", remedy)
    assert asked is not None
    spread(*asked.groups(), *paths)
    assert narrow_range(paths, "via.json") is None
    for path, values in zip(paths, images, strict=True):
        expected = values * 255.0 / top
        expected = expected[..., ::-1] if channels == 3 else expected[..., None]
        assert np.abs(read_rgb(path) - expected).max() <= 1


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.uint16, 30000, 33000), (np.uint8, 90, 99)])
def test_a_narrow_band(
    dtype: type, low: int, high: int, tmp_path: Path, spread: Callable[..., None]
) -> None:
    paths = files(tmp_path, "png", noise(low, high, dtype))
    problem = narrow_range(paths, "via.json")
    assert problem is not None
    assert "one brightness" in problem.message
    asked = re.search(r"spread (\d+) to (\d+) over", problem.remedy)
    assert asked is not None
    spread(*asked.groups(), *paths)
    assert narrow_range(paths, "via.json") is None


def test_what_uses_its_range_is_left_alone(tmp_path: Path) -> None:
    whole = [noise(0, 65535, np.uint16), noise(20000, 40000, np.uint16), noise(20, 60, np.uint8)]
    paths = files(tmp_path, "png", *whole, np.full((9, 9, 3), (9, 20, 9), np.uint8))
    assert narrow_range(paths, "via.json") is None
    assert narrow_range([], "via.json") is None


def test_some_of_many_are_looked_at_and_broken_ones_passed_over(tmp_path: Path) -> None:
    paths = files(tmp_path, "png", noise(0, 4095, np.uint16), noise(0, 65535, np.uint16))
    (tmp_path / "broken.png").write_bytes(b"no image")
    problem = narrow_range([*paths, tmp_path / "broken.png"], "via.json")
    assert problem is not None
    assert problem.message.startswith("1 of 3 images looked at")
    problem = narrow_range([paths[0]] * 100, "via.json")
    assert problem is not None
    assert problem.message.startswith("25 of 25 images of 100 looked at")


def test_values_that_pillow_does_not_write_are_those_of_opencv(tmp_path: Path) -> None:
    """Greys and colours of 16 bits come from the same rule: the upper 8."""
    grey, colour = noise(0, 65535, np.uint16), noise(0, 65535, np.uint16, 1, 3)
    for suffix in ("png", "tif"):
        one, other = files(tmp_path, suffix, grey, colour)
        assert (read_rgb(one) == (grey >> 8)[..., None]).all()
        assert (read_rgb(other) == colour[..., ::-1] >> 8).all()
