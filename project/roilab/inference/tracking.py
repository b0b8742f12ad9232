"""Instances linked from frame to frame of a video, so that each keeps its number and colour."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from detectron2.structures import Boxes, pairwise_iou

from roilab.inference.one_euro import KeypointSmoother
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

    def __init__(
        self,
        skeleton: Skeleton | None = None,
        *,
        least: float = 0.2,
        patience: int = 15,
        sure: float = 0.5,
    ) -> None:
        self.sigmas = np.array(() if skeleton is None else skeleton.sigmas)
        self.least = least
        self.patience = patience
        self.sure = sure
        self._frame = self._next = 0
        self._tracks: list[_Track] = []

    def update(self, prediction: Prediction) -> npt.NDArray[np.int64]:
        """The numbers of the N instances of the next frame, from 0 on; no number is used twice."""
        self._frame += 1
        tracks = [t for t in self._tracks if self._frame - t.frame <= self.patience + 1]
        keypoints = np.full((len(prediction), len(self.sigmas), 3), np.nan)
        if len(self.sigmas) and prediction.keypoints is not None:
            keypoints[:] = prediction.keypoints
        links = self._links(prediction, keypoints, tracks)
        numbers = np.empty(len(prediction), dtype=np.int64)
        for index, label in enumerate(prediction.labels):
            box = prediction.boxes[index].astype(float)
            velocity = np.zeros(2)
            if index in links:
                known = tracks[links[index]]
                step = (_centre(box) - _centre(known.box)) / (self._frame - known.frame)
                velocity = _NEWEST * step + (1 - _NEWEST) * known.velocity
                number = known.number
            else:
                number = self._next
                self._next += 1
            numbers[index] = number
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
        similarity = pairwise_iou(detected, Boxes(torch.from_numpy(boxes))).numpy()
        if len(self.sigmas):
            places = np.array([track.keypoints for track in tracks])
            places[..., :2] += moved[:, None]
            area = (_area(prediction.boxes)[:, None] + _area(boxes)) / 2
            oks = _oks(keypoints, places, area, self.sigmas)
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


def _centre(box: Array) -> Array:
    return (box[:2] + box[2:]) / 2


def _area(boxes: Array) -> Array:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def _oks(one: Array, other: Array, area: Array, sigmas: Array) -> Array:
    """N x M, over the keypoints seen in both; NaN where there are none (COCO's definition).

    Keypoints are (N, K, 3) and (M, K, 3), areas (N, M) in square pixels.
    """
    seen = (one[:, None, :, 2] > KEYPOINT_THRESHOLD) & (other[:, :, 2] > KEYPOINT_THRESHOLD)
    terms = oks_terms(one[:, None, :, :2], other[:, :, :2], area[..., None], sigmas)
    total = np.where(seen, terms, 0).sum(axis=2)
    count = seen.sum(axis=2)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def frame_tracker(
    skeletons: Sequence[Skeleton | None], *, smooth: bool
) -> Callable[[FramePrediction], FramePrediction]:
    """A function that links the instances of each frame, in order, to those before."""
    pairs = [(Tracker(skeleton), KeypointSmoother()) for skeleton in skeletons]

    def track(result: FramePrediction) -> FramePrediction:
        predictions = []
        tracks = []
        for prediction, (tracker, smoother) in zip(result.predictions, pairs, strict=True):
            numbers = tracker.update(prediction).tolist()
            if smooth and result.frame.seconds is not None:
                prediction = smoother(prediction, numbers, result.frame.seconds)
            predictions.append(prediction)
            tracks.append(numbers)
        return replace(result, predictions=tuple(predictions), tracks=tuple(tracks))

    return track
