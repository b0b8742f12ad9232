"""Predictions: of any image, as pictures and as data."""

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
from roilab.inference import Prediction, Predictor, draw_prediction
from roilab.inference.rendering import OVERVIEW, picture_folder, picture_names
from roilab.skeleton import COCO_PERSON


class Fixed(nn.Module):
    """A model that finds a person and a car, wherever it looks."""

    def forward(self, inputs: list[dict]) -> list[dict]:
        (image,) = inputs
        instances = Instances((image["height"], image["width"]))
        instances.pred_boxes = Boxes(torch.tensor([[2.0, 3, 20, 40], [10, 10, 50, 30]]))
        instances.scores = torch.tensor([0.9, 0.4])
        instances.pred_classes = torch.tensor([1, 0])
        instances.pred_masks = torch.zeros(2, image["height"], image["width"], dtype=torch.bool)
        instances.pred_masks[0, 5:30, 4:15] = True
        instances.pred_keypoints = torch.tensor([10.5, 10.5, 0.75]).expand(2, 17, 3)
        return [{"instances": instances}]


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


def test_picture_is_new_and_enlarged(prediction: Prediction) -> None:
    image = np.full((48, 64, 3), 128, np.uint8)
    for subset in (prediction, prediction.above(1.0)):
        picture = draw_prediction(image, subset, COCO_PERSON)
        assert picture.shape == (192, 256, 3)
        assert (image == 128).all()
    assert (draw_prediction(image, prediction, COCO_PERSON) != 128).any()


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
    expected = [[255 if place == red else 0] for place in range(3)]
    assert [channel.unique().tolist() for channel in seen[0]] == expected


def test_an_augmentation_cannot_touch_the_image() -> None:
    class Blackens(T.Augmentation):
        def get_transform(self, image: np.ndarray) -> T.Transform:
            image[:] = 0
            return T.NoOpTransform()

    image = np.full((30, 50, 3), 7, np.uint8)
    for image_format in ("RGB", "BGR"):
        Predictor(Fixed(), [Blackens()], image_format, ("car", "person"), None)(image)
    assert (image == 7).all()


def test_an_unknown_order_of_channels_is_refused() -> None:
    with pytest.raises(UserError, match="image_format"):
        Predictor(Fixed(), [], "YUV-BT.601", ("car", "person"), COCO_PERSON)


def test_no_two_pictures_have_one_name() -> None:
    files = ["a.jpg", "a.png", "A.bmp", "a.png.jpg", "overview.png", "x/plain", "y/plain"]
    files += ["overview", "B.tif", "b.tif"]
    names = picture_names([Path(name) for name in files])
    assert (names[0], names[-2]) == ("a.jpg", "B.jpg")
    assert len({name.lower() for name in [*names, "overview.jpg"]}) == len(files) + 1
    assert all(name.endswith(".jpg") for name in names)


def test_the_overview_makes_large_pictures_smaller(tmp_path: Path) -> None:
    with picture_folder(tmp_path) as write:
        write("wide.jpg", np.zeros((1500, 3000, 3), np.uint8))
        write("small.jpg", np.zeros((300, 200, 3), np.uint8))
    with Image.open(tmp_path / OVERVIEW) as sheet:
        assert 2 * 768 <= sheet.width < 2 * 768 + 60
        assert 384 <= sheet.height < 384 + 60


RANDOM = np.random.default_rng(0)
WHOLE = Prediction(
    width=60,
    height=40,
    boxes=RANDOM.uniform(0, 40, (4, 4)),
    scores=np.array([0.9, 0.6, 0.6, 0.1]),
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
    assert compressed.encoded_masks() is compressed.rles
    assert replace(WHOLE, masks=None).compressed().decompressed().masks is None
