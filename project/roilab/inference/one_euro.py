"""The One-Euro filter, which steadies the keypoints of a video."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from roilab.inference.predictor import KEYPOINT_THRESHOLD, Array, Prediction


class _State(NamedTuple):
    """The last input of a track's filter, in pixels at a time in seconds, and what came of it.

    `raw` is the input, `smooth` the output, NaN for keypoints that were not in the input, and
    `velocity` in pixels a second, smoothed: each (K, 2).
    """

    seconds: float
    raw: Array
    smooth: Array
    velocity: Array


class KeypointSmoother:
    """The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) on the keypoints of tracks.

    A low-pass filter whose cutoff grows with speed: slow keypoints do not tremble, fast ones hardly
    lag. Speeds are in sizes of the instance a second, the size being the square root of its box's
    area, so that the same parameters suit small and large pictures, near and far objects.

    A keypoint whose score is not above `KEYPOINT_THRESHOLD` may be anywhere: it is left as it is,
    and its filter starts again when it is seen again. So do all filters where time stands still.

    Args:
        min_cutoff: of a keypoint at rest, in Hz. Lower is steadier.
        beta: what a speed of one size a second adds to the cutoff, in Hz. Higher lags less: at a
            steady speed a keypoint is never more than 1 / (2 pi beta) sizes behind.
        derivative_cutoff: of the speed itself, in Hz.
        patience: the seconds after which a track that is gone is forgotten.
    """

    def __init__(
        self,
        min_cutoff: float = 1.0,
        beta: float = 8.0,
        derivative_cutoff: float = 1.0,
        *,
        patience: float = 1.0,
    ) -> None:
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.derivative_cutoff = derivative_cutoff
        self.patience = patience
        self._states: dict[int, _State] = {}

    def __call__(
        self, prediction: Prediction, ids: Sequence[int] | npt.NDArray[np.int64], seconds: float
    ) -> Prediction:
        """The instances of a frame with x and y of their keypoints smoothed; scores stay.

        `ids` are the N numbers of the tracker; frames need not be evenly apart.
        """
        if prediction.keypoints is None or not len(prediction):
            return prediction
        self._states = {
            number: state
            for number, state in self._states.items()
            if 0 < seconds - state.seconds <= self.patience
        }
        raw = prediction.keypoints[..., :2].astype(float)
        seen = prediction.keypoints[..., 2:] > KEYPOINT_THRESHOLD
        none = np.full(raw.shape[1:], np.nan)
        new = _State(seconds - 1, none, none, np.zeros_like(none))
        states = [self._states.get(int(number), new) for number in ids]
        times = np.array([state.seconds for state in states])
        last_raw = np.array([state.raw for state in states])
        last_smooth = np.array([state.smooth for state in states])
        last_velocity = np.array([state.velocity for state in states])
        known = seen & ~np.isnan(last_smooth)
        step = seconds - times[:, None, None]
        # From the inputs, not from the outputs, which lag: the speed is the same at any frame rate.
        change = (raw - last_raw) / step - last_velocity
        velocity = last_velocity + _weight(self.derivative_cutoff, step) * change
        velocity = np.where(known, velocity, 0.0)
        # N x 1 x 1, in pixels.
        sides = np.maximum(prediction.boxes[:, 2:] - prediction.boxes[:, :2], 1.0)
        sizes = np.sqrt(sides.prod(axis=1))[:, None, None]
        speed = np.linalg.norm(velocity, axis=2, keepdims=True) / sizes
        weight = _weight(self.min_cutoff + self.beta * speed, step)
        smooth = np.where(known, last_smooth + weight * (raw - last_smooth), raw)
        kept = np.where(seen, smooth, np.nan)
        for number, *state in zip(ids, raw, kept, velocity, strict=True):
            self._states[int(number)] = _State(seconds, *state)
        keypoints = prediction.keypoints.copy()
        keypoints[..., :2] = smooth
        return replace(prediction, keypoints=keypoints)


def _weight(cutoff: Array | float, step: Array) -> Array:
    """Weight of the newest value in a first-order low-pass filter; cutoff in Hz, step in s."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * cutoff * step)))
