"""Predictions of frames: in batches, and linked and smoothed where they follow each other."""

from typing import Any

import numpy as np
import pytest

from roilab.inference import Prediction
from roilab.inference.predictor import FramePrediction, predict_frames
from roilab.inference.sources import Frame
from roilab.inference.tracking import frame_tracker

IMAGE = np.zeros((100, 100, 3), np.uint8)


def result(index: int) -> FramePrediction:
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
    return FramePrediction(frame, (prediction,), (None,))


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 5), (3, [3, 2]), (9, [5])])
def test_frames_are_given_in_batches(batch: int, sizes: list[int]) -> None:
    given = []

    def predictor(images: Any) -> list[Prediction]:
        given.append(len(images))
        return [result(0).predictions[0]] * len(images)

    frames = [result(index).frame for index in range(5)]
    results = list(predict_frames(frames, [predictor], batch=batch, threshold=0.85))  # type: ignore[list-item]
    assert given == sizes
    assert [each.frame for each in results] == frames
    assert all(len(each.predictions[0]) == 1 for each in results)


def test_instances_are_linked_and_not_touched() -> None:
    track = frame_tracker([None], smooth=False)
    for index in range(4):
        given = result(index)
        after = track(given)
        assert after.predictions[0] is given.predictions[0]
        assert after.tracks == (([0, 1] if index % 2 == 0 else [1, 0]),)


def test_keypoints_are_smoothed_along_their_tracks() -> None:
    track = frame_tracker([None], smooth=True)
    places = []
    for index in range(20):
        after = track(result(index))
        keypoints, (tracks,) = after.predictions[0].keypoints, after.tracks
        assert keypoints is not None
        assert tracks is not None
        places.append(keypoints[np.argsort(tracks), 0, 0])
    late = np.array(places[10:])
    assert np.ptp(late, axis=0).max() < 2  # of 3
    assert late.mean(axis=0) == pytest.approx([71.5, 21.5], abs=0.5)
