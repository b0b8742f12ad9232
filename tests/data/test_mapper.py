"""Left and right of keypoints follow the geometry of the augmentations, whatever their names."""

import random
from pathlib import Path

import cv2
import detectron2.data.transforms as T
import numpy as np
import pytest
from fvcore.transforms.transform import (
    CropTransform,
    HFlipTransform,
    PadTransform,
    Transform,
    TransformList,
    VFlipTransform,
)

from roilab.data.loaders import Mapper, mirrors

HEIGHT, WIDTH = 40, 64
# Left, right and nose: seen from the person's front, left is at the right of the image.
KEYPOINTS = np.array([[40.0, 30.0, 2.0], [20.0, 28.0, 2.0], [31.0, 12.0, 2.0]])
SWAPPED = (1, 0, 2)


class Affine(Transform):
    """A user's own transform: the linear part and the shift of an affine map."""

    def __init__(self, linear: list[list[float]], shift: tuple[float, float] = (0, 0)) -> None:
        super().__init__()
        self.matrix = np.column_stack([np.array(linear, float), np.array(shift, float)])

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(img, self.matrix, (WIDTH, HEIGHT))

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords @ self.matrix[:, :2].T + self.matrix[:, 2]


H, V = HFlipTransform(WIDTH), VFlipTransform(HEIGHT)
TURN = T.RotationTransform(HEIGHT, WIDTH, 180, expand=False)
TRANSPOSE = Affine([[0, 1], [1, 0]])
FLIPS = [T.RandomFlip(prob=1), T.RandomFlip(prob=1, horizontal=False, vertical=True)]


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ([], False),
        ([H], True),
        ([V], True),
        ([H, V], False),
        ([H, H], False),
        ([V, V, V], True),
        ([TURN], False),
        ([TURN, V], True),
        ([T.RotationTransform(HEIGHT, WIDTH, 33)], False),
        ([T.RotationTransform(HEIGHT, WIDTH, 90), H], True),
        ([TRANSPOSE], True),
        ([TRANSPOSE, H], False),
        ([Affine([[-1, 0.3], [0.2, 1]], (WIDTH, 0))], True),
        ([Affine([[1, 0.3], [-0.2, 1]])], False),
        ([T.ExtentTransform((10, 5, 50, 35), (20, 30))], False),
        ([T.ExtentTransform((50, 5, 10, 35), (20, 30))], True),
        ([T.ExtentTransform((50, 35, 10, 5), (20, 30))], False),
        ([CropTransform(7, 3, 30, 20), VFlipTransform(20)], True),
        ([T.ResizeTransform(HEIGHT, WIDTH, 80, 32), PadTransform(1, 2, 3, 4)], False),
        ([TransformList([H, TransformList([V])]), TURN, TransformList([V])], True),
    ],
)
def test_a_mirror_is_seen_by_its_determinant(transforms: list[Transform], expected: bool) -> None:
    assert mirrors(TransformList(transforms), HEIGHT, WIDTH) is expected
    with_colours = [T.ColorTransform(lambda image: image), *transforms]
    assert mirrors(TransformList(with_colours), HEIGHT, WIDTH) is expected


@pytest.fixture
def record(tmp_path: Path) -> dict:
    file = tmp_path / "image.png"
    cv2.imwrite(str(file), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    anno = {
        "bbox": [10.0, 5.0, 50.0, 35.0],
        "bbox_mode": 0,
        "category_id": 0,
        "keypoints": KEYPOINTS.flatten().tolist(),
    }
    size = {"height": HEIGHT, "width": WIDTH}
    return {"file_name": str(file), "image_id": 1, **size, "annotations": [anno]}


def keypoints(record: dict, *augmentations: object) -> np.ndarray:
    """K x 3 of the one annotation, augmented."""
    mapper = Mapper(
        augmentations,
        image_format="BGR",
        masks=False,
        keypoints=True,
        bitmasks=False,
        flip_indices=SWAPPED,
    )
    return mapper(record)["instances"].gt_keypoints.tensor[0].numpy()


def test_a_flip_of_boxes_alone_moves_them(record: dict) -> None:
    for flip_indices in (SWAPPED, None):
        mapper = Mapper(
            FLIPS[:1],
            image_format="BGR",
            masks=False,
            keypoints=False,
            bitmasks=False,
            flip_indices=flip_indices,
        )
        instances = mapper(record)["instances"]
        assert instances.gt_boxes.tensor.tolist() == [[WIDTH - 50, 5, WIDTH - 10, 35]]
        assert not instances.has("gt_keypoints")


def handedness(points: np.ndarray) -> float:
    """Twice the signed area of the triangle of left, right and nose, in pixels."""
    left, right, nose = points[:, :2]
    return float(np.linalg.det(np.stack([right - left, nose - left])))


@pytest.mark.parametrize("flip", [*FLIPS, TRANSPOSE], ids=["h", "v", "user's"])
def test_a_flip_twice_is_the_identity(record: dict, flip: object) -> None:
    once, twice = keypoints(record, flip), keypoints(record, flip, flip)
    assert np.array_equal(twice, KEYPOINTS)
    assert not np.array_equal(once, KEYPOINTS)


def test_both_flips_are_a_rotation(record: dict) -> None:
    assert np.allclose(keypoints(record, *FLIPS), keypoints(record, TURN))


@pytest.mark.parametrize("seed", range(20))
def test_left_stays_left_of_a_person(record: dict, seed: int) -> None:
    """In any image of a person, however turned and mirrored, the labels are those of a person.

    The triangle of left, right and nose has one sense of rotation, so the names of a mirrored
    person have to be exchanged, and those of a turned one not.
    """
    random_ = random.Random(seed)
    steps = [
        *random_.choices(FLIPS, k=random_.randint(1, 3)),
        T.RandomRotation([random_.uniform(-180, 180)] * 2, expand=True),
        T.RandomFlip(prob=0.5, horizontal=False, vertical=True),
    ]
    random_.shuffle(steps)
    np.random.seed(seed)  # noqa: NPY002 (Detectron2's augmentations draw from it)
    points = keypoints(record, *steps)
    assert (points[:, 2] == 2).all()
    assert handedness(points) == pytest.approx(handedness(KEYPOINTS), rel=1e-4)
