"""A packed prediction gives back what went in."""

from dataclasses import replace

import numpy as np
import pytest

from roilab.inference import Prediction
from roilab.inference.rle_prediction import pack

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
def test_it_gives_the_instances_that_reach_the_threshold(threshold: float) -> None:
    back, expected = pack(WHOLE).above(threshold), WHOLE.above(threshold)
    assert back.labels == expected.labels
    for name in ("boxes", "scores", "masks", "keypoints"):
        assert (getattr(back, name) == getattr(expected, name)).all(), name
    assert back.masks is not None
    assert back.masks.shape == (len(expected), 40, 60)
    assert back.masks.dtype == bool


def test_without_masks_there_are_none() -> None:
    assert pack(replace(WHOLE, masks=None)).above(0).masks is None


def test_masks_are_not_held() -> None:
    packed = pack(WHOLE)
    assert packed.bare.masks is None
    assert packed.codes is not None
    assert len(packed.codes[0]["counts"]) < 10
