"""Frames predicted in batches; numbers that stay through crossings, gaps and weak detections."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab.inference.predictor import FramePrediction, Prediction, predict_frames
from roilab.inference.sources import Frame
from roilab.inference.tracking import Tracker, frame_tracker
from roilab.skeleton import Skeleton

BONE = Skeleton("bone", ("it",), ("a", "b"), (), (("a", "b"),), (0.1, 0.1))


def scene(
    *centres: tuple[float, float],
    size: float = 40,
    scores: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    keypoints: np.ndarray | None = None,
) -> Prediction:
    middle = np.array(centres, np.float32).reshape(-1, 2)
    count = len(middle)
    boxes = np.hstack([middle - size / 2, middle + size / 2])
    certain = np.array([0.9] * count if scores is None else scores, np.float32)
    names = tuple(["it"] * count if labels is None else labels)
    return Prediction(640, 480, boxes, certain, names, None, keypoints)


def follow(tracker: Tracker, *frames: Prediction) -> list[list[int]]:
    return [tracker.update(frame) for frame in frames]


def test_numbers_stay_whatever_the_order() -> None:
    frames = [scene((50, 50), (200, 200)), scene((205, 200), (52, 50))]
    frames.append(scene((54, 51), (210, 200), (400, 400)))
    assert follow(Tracker(), *frames) == [[0, 1], [1, 0], [0, 1, 2]]


def test_frames_without_instances() -> None:
    tracker = Tracker(BONE)
    assert follow(tracker, scene(), scene((50, 50)), scene(), scene((50, 50))) == [[], [0], [], [0]]


@pytest.mark.parametrize(("gap", "number"), [(2, 0), (3, 1)])
def test_a_lost_track_is_taken_up_for_a_while(gap: int, number: int) -> None:
    tracker = Tracker(patience=2)
    follow(tracker, scene((50, 50)), *[scene()] * gap)
    assert tracker.update(scene((50, 50))) == [number]


def test_no_number_is_used_again() -> None:
    tracker = Tracker(patience=0)
    frames = [frame for at in range(4) for frame in (scene((50 + 100 * at, 50)), scene())]
    numbers = [number for frame in follow(tracker, *frames) for number in frame]
    assert numbers == [0, 1, 2, 3]


def test_classes_are_apart() -> None:
    one, other = scene((50, 50), labels=["it"]), scene((50, 50), labels=["car"])
    assert follow(Tracker(), one, other, one) == [[0], [1], [0]]


def test_far_instances_are_not_linked() -> None:
    assert follow(Tracker(), scene((50, 50)), scene((91, 50))) == [[0], [1]]
    assert follow(Tracker(least=0.9), scene((50, 50)), scene((55, 50))) == [[0], [1]]


def test_the_most_alike_are_linked_first() -> None:
    # The first instance overlaps both tracks, and its own more.
    frames = scene((50, 50), (70, 50)), scene((62, 50), (48, 50))
    assert follow(Tracker(), *frames) == [[0, 1], [1, 0]]


def test_a_weak_instance_takes_no_track_from_a_strong_one() -> None:
    second = scene((50, 50), (55, 50), scores=[0.3, 0.8])
    assert follow(Tracker(), scene((50, 50)), second) == [[0], [1, 0]]
    assert follow(Tracker(sure=0.2), scene((50, 50)), second) == [[0], [0, 1]]
    # It continues one all the same.
    assert follow(Tracker(), scene((50, 50)), scene((50, 50), scores=[0.1])) == [[0], [0]]


def test_keypoints_tell_apart_what_boxes_do_not() -> None:
    left = [[40, 50, 0.9], [45, 50, 0.9]]
    right = [[55, 50, 0.9], [60, 50, 0.9]]
    first = scene((50, 50), (50, 50), keypoints=np.array([left, right]))
    swapped = scene((50, 50), (50, 50), keypoints=np.array([right, left]))
    assert follow(Tracker(BONE), first, swapped) == [[0, 1], [1, 0]]
    assert follow(Tracker(), first, swapped) == [[0, 1], [0, 1]]


def test_keypoints_move_with_their_track() -> None:
    """In the end the one behind stands in each frame where the one before it stood."""
    frames = []
    for x in (0, 2, 6, 12, 20, 30, 40, 50):
        behind, ahead = ([[x + at, 50, 0.9]] * 2 for at in (50, 60))
        frames.append(scene(*[(50 + x, 50)] * 2, keypoints=np.array([behind, ahead], float)))
    assert follow(Tracker(BONE), *frames) == [[0, 1]] * 8


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_without_keypoints_in_both_boxes_decide(value: float) -> None:
    seen = scene((50, 50), keypoints=np.array([[[40, 50, 0.9], [45, 50, 0.9]]]))
    none = scene((52, 50), keypoints=np.full((1, 2, 3), value))
    assert follow(Tracker(BONE), seen, none, seen, scene((50, 50))) == [[0]] * 4


def test_crossing_objects_keep_their_numbers() -> None:
    """While they are one over the other, the one behind is not found."""
    frames = []
    for step in range(21):
        a, b = (100 + 10 * step, 100), (300 - 10 * step, 104)
        frames.append(scene(a) if 7 <= step <= 13 else scene(a, b))
    numbers = follow(Tracker(), *frames)
    assert numbers[:7] == [[0, 1]] * 7
    assert numbers[14:] == [[0, 1]] * 7


def test_a_still_object_is_found_where_it_was() -> None:
    rng = np.random.default_rng(0)
    shaken = [scene(tuple(rng.normal(100, 1, 2))) for _ in range(20)]
    assert follow(Tracker(), *shaken, *[scene()] * 15, shaken[0])[-1] == [0]


places = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), max_size=5)


@given(st.lists(places, max_size=6))
def test_each_number_once_a_frame_and_the_same_every_time(video: list) -> None:
    frames = [scene(*centres, scores=np.linspace(0.9, 0.1, len(centres))) for centres in video]
    numbers = follow(Tracker(BONE), *frames)
    assert numbers == follow(Tracker(BONE), *frames)
    for frame in numbers:
        assert len(set(frame)) == len(frame)
    used = [number for frame in numbers for number in frame]
    assert set(used) == set(range(len(set(used))))


def test_what_is_given_is_not_touched() -> None:
    keypoints = np.random.default_rng(0).uniform(40, 60, (2, 2, 3))
    frame = scene((50, 50), (60, 50), keypoints=keypoints.copy())
    for array in (frame.boxes, frame.scores, frame.keypoints):
        array.setflags(write=False)
    follow(Tracker(BONE), frame, frame)
    np.testing.assert_array_equal(frame.keypoints, keypoints)


IMAGE = np.zeros((100, 100, 3), np.uint8)


def result(index: int) -> FramePrediction:
    """Two persons, whose keypoints tremble; they change places from frame to frame."""
    keypoints = np.array([[[20.0, 50, 0.9]], [[70.0, 50, 0.9]]])
    keypoints[..., 0] += 3 * (index % 2)
    order = [0, 1] if index % 2 else [1, 0]
    centres = np.array([[25, 50], [75, 50]])[order]
    prediction = scene(*centres, scores=[0.9, 0.8], keypoints=keypoints[order])
    frame = Frame(IMAGE, "a.mp4", index=index, seconds=index / 25)
    return FramePrediction(frame, (prediction,), (None,))


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 5), (3, [3, 2]), (9, [5])])
def test_frames_are_given_in_batches(batch: int, sizes: list[int]) -> None:
    batch_sizes = []

    def predictor(images: Any) -> list[Prediction]:
        batch_sizes.append(len(images))
        return [result(0).predictions[0]] * len(images)

    frames = [result(index).frame for index in range(5)]
    results = list(predict_frames(frames, [predictor], batch=batch, threshold=0.85))  # type: ignore[list-item]
    assert batch_sizes == sizes
    assert [output.frame for output in results] == frames
    assert all(len(output.predictions[0]) == 1 for output in results)


def test_instances_are_linked_and_not_touched() -> None:
    track = frame_tracker([None], smooth=False)
    for index in range(4):
        before = result(index)
        after = track(before)
        assert after.predictions[0] is before.predictions[0]
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
