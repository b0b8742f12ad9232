"""Sources, sinks, and a predictor that gives what the evaluation gives."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch import nn

from roilab.errors import UserError
from roilab.inference import Prediction, Predictor, draw_prediction, image_files, to_json
from roilab.skeleton import COCO_PERSON


class Fixed(nn.Module):
    """A model that finds a person and a car, wherever it looks."""

    def forward(self, inputs: list[dict]) -> list[dict]:
        (image,) = inputs
        found = Instances((image["height"], image["width"]))
        found.pred_boxes = Boxes(torch.tensor([[2.0, 3, 20, 40], [10, 10, 50, 30]]))
        found.scores = torch.tensor([0.9, 0.4])
        found.pred_classes = torch.tensor([1, 0])
        found.pred_masks = torch.zeros(2, image["height"], image["width"], dtype=torch.bool)
        found.pred_masks[0, 5:30, 4:15] = True
        found.pred_keypoints = torch.full((2, 17, 3), 10.5)
        return [{"instances": found}]


@pytest.fixture
def prediction() -> Prediction:
    predictor = Predictor(Fixed(), [], "RGB", ("car", "person"), COCO_PERSON)
    return predictor(np.zeros((48, 64, 3), np.uint8))


def test_only_classes_of_the_skeleton_have_keypoints(prediction: Prediction) -> None:
    assert prediction.labels == ("person", "car")
    assert prediction.keypoints is not None
    assert (prediction.keypoints[0] == 10.5).all()
    assert np.isnan(prediction.keypoints[1]).all()


def test_threshold(prediction: Prediction) -> None:
    assert len(prediction.above(0.0)) == 2
    kept = prediction.above(0.5)
    assert (len(kept), kept.labels, len(kept.boxes)) == (1, ("person",), 1)
    assert len(prediction.above(1.0)) == 0


def test_json_is_plain_and_in_pixel_indices(prediction: Prediction) -> None:
    data = to_json("a.jpg", prediction)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    person, car = data["instances"]
    assert person["bbox"] == [2.0, 3.0, 18.0, 37.0]
    assert person["keypoints"][0] == [10.0, 10.0, 10.5]
    assert person["segmentation"]["size"] == [48, 64]
    assert "keypoints" not in car


def test_picture_is_new_and_enlarged(prediction: Prediction) -> None:
    image = np.full((48, 64, 3), 128, np.uint8)
    for found in (prediction, prediction.above(1.0)):
        picture = draw_prediction(image, found, COCO_PERSON)
        assert picture.shape == (144, 192, 3)
        assert (image == 128).all()
    assert (draw_prediction(image, prediction, COCO_PERSON) != 128).any()


def test_a_folder_gives_its_images_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "._a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in image_files(tmp_path)] == ["a.JPG", "b.png"]
    assert image_files(tmp_path / "b.png") == [tmp_path / "b.png"]


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no image"):
        image_files(tmp_path)
    with pytest.raises(UserError, match="no such"):
        image_files(tmp_path / "lost")


def test_exif_and_channels_are_honoured_and_a_broken_file_is_named(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    predictor = Predictor(Fixed(), [], "BGR", ("car", "person"), COCO_PERSON)
    image = predictor.read(tmp_path / "turned.jpg")
    assert image.shape == (40, 20, 3)
    assert image[5, 5, 2] > 200 > image[5, 5, 0]
    with pytest.raises(UserError, match=r"broken\.jpg"):
        predictor.read(tmp_path / "broken.jpg")
