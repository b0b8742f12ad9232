"""Instances linked from frame to frame of a video: their numbers, and their steadied keypoints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, pairwise_iou

from roilab.inference.predictor import KEYPOINT_THRESHOLD, Array, FramePrediction, Prediction
from roilab.skeleton import Skeleton, oks_terms

# How much of a track's velocity is that of its last step; the rest is what it was before.
_NEWEST = 0.5


class _Track(NamedTuple):
    """The last known state of a tracked object.

    Attributes:
        box: (4,), x0 y0 x1 y1.
        keypoints: (K, 3), x y score; NaN where there are none, K = 0 where they do not count.
        velocity: (2,), of the box's centre, in pixels a frame.
    """

    number: int
    label: str
    frame: int
    box: Array
    keypoints: Array
    velocity: Array


@dataclass(eq=False)
class Tracker:
    """Gives instances numbers that stay the same from frame to frame. For one video.

    Instances of one class are alike by the IoU of their boxes or, where both have keypoints, by the
    mean of that and of their OKS. A track is expected where its velocity takes it, so that objects
    that cross each other keep their numbers. The most similar are linked first, which needs no
    solver and hardly differs from the best assignment where objects overlap little. Instances with
    high scores choose before the others, after ByteTrack (Zhang et al., arXiv 2110.06864): a weak
    detection continues a track, but takes none away from a strong one.

    Args:
        skeleton: has the sigmas of OKS; without it keypoints do not count.
        least: the similarity, in [0, 1], below which instances are not linked.
        patience: the number of frames that a track may be lost before it ends.
        sure: the score from which an instance chooses first.
    """

    skeleton: Skeleton | None = None
    least: float = 0.2
    patience: int = 15
    sure: float = 0.5
    _tracks: list[_Track] = field(default_factory=list, init=False)
    _frame: int = field(default=0, init=False)
    _next: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.sigmas = np.array(() if self.skeleton is None else self.skeleton.sigmas)

    def update(self, prediction: Prediction) -> list[int]:
        """The numbers of the N instances of the next frame, from 0 on; no number is used twice."""
        self._frame += 1
        tracks = [t for t in self._tracks if self._frame - t.frame <= self.patience + 1]
        keypoints = np.full((len(prediction), len(self.sigmas), 3), np.nan)
        if len(self.sigmas) and prediction.keypoints is not None:
            keypoints[:] = prediction.keypoints
        links = self._links(prediction, keypoints, tracks)
        numbers = []
        for index, label in enumerate(prediction.labels):
            box = prediction.boxes[index].astype(float)
            velocity = np.zeros(2)
            if index in links:
                known = tracks[links[index]]
                shift = (box - known.box).reshape(2, 2).mean(axis=0)  # of the centre
                step = shift / (self._frame - known.frame)
                velocity = _NEWEST * step + (1 - _NEWEST) * known.velocity
                number = known.number
            else:
                number = self._next
                self._next += 1
            numbers.append(number)
            tracks.append(_Track(number, label, self._frame, box, keypoints[index], velocity))
        continued = set(links.values())
        self._tracks = [track for place, track in enumerate(tracks) if place not in continued]
        return numbers

    def _links(
        self, prediction: Prediction, keypoints: Array, tracks: list[_Track]
    ) -> dict[int, int]:
        """The place of an instance -> that of its track; each at most once."""
        if not tracks or not len(prediction):
            return {}
        frames = np.array([self._frame - track.frame for track in tracks])
        moved = np.array([track.velocity for track in tracks]) * frames[:, None]
        boxes = np.array([track.box for track in tracks]) + np.tile(moved, 2)
        detected = Boxes(torch.from_numpy(prediction.boxes.astype(float)))
        expected = Boxes(torch.from_numpy(boxes))
        similarity = pairwise_iou(detected, expected).numpy()
        if len(self.sigmas):
            places = np.array([track.keypoints for track in tracks])
            places[..., :2] += moved[:, None]
            area = (detected.area()[:, None] + expected.area()) / 2
            oks = _oks(keypoints, places, area.numpy(), self.sigmas)
            similarity = np.where(np.isnan(oks), similarity, (similarity + oks) / 2)
        labels = np.array([track.label for track in tracks])
        alike = np.array(prediction.labels)[:, None] == labels
        rows, columns = np.nonzero(alike & (similarity >= self.least))
        # Sure instances first, and among these the most similar pairs.
        order = np.lexsort((-similarity[rows, columns], prediction.scores[rows] < self.sure))
        links: dict[int, int] = {}
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
            if row not in links and column not in links.values():
                links[row] = column
        return links


def _oks(one: Array, other: Array, area: Array, sigmas: Array) -> Array:
    """N x M, over the keypoints seen in both; NaN where there are none (COCO's definition).

    Keypoints are (N, K, 3) and (M, K, 3), areas (N, M) in square pixels.
    """
    seen = (one[:, None, :, 2] > KEYPOINT_THRESHOLD) & (other[:, :, 2] > KEYPOINT_THRESHOLD)
    terms = oks_terms(one[:, None, :, :2], other[:, :, :2], area[..., None], sigmas)
    total = np.where(seen, terms, 0).sum(axis=2)
    count = seen.sum(axis=2)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


class _State(NamedTuple):
    """The last input of a track's filter, in pixels at a time in seconds, and what came of it.

    `raw` is the input, `smooth` the output, NaN for keypoints that were not in the input, and
    `velocity` in pixels a second, smoothed: each (K, 2).
    """

    seconds: float
    raw: Array
    smooth: Array
    velocity: Array


@dataclass(eq=False)
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

    min_cutoff: float = 1.0
    beta: float = 8.0
    derivative_cutoff: float = 1.0
    patience: float = 1.0
    _states: dict[int, _State] = field(default_factory=dict, init=False)

    def __call__(self, prediction: Prediction, ids: Sequence[int], seconds: float) -> Prediction:
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
        states = [self._states.get(number, new) for number in ids]
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
            self._states[number] = _State(seconds, *state)
        keypoints = prediction.keypoints.copy()
        keypoints[..., :2] = smooth
        return replace(prediction, keypoints=keypoints)


def _weight(cutoff: Array | float, step: Array) -> Array:
    """Weight of the newest value in a first-order low-pass filter; cutoff in Hz, step in s."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * cutoff * step)))


def frame_tracker(
    skeletons: Sequence[Skeleton | None], *, smooth: bool
) -> Callable[[FramePrediction], FramePrediction]:
    """A function that links the instances of each frame, in order, to those before."""
    pairs = [(Tracker(skeleton), KeypointSmoother()) for skeleton in skeletons]

    def track(result: FramePrediction) -> FramePrediction:
        predictions = []
        tracks = []
        for prediction, (tracker, smoother) in zip(result.predictions, pairs, strict=True):
            numbers = tracker.update(prediction)
            if smooth and result.frame.seconds is not None:
                prediction = smoother(prediction, numbers, result.frame.seconds)
            predictions.append(prediction)
            tracks.append(numbers)
        return replace(result, predictions=tuple(predictions), tracks=tuple(tracks))

    return track
