"""Smoothing of keypoints: less noise, little lag, the same in any units."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from roilab.inference.predictor import Prediction
from roilab.inference.tracking import KeypointSmoother

RATE = 30  # frames a second
SIZE = 100.0  # of the instance, in pixels


def frame(places: np.ndarray, *, size: float = SIZE, score: float = 0.9) -> Prediction:
    """Of (N, K, 2) keypoints."""
    count = len(places)
    boxes = np.tile([10, 20, 10 + size, 20 + size], (count, 1))
    keypoints = np.concatenate([places, np.full((*places.shape[:2], 1), score)], axis=2)
    return Prediction(640, 480, boxes, np.full(count, 0.9), ("it",) * count, None, keypoints)


def smoothed(
    smoother: KeypointSmoother, video: np.ndarray, rate: float = RATE, size: float = SIZE
) -> np.ndarray:
    """The places of a (T, N, K, 2) video."""
    ids = range(video.shape[1])
    frames = [frame(places, size=size) for places in video]
    return np.array([places_of(smoother(f, ids, at / rate)) for at, f in enumerate(frames)])


def places_of(prediction: Prediction) -> np.ndarray:
    assert prediction.keypoints is not None
    return prediction.keypoints[..., :2]


def noise(seed: int = 0, frames: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).normal(200, 1.5, (frames, 2, 5, 2))


def test_the_first_frame_is_unchanged() -> None:
    first = frame(noise()[0])
    filtered = KeypointSmoother()(first, [0, 1], 0.0)
    assert_array_equal(filtered.keypoints, first.keypoints)
    assert filtered.keypoints is not first.keypoints


def test_a_still_point_trembles_less() -> None:
    video = noise()
    after = smoothed(KeypointSmoother(), video)
    assert after[RATE:].std() < 0.6 * video[RATE:].std()
    steadier = smoothed(KeypointSmoother(min_cutoff=0.3), video)
    assert steadier[RATE:].std() < after[RATE:].std()


def test_a_fast_point_lags_less_than_under_a_low_cutoff() -> None:
    speed, beta = 1.5, 8.0  # sizes a second; Hz of that
    video = np.zeros((3 * RATE, 1, 1, 2)) + (np.arange(3 * RATE) * speed * SIZE / RATE)[
        :, None, None, None
    ] * np.array([0.6, 0.8])
    lag = np.linalg.norm(video - smoothed(KeypointSmoother(beta=beta), video), axis=-1)
    fixed = np.linalg.norm(video - smoothed(KeypointSmoother(beta=0), video), axis=-1)
    assert lag.max() < fixed[-1].max() / 4
    # What a first-order filter lags behind a ramp: the speed over its angular cutoff.
    assert fixed[-1] == pytest.approx(speed * SIZE / (2 * np.pi * 1.0), rel=0.01)
    assert lag[-1] == pytest.approx(speed * SIZE / (2 * np.pi * (1.0 + beta * speed)), rel=0.01)
    assert lag[-1] < SIZE / (2 * np.pi * beta)


finite = st.floats(-1e4, 1e4)


@given(finite, finite, st.lists(st.floats(1e-3, 0.5), min_size=1, max_size=8))
def test_a_constant_stays(x: float, y: float, steps: list[float]) -> None:
    smoother = KeypointSmoother()
    places = np.array([[[x, y]]])
    for seconds in np.cumsum(steps):
        assert_array_equal(places_of(smoother(frame(places), [7], float(seconds))), places)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_larger_pictures_are_smoothed_alike(seed: int, scale: float) -> None:
    video = noise(seed, frames=10)
    small = smoothed(KeypointSmoother(), video)
    large = smoothed(KeypointSmoother(), video * scale, size=SIZE * scale)
    assert_allclose(large, small * scale)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_slower_time_is_a_lower_cutoff(seed: int, scale: float) -> None:
    video = noise(seed, frames=10)
    one = smoothed(KeypointSmoother(2.0, 5.0, 1.0, patience=10), video)
    slow = KeypointSmoother(2.0 / scale, 5.0, 1.0 / scale, patience=10)
    assert_allclose(smoothed(slow, video, rate=RATE / scale), one)


def test_the_order_of_instances_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    video = noise(frames=20)
    expected = smoothed(KeypointSmoother(), video)
    smoother = KeypointSmoother()
    for at, places in enumerate(video):
        order = rng.permutation(2)
        ids = (order + 40).tolist()
        filtered = places_of(smoother(frame(places[order]), ids, at / RATE))
        assert_array_equal(filtered, expected[at, order])


def test_uneven_frames_of_a_steady_motion_lag_evenly() -> None:
    rng = np.random.default_rng(0)
    seconds = np.cumsum(rng.uniform(0.01, 0.06, 200))
    smoother = KeypointSmoother()
    lags = []
    for time in seconds:
        places = np.full((1, 1, 2), 80 * time)
        lags.append((places - places_of(smoother(frame(places), [0], time))).max())
    assert np.std(lags[100:]) < 0.2 * np.mean(lags[100:])


def test_what_is_not_seen_passes_through_and_begins_anew() -> None:
    smoother = KeypointSmoother()
    still, far = np.full((1, 2, 2), 50.0), np.full((1, 2, 2), 60.0)
    smoother(frame(still), [0], 0.0)
    weak = frame(far)
    assert weak.keypoints is not None
    weak.keypoints[0, 1, 2] = 0.01
    places = places_of(smoother(weak, [0], 0.1))
    assert (places[0, 0] < 59).all()
    assert (places[0, 1] == 60).all()
    again = places_of(smoother(frame(still), [0], 0.2))
    assert (again[0, 0] > 51).all()
    assert (again[0, 1] == 50).all()


def test_instances_without_keypoints_pass_through() -> None:
    smoother = KeypointSmoother()
    places = noise()[0]
    places[1] = np.nan
    for seconds in (0.0, 0.1):
        filtered = smoother(frame(places), [0, 1], seconds)
        assert_array_equal(places_of(filtered), places)
    none = replace(frame(places), keypoints=None)
    assert smoother(none, [0, 1], 0.2) is none
    assert len(smoother(frame(places[:0]), [], 0.3)) == 0


@pytest.mark.parametrize(("gap", "begins_anew"), [(0.9, False), (1.1, True), (0.0, True)])
@pytest.mark.parametrize("direction", [1, -1])
def test_what_is_gone_is_forgotten(gap: float, begins_anew: bool, direction: int) -> None:
    smoother = KeypointSmoother()
    smoother(frame(np.full((1, 1, 2), 50.0)), [0], 5.0)
    places = places_of(smoother(frame(np.full((1, 1, 2), 80.0)), [0], 5.0 + direction * gap))
    assert (places == 80).all() == (begins_anew or direction < 0)


def test_what_is_given_is_not_touched() -> None:
    smoother = KeypointSmoother()
    video = noise(frames=2)
    for at, places in enumerate(video):
        original = frame(places, score=0.7)
        assert original.keypoints is not None
        original.keypoints.setflags(write=False)
        filtered = smoother(original, [0, 1], float(at) / RATE)
        assert_array_equal(places_of(original), places)
        assert filtered.keypoints is not None
        assert (filtered.keypoints[..., 2] == 0.7).all()
        assert filtered.boxes is original.boxes
