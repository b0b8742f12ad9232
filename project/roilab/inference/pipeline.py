"""Frames -> instances, linked over time where frames follow each other."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from roilab.inference.one_euro import KeypointSmoother
from roilab.inference.predictor import Prediction, Predictor
from roilab.inference.sources import Frame
from roilab.inference.tracking import Tracker
from roilab.memory import NotEnoughMemory
from roilab.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Found:
    """A frame and what each of several predictors finds in it.

    Attributes:
        predictions: of the predictors, in their order.
        tracks: of each prediction, N numbers; None where frames do not follow each other.
    """

    frame: Frame
    predictions: tuple[Prediction, ...]
    tracks: tuple[list[int] | None, ...]


def find(
    frames: Iterable[Frame], predictors: Sequence[Predictor], *, batch: int, threshold: float
) -> Iterator[Found | NotEnoughMemory]:
    """Predict each frame, in order, with at least this score; one too large gives its error.

    Args:
        batch: how many frames are given to a predictor at a time.
    """
    waiting = iter(frames)
    while group := list(itertools.islice(waiting, batch)):
        yield from _find(group, predictors, threshold)


def _find(
    group: Sequence[Frame], predictors: Sequence[Predictor], threshold: float
) -> Iterator[Found | NotEnoughMemory]:
    """Predict a group of frames; each alone where they do not fit into memory together."""
    images = [frame.image for frame in group]
    try:
        found = [predictor(images) for predictor in predictors]
    except NotEnoughMemory as error:
        if len(group) == 1:
            yield error.of_file(group[0].path or group[0].file_name)
            return
        for frame in group:
            yield from _find([frame], predictors, threshold)
        return
    for frame, predictions in zip(group, zip(*found, strict=True), strict=True):
        # What is left out is not held until the frame is drawn.
        kept = tuple(prediction.above(threshold) for prediction in predictions)
        yield Found(frame, kept, (None,) * len(kept))


def following(skeletons: Sequence[Skeleton | None], *, smooth: bool) -> Callable[[Found], Found]:
    """A function that links the instances of each frame, given in order, to those before.

    Args:
        skeletons: of the predictors.
        smooth: smooth keypoints over time.
    """
    trackers = [Tracker(skeleton) for skeleton in skeletons]
    smoothers = [KeypointSmoother() for _ in skeletons]

    def follow(found: Found) -> Found:
        predictions, tracks = [], []
        for prediction, tracker, smoother in zip(
            found.predictions, trackers, smoothers, strict=True
        ):
            numbers = tracker.update(prediction).tolist()
            if smooth and found.frame.seconds is not None:
                prediction = smoother(prediction, numbers, found.frame.seconds)
            predictions.append(prediction)
            tracks.append(numbers)
        return Found(found.frame, tuple(predictions), tuple(tracks))

    return follow
