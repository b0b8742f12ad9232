"""Predictions: of any image, as pictures and as data."""

import json
from dataclasses import replace
from pathlib import Path

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch import nn

from roilab.errors import UserError
from roilab.inference import (
    Prediction,
    Predictor,
    draw_prediction,
    image_files,
    overview,
    picture_names,
    read_rgb,
    to_json,
)
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
        found.pred_keypoints = torch.tensor([10.5, 10.5, 0.75]).expand(2, 17, 3)
        return [{"instances": found}]


@pytest.fixture
def prediction() -> Prediction:
    predictor = Predictor(Fixed(), [], "RGB", ("car", "person"), COCO_PERSON)
    return predictor(np.zeros((48, 64, 3), np.uint8))


def test_only_classes_of_the_skeleton_have_keypoints(prediction: Prediction) -> None:
    assert prediction.labels == ("person", "car")
    assert prediction.keypoints is not None
    assert (prediction.keypoints[0] == [10.5, 10.5, 0.75]).all()
    assert np.isnan(prediction.keypoints[1]).all()


def test_threshold(prediction: Prediction) -> None:
    assert len(prediction.above(0.0)) == 2
    kept = prediction.above(0.5)
    assert (len(kept), kept.labels, len(kept.boxes)) == (1, ("person",), 1)
    assert len(prediction.above(float(prediction.scores[0]))) == 1
    assert len(prediction.above(1.0)) == 0


def test_json_is_plain_and_in_pixel_indices(prediction: Prediction) -> None:
    data = to_json("a.jpg", prediction)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    person, car = data["instances"]
    assert person["bbox"] == [2.0, 3.0, 18.0, 37.0]
    assert person["keypoints"][0] == [10.0, 10.0, 0.75]
    assert person["segmentation"]["size"] == [48, 64]
    assert "keypoints" not in car


def test_picture_is_new_and_enlarged(prediction: Prediction) -> None:
    image = np.full((48, 64, 3), 128, np.uint8)
    for found in (prediction, prediction.above(1.0)):
        picture = draw_prediction(image, found, COCO_PERSON)
        assert picture.shape == (192, 256, 3)
        assert (image == 128).all()
    assert (draw_prediction(image, prediction, COCO_PERSON) != 128).any()


