"""Pictures of predictions: each part can be left out, and colours are those of tracks."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.structures import BoxMode
from numpy.testing import assert_array_equal
from PIL import Image

from roilab.data.dataset import load_dataset
from roilab.draw import PALETTE, Picture, draw_instances
from roilab.inference.predictor import Prediction
from roilab.inference.rendering import draw_comparison, draw_prediction, jpeg, legible_scale
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import FiguresPaths

IMAGE = np.full((400, 500, 3), 128, np.uint8)
PARTS = ("boxes", "masks", "keypoints", "links", "labels")


@pytest.fixture
def prediction() -> Prediction:
    """A person, and a car that has no keypoints."""
    rng = np.random.default_rng(0)
    boxes = np.array([[20, 30, 200, 380], [250, 200, 480, 360]], np.float32)
    masks = np.zeros((2, 400, 500), bool)
    masks[0, 60:300, 60:150] = masks[1, 220:340, 260:460] = True
    person = np.c_[rng.uniform([20, 30], [200, 380], (17, 2)), rng.uniform(0.1, 1, 17)]
    scores = np.array([0.9, 0.8], np.float32)
    keypoints = np.stack([person, np.full((17, 3), np.nan)])
    return Prediction(500, 400, boxes, scores, ("person", "car"), masks, keypoints)


def picture(prediction: Prediction, **switches: Any) -> Picture:
    return draw_prediction(IMAGE, prediction, COCO_PERSON, **switches)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_can_be_left_out(prediction: Prediction, part: str) -> None:
    everything = picture(prediction)
    without = picture(prediction, **{part: False})
    assert (without != everything).any()
    alone = picture(prediction, **{**dict.fromkeys(PARTS, False), part: True})
    assert (alone != IMAGE).any() == (part != "links")  # links join keypoints
    if part in ("masks", "keypoints"):
        assert_array_equal(without, picture(replace(prediction, **{part: None})))


def test_without_any_part_it_is_the_image(prediction: Prediction) -> None:
    assert_array_equal(picture(prediction, **dict.fromkeys(PARTS, False)), IMAGE)


def test_keypoints_below_the_threshold_are_left_out(prediction: Prediction) -> None:
    none = picture(prediction, keypoints=False)
    pictures = (picture(prediction, keypoint_threshold=least) for least in (0.05, 0.5, 0.8, 1.0))
    some = [int((drawn != none).sum()) for drawn in pictures]
    assert some == sorted(some, reverse=True)
    assert some[0] > some[2] > some[3] == 0
    assert prediction.keypoints is not None
    weak = replace(prediction, keypoints=prediction.keypoints * [1, 1, 0.001])
    assert_array_equal(picture(weak), none)


def test_colours_are_those_of_tracks(prediction: Prediction) -> None:
    def shown(colours: list[int]) -> set[int]:
        pixels = picture(prediction, colours=np.array(colours), keypoints=False)
        return {at for at, colour in enumerate(PALETTE) if (pixels == colour).all(axis=2).any()}

    assert shown([7, 2]) == {7, 2}
    assert shown([12, 3]) == {2, 3}
    turned = prediction.select(np.array([1, 0]))
    assert_array_equal(picture(turned, colours=[4, 9]), picture(prediction, colours=[9, 4]))


def test_an_instance_of_another_class_has_no_keypoints(prediction: Prediction) -> None:
    assert prediction.keypoints is not None
    pixels = picture(prediction, boxes=False, masks=False, labels=False)
    person = draw_instances(IMAGE, keypoints=prediction.keypoints[:1], skeleton=COCO_PERSON)
    # Keypoints of low scores are above the threshold here.
    assert_array_equal(pixels, person)


def test_a_picture_that_is_too_large_for_a_jpeg_is_made_smaller() -> None:
    wide = np.full((70, 70_000, 3), (200, 100, 50), np.uint8)
    for image, size in ((wide, (65_500, 66)), (wide[:, :300], (300, 70))):
        with Image.open(io.BytesIO(jpeg(image, 90))) as written:
            assert written.size == size
            assert np.abs(np.array(written).astype(int) - wide[0, 0]).max() < 5


@pytest.mark.parametrize(
    ("side", "scale"),
    [(1, 256), (32, 8), (64, 4), (160, 3), (256, 3), (300, 2), (400, 1), (8000, 1)],
)
def test_small_images_are_enlarged(side: int, scale: int) -> None:
    assert legible_scale(np.zeros((side, max(1, side // 2), 3), np.uint8)) == scale


def test_annotations_look_the_same_whatever_the_mode_of_their_boxes(
    figures: FiguresPaths, tmp_path: Path
) -> None:
    """COCO's are x, y, width and height."""
    folder = str(figures.train.parent)
    ours = load_dataset(str(figures.train), folder, skeleton="coco_person")
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(ours.coco_json()))
    theirs = load_dataset(str(file), folder, skeleton="coco_person")
    (one,) = [record for record in ours.records if record["file_name"].endswith("000001.jpg")]
    (other,) = [record for record in theirs.records if record["file_name"] == one["file_name"]]
    modes = {anno["bbox_mode"] for anno in other["annotations"]}
    assert modes == {BoxMode.XYWH_ABS}
    assert_array_equal(draw_comparison(one, ours, {}), draw_comparison(other, theirs, {}))
