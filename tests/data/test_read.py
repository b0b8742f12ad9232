"""Every real file that is beside the project is read as its README says, or refused."""

from pathlib import Path

import pytest

from roilab.data.annotated_images import read_annotations
from roilab.errors import UserError

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
        found = {str(path.relative_to(DATA)) for path in DATA.rglob("*.json")}
        found |= {str(path.relative_to(DATA)) for path in DATA.rglob("*.csv")}
        assert found == REAL.keys() | REFUSED.keys()

    @pytest.mark.parametrize("name", REAL)
    def test_counts(self, name: str) -> None:
        found = read_annotations(DATA / name)
        regions = sum(len(image.regions) for image in found.images)
        assert (found.container, len(found.images), regions) == REAL[name]
        errors = sum(problem.severity == "error" for problem in found.problems)
        assert errors == (12 if name == "oddities/bad-attr-csv/dent_val.csv" else 0)

    def test_what_is_left_out_has_a_place(self) -> None:
        problems = read_annotations(DATA / "oddities/bad-attr-csv/dent_val.csv").problems
        errors = [each for each in problems if each.severity == "error"]
        assert len(errors) == 12
        assert all(each.image and each.region is not None for each in errors)

    @pytest.mark.parametrize("name", REFUSED)
    def test_refused_with_a_reason(self, name: str) -> None:
        with pytest.raises(UserError, match=REFUSED[name]) as error:
            read_annotations(DATA / name)
        assert Path(name).name in str(error.value)