def test_a_folder_gives_its_images_in_natural_order(tmp_path: Path) -> None:
    names = ["2.png", "10.JPG", "a1b2.jpg", "a1b10.jpg", "b.tif"]
    for name in (*names[::-1], "._a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in image_files(tmp_path)] == names
    assert image_files(str(tmp_path / "b.tif")) == [tmp_path / "b.tif"]


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no image"):
        image_files(tmp_path)
    with pytest.raises(UserError, match="no such"):
        image_files(tmp_path / "lost")


def test_an_image_is_read_as_its_exif_says(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    image = read_rgb(tmp_path / "turned.jpg")
    assert image.shape == (40, 20, 3)
    assert image[5, 5, 0] > 200 > image[5, 5, 2]


@pytest.mark.parametrize("kind", ["no image", "cut short", "too large", "not there"])
def test_an_unreadable_image_is_named(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broken.png"
    if kind != "not there":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(path)
    if kind == "no image":
        path.write_bytes(b"no image")
    elif kind == "cut short":
        path.write_bytes(path.read_bytes()[:600])
    elif kind == "too large":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    with pytest.raises(UserError, match=r"broken\.png"):
        read_rgb(path)


@pytest.mark.parametrize(("image_format", "red"), [("RGB", 0), ("BGR", 2)])
def test_the_model_gets_its_own_order_of_channels(image_format: str, red: int) -> None:
    seen = []

    class Looks(Fixed):
        def forward(self, inputs: list[dict]) -> list[dict]:
            seen.append(inputs[0]["image"])
            return super().forward(inputs)

    image = np.zeros((30, 50, 3), np.uint8)
    image[..., 0] = 255
    Predictor(Looks(), [], image_format, ("car", "person"), COCO_PERSON)(image)
    assert seen[0].shape == (3, 30, 50)
    assert [channel.unique().tolist() for channel in seen[0]] == [
        [255 if place == red else 0] for place in range(3)
    ]


def test_an_augmentation_cannot_touch_the_image() -> None:
    class Blackens(T.Augmentation):
        def get_transform(self, image: np.ndarray) -> T.Transform:
            image[:] = 0
            return T.NoOpTransform()

    image = np.full((30, 50, 3), 7, np.uint8)
    for image_format in ("RGB", "BGR"):
        Predictor(Fixed(), [Blackens()], image_format, ("car", "person"), None)(image)
    assert (image == 7).all()


def test_an_array_of_another_form_is_refused() -> None:
    predictor = Predictor(Fixed(), [], "RGB", ("car", "person"), COCO_PERSON)
    for image in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)):
        with pytest.raises(ValueError, match="H x W x 3 uint8"):
            predictor(image)
    with pytest.raises(UserError, match="image_format"):
        Predictor(Fixed(), [], "YUV-BT.601", ("car", "person"), COCO_PERSON)


def test_no_two_pictures_have_one_name() -> None:
    files = ["a.jpg", "a.png", "A.bmp", "a.png.jpg", "overview.png", "B.tif", "b.tif"]
    names = picture_names([Path(name) for name in files])
    assert (names[0], names[-2]) == ("a.jpg", "B.jpg")
    assert len({name.lower() for name in [*names, "overview.jpg"]}) == len(files) + 1
    assert all(name.endswith(".jpg") for name in names)


def test_weak_keypoints_are_not_drawn(prediction: Prediction) -> None:
    assert prediction.keypoints is not None
    image = np.full((48, 64, 3), 128, np.uint8)
    weak = prediction.keypoints * [1, 1, 0.001]
    drawn = draw_prediction(image, replace(prediction, keypoints=weak), COCO_PERSON)
    without = draw_prediction(image, replace(prediction, keypoints=None), COCO_PERSON)
    assert (drawn == without).all()
    assert (draw_prediction(image, prediction, COCO_PERSON) != without).any()


def test_the_overview_makes_large_pictures_smaller() -> None:
    sheet = overview([np.zeros((1500, 3000, 3), np.uint8), np.zeros((300, 200, 3), np.uint8)])
    assert 2 * 768 <= sheet.shape[1] < 2 * 768 + 60
    assert 384 <= sheet.shape[0] < 384 + 60


SCORES = np.array([0.9, 0.6, 0.6, 0.1])
RANDOM = np.random.default_rng(0)
WHOLE = Prediction(
    width=60,
    height=40,
    boxes=RANDOM.uniform(0, 40, (4, 4)),
    scores=SCORES,
    labels=("car", "person", "car", "car"),
    masks=RANDOM.random((4, 40, 60)) < np.array([0, 0.5, 1, 0.1])[:, None, None],
    keypoints=RANDOM.random((4, 2, 3)),
)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.6, 0.61, 1.0])
def test_a_compressed_prediction_gives_back_the_instances_that_reach_the_threshold(
    threshold: float,
) -> None:
    back, expected = WHOLE.compressed().above(threshold).decompressed(), WHOLE.above(threshold)
    assert back.labels == expected.labels
    for name in ("boxes", "scores", "masks", "keypoints"):
        assert (getattr(back, name) == getattr(expected, name)).all(), name
    assert back.masks is not None
    assert back.masks.shape == (len(expected), 40, 60)
    assert back.masks.dtype == bool


def test_masks_are_encoded_once_and_not_kept_beside() -> None:
    compressed = WHOLE.compressed()
    assert compressed.masks is None
    assert compressed.rles is not None
    assert len(compressed.rles[0]["counts"]) < 10
    assert compressed.with_rles().rles is compressed.rles
    assert replace(WHOLE, masks=None).compressed().decompressed().masks is None
