"""What is found in frames that follow each other: linked, and smoothed where that is asked for."""

import numpy as np
import pytest

from roilab.inference import Prediction
from roilab.inference.pipeline import Found, following
from roilab.inference.sources import Frame

IMAGE = np.zeros((100, 100, 3), np.uint8)


def found(index: int) -> Found:
    """Two persons, whose keypoints tremble; they change places from frame to frame."""
    boxes = np.array([[5.0, 5, 45, 95], [55, 5, 95, 95]])
    keypoints = np.array([[[20.0, 50, 0.9]], [[70.0, 50, 0.9]]])
    keypoints[..., 0] += 3 * (index % 2)
    order = [0, 1] if index % 2 else [1, 0]
    prediction = Prediction(
        width=100,
        height=100,
        boxes=boxes[order],
        scores=np.array([0.9, 0.8]),
        labels=("person", "person"),
        masks=None,
        keypoints=keypoints[order],
    )
    frame = Frame(IMAGE, "a.mp4", index=index, seconds=index / 25)
    return Found(frame, (prediction,), (None,))


def test_instances_are_linked_and_not_touched() -> None:
    follow = following([None], smooth=False)
    for index in range(4):
        given = found(index)
        after = follow(given)
        assert after.predictions[0] is given.predictions[0]
        assert after.tracks == (([0, 1] if index % 2 == 0 else [1, 0]),)


def test_keypoints_are_smoothed_along_their_tracks() -> None:
    follow = following([None], smooth=True)
    places = []
    for index in range(20):
        after = follow(found(index))
        keypoints, (tracks,) = after.predictions[0].keypoints, after.tracks
        assert keypoints is not None
        assert tracks is not None
        places.append(keypoints[np.argsort(tracks), 0, 0])
    late = np.array(places[10:])
    assert np.ptp(late, axis=0).max() < 2  # of 3
    assert late.mean(axis=0) == pytest.approx([71.5, 21.5], abs=0.5)
