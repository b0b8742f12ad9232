"""Mask AP by Cityscapes' rules: the official program's figures, and its relations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from roilab.data.coco import encode_mask
from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.evaluation.analysis import analyze
from roilab.evaluation.ap import GroundTruth, average_precision, exceeded_limits
from roilab.evaluation.bootstrap import match_detections, metrics_of_draws

from .cityscapes_tree import CASES, CLASSES, Case, detections_of, write_tree

# Written by cityscapes_reference.py, which says how it is run.
REFERENCE = json.loads(Path(__file__).with_name("cityscapes_reference.json").read_text())["cases"]
Rows = list[dict[str, Any]]


def in_percent(value: float | None) -> float | None:
    return None if value is None else pytest.approx(100 * value, abs=1e-6)


def loaded(root: Path, case: Case, **options: Any) -> tuple[DetectionDataset, Rows]:
    """The tree of a case as a data set, and its detections as COCO result rows."""
    write_tree(root, case)
    dataset = load_dataset(str(root / "gtFine" / "val"), **options)
    ids = {Path(record["file_name"]).name: record["image_id"] for record in dataset.records}
    rows = []
    for path, detections in detections_of(root, case):
        image_id = ids[path.name.replace("gtFine_instanceIds", "leftImg8bit")]
        for label, score, mask in detections:
            category = dataset.classes.index(label) + 1
            row = {"image_id": image_id, "category_id": category, "score": score}
            rows.append({**row, "bbox": [0, 0, 1, 1], "segmentation": encode_mask(mask)})
    return dataset, rows


def mask_ap(dataset: DetectionDataset, rows: Rows) -> dict[str, float | None]:
    return average_precision(GroundTruth(dataset.coco_json()), rows, ["segm"])["segm"]


@pytest.mark.parametrize("name", CASES)
def test_every_figure_is_the_official_programs(name: str, tmp_path: Path) -> None:
    dataset, rows = loaded(tmp_path, CASES[name])
    expected = REFERENCE[name]
    by_class = expected["by_class_and_overlap"]
    assert tuple(by_class) == dataset.classes == tuple(CLASSES)
    without = {label for label, values in by_class.items() if values[0] is None}
    assert without == set(CASES[name].without)
    ap = mask_ap(dataset, rows)
    assert ap["AP"] == in_percent(expected["AP"])
    assert ap["AP50"] == in_percent(expected["AP50"])
    matches = match_detections(GroundTruth(dataset.coco_json()), rows, "segm")
    for label, values in by_class.items():
        ours = matches[label].ap(np.ones((1, len(dataset)), int))[0]
        official = np.array(values, float)
        assert np.allclose(ours, official, rtol=0, atol=1e-8, equal_nan=True)
        assert ap[f"AP50-{label}"] == in_percent(values[0])
        if values[0] is not None:
            assert ap[f"AP-{label}"] == in_percent(float(official.mean()))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectionDataset, Rows]:
    return loaded(tmp_path_factory.mktemp("tree"), CASES["both"])


@pytest.fixture(scope="module")
def perfect(evaluated: tuple[DetectionDataset, Rows]) -> Rows:
    """Every object as a detection, also groups and tiny ones."""
    dataset, _ = evaluated
    annotations = dataset.coco_json()["annotations"]
    return [{**anno, "score": 0.5 + 0.4 * (anno["id"] % 2)} for anno in annotations]


def test_exact_detections_are_perfect(
    evaluated: tuple[DetectionDataset, Rows], perfect: Rows
) -> None:
    dataset, _ = evaluated
    ap = mask_ap(dataset, perfect)
    assert ap.pop("AP-rider") is ap.pop("AP50-rider") is None  # without an object that counts
    assert list(ap.values()) == pytest.approx([100] * len(ap))
    assert {"AP", "AP50", "AP75", "AP-car", "AP50-car"} <= ap.keys()
    assert not {"APs", "APm", "APl"} & ap.keys()
    nothing = mask_ap(dataset, [])
    assert nothing.pop("AP-rider") is nothing.pop("AP50-rider") is None
    assert set(nothing.values()) == {0}


def test_detections_in_void_and_in_groups_are_not_judged(
    evaluated: tuple[DetectionDataset, Rows], perfect: Rows
) -> None:
    dataset, _ = evaluated
    coco = dataset.coco_json()
    [group, *_] = [anno for anno in coco["annotations"] if anno["iscrowd"] and anno["area"] > 300]
    mask = mask_utils.decode(group["segmentation"]).astype(bool)
    columns = np.flatnonzero(mask.any(axis=0))
    part = mask & (np.arange(mask.shape[1]) < columns[len(columns) // 2])
    image = next(image for image in coco["images"] if image["id"] == group["image_id"])

    def ap_with(rle: Any, category: int) -> float | None:
        row = {"image_id": image["id"], "category_id": category, "score": 1.0}
        more = {**row, "bbox": [0, 0, 1, 1], "segmentation": rle}
        return mask_ap(dataset, [*perfect, more])["AP"]

    others = [number for number in range(1, 9) if number != group["category_id"]]
    car = dataset.classes.index("car") + 1
    assert ap_with(image["void"], car) == pytest.approx(100)
    assert ap_with(encode_mask(part), group["category_id"]) == pytest.approx(100)
    # A group of one class is background for another.
    assert any((ap_with(encode_mask(part), other) or 0) < 99 for other in others)


def test_the_order_of_detections_does_not_matter(
    evaluated: tuple[DetectionDataset, Rows],
) -> None:
    dataset, rows = evaluated
    assert mask_ap(dataset, rows) == pytest.approx(mask_ap(dataset, rows[::-1]))


def test_masks_are_ranked_by_their_own_score(evaluated: tuple[DetectionDataset, Rows]) -> None:
    dataset, rows = evaluated
    rated = [{**row, "mask_score": row["score"], "score": 0.5} for row in rows]
    assert mask_ap(dataset, rated) == mask_ap(dataset, rows)
    assert mask_ap(dataset, rated) != mask_ap(dataset, [{**row, "score": 0.5} for row in rows])


@pytest.mark.parametrize("weights", [[1, 1, 0, 1], [0, 0, 0, 2], [0, 3, 3, 0]])
def test_an_image_counts_as_often_as_it_is_drawn(
    weights: list[int], evaluated: tuple[DetectionDataset, Rows]
) -> None:
    """AP on a draw is that of a data set with copies of its images."""
    dataset, rows = evaluated
    coco = dataset.coco_json()
    drawn: dict[str, Any] = {**coco, "images": [], "annotations": []}
    copied: Rows = []
    for image, count in zip(sorted(coco["images"], key=lambda i: i["id"]), weights, strict=True):
        for _ in range(count):
            number = len(drawn["images"]) + 1
            drawn["images"].append({**image, "id": number})
            for source, target in ((coco["annotations"], drawn["annotations"]), (rows, copied)):
                own = [row for row in source if row["image_id"] == image["id"]]
                target += [{**row, "image_id": number} for row in own]
    ours = match_detections(GroundTruth(coco), rows, "segm")
    copies = match_detections(GroundTruth(drawn), copied, "segm")
    for name in dataset.classes:
        ap = ours[name].ap(np.array([weights, [1] * len(weights)]))[0]
        expected = copies[name].ap(np.ones((1, sum(weights)), int))[0]
        assert np.allclose(ap, expected, rtol=0, atol=1e-12, equal_nan=True)
    means = metrics_of_draws({"all": ours}, np.array([weights]))
    assert means["AP"][0] == pytest.approx(
        average_precision(GroundTruth(drawn), copied, ["segm"])["segm"]["AP"]
    )


def test_objects_have_no_areas(evaluated: tuple[DetectionDataset, Rows]) -> None:
    dataset, rows = evaluated
    truth = GroundTruth(dataset.coco_json())
    small = {"small": match_detections(truth, rows, "segm", "small")}
    assert np.isnan(metrics_of_draws(small, np.ones((1, len(dataset)), int))["APs"]).all()


def test_the_analysis_is_by_the_same_rules(evaluated: tuple[DetectionDataset, Rows]) -> None:
    dataset, rows = evaluated
    coco = dataset.coco_json()
    analysis = analyze(GroundTruth(coco), rows, ["bbox", "segm"], 0.5)
    assert analysis.ap_by_iou["segm"][0] == pytest.approx(mask_ap(dataset, rows)["AP50"])
    for place, image in enumerate(sorted(coco["images"], key=lambda image: image["id"])):
        own = [row for row in rows if row["image_id"] == image["id"]]
        truth = GroundTruth({**coco, "images": [image]})
        expected = average_precision(truth, own, ["segm"])["segm"]["AP50"]
        assert analysis.image_ap50["segm"][place] == pytest.approx(expected)


def test_no_limit_of_detections_concerns_the_masks(
    evaluated: tuple[DetectionDataset, Rows],
) -> None:
    dataset, rows = evaluated
    truth = GroundTruth(dataset.coco_json(), None, 1)
    [sentence] = exceeded_limits(truth, ["bbox", "segm"], {})
    assert sentence.endswith("by box AP")
    ap = average_precision(truth, rows, ["segm"])["segm"]
    assert ap == mask_ap(dataset, rows)
