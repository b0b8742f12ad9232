"""Annotations beside detections, in a picture."""

import json
from pathlib import Path

import numpy as np
from detectron2.structures import BoxMode

from roilab.data.dataset import load_dataset
from roilab.inference.side_by_side import draw_comparison
from roilab.synthetic import FiguresPaths


def test_annotations_look_the_same_whatever_the_mode_of_their_boxes(
    figures: FiguresPaths, tmp_path: Path
) -> None:
    """COCO's are x, y, width and height."""
    folder = str(figures.train.parent)
    ours = load_dataset(str(figures.train), folder, skeleton="coco_person")
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(ours.coco_json()))
    theirs = load_dataset(str(file), folder, skeleton="coco_person")
    (one,) = [each for each in ours.records if each["file_name"].endswith("000001.jpg")]
    (other,) = [each for each in theirs.records if each["file_name"] == one["file_name"]]
    modes = {anno["bbox_mode"] for anno in other["annotations"]}
    assert modes == {BoxMode.XYWH_ABS}
    np.testing.assert_array_equal(
        draw_comparison(one, ours, {}), draw_comparison(other, theirs, {})
    )
