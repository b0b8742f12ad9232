"""Predictions of frames, linked over time where frames follow each other."""

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from roilab.inference.one_euro import KeypointSmoother
from roilab.inference.predictor import Prediction, Predictor
from roilab.inference.sources import Frame
from roilab.inference.tracking import Tracker
from roilab.memory import NotEnoughMemory
from roilab.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class FramePrediction:
    """A frame with the predictions of several runs.

    Attributes:
        predictions: of the runs, in their order.
        tracks: of each prediction, N numbers; None where frames do not follow each other.
    """

    frame: Frame
    predictions: tuple[Prediction, ...]
    tracks: tuple[list[int] | None, ...]


def predict_frames(
    frames: Iterable[Frame], predictors: Sequence[Predictor], *, batch: int, threshold: float
) -> Generator[FramePrediction | NotEnoughMemory, None, None]:
    """Predict each frame, in order; a frame that is too large for the memory gives its error.

    Args:
        batch: the number of frames that a predictor gets at a time.
        threshold: the least score of an instance.
    """
    remaining = iter(frames)
    while group := list(itertools.islice(remaining, batch)):
        yield from _predict_group(group, predictors, threshold)


def _predict_group(
    group: Sequence[Frame], predictors: Sequence[Predictor], threshold: float
) -> Iterator[FramePrediction | NotEnoughMemory]:
    """Predict a group of frames; each alone where they do not fit into memory together."""
    images = [frame.image for frame in group]
    try:
        by_run = [predictor(images) for predictor in predictors]
    except NotEnoughMemory as error:
        if len(group) == 1:
            yield error.of_file(group[0].path or group[0].file_name)
            return
        for frame in group:
            yield from _predict_group([frame], predictors, threshold)
        return
    for frame, predictions in zip(group, zip(*by_run, strict=True), strict=True):
        # The instances below the threshold are not held until the frame is drawn.
        above = tuple(prediction.above(threshold) for prediction in predictions)
        yield FramePrediction(frame, above, (None,) * len(above))


def frame_tracker(
    skeletons: Sequence[Skeleton | None], *, smooth: bool
) -> Callable[[FramePrediction], FramePrediction]:
    """A function that links the instances of each frame, called in order, to those before.

    Args:
        skeletons: of the runs.
        smooth: smooth keypoints over time.
    """
    trackers = [Tracker(skeleton) for skeleton in skeletons]
    smoothers = [KeypointSmoother() for _ in skeletons]

    def track(result: FramePrediction) -> FramePrediction:
        predictions, tracks = [], []
        for prediction, tracker, smoother in zip(
            result.predictions, trackers, smoothers, strict=True
        ):
            numbers = tracker.update(prediction).tolist()
            if smooth and result.frame.seconds is not None:
                prediction = smoother(prediction, numbers, result.frame.seconds)
            predictions.append(prediction)
            tracks.append(numbers)
        return replace(result, predictions=tuple(predictions), tracks=tuple(tracks))

    return track
