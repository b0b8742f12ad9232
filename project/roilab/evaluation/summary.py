"""Everything behind the AP of one model on one data set, in one place for pages and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roilab.evaluation import details
from roilab.evaluation.details import WorkingPoint
from roilab.evaluation.matches import Matches, match
from roilab.skeleton import Skeleton


@dataclass(frozen=True)
class TaskSummary:
    """The analysis of one task.

    Attributes:
        strictness: AP in percent at each of `details.THRESHOLDS`, the mean over classes.
        points: by class.
        image_ap50: by image, see `details.image_ap50`; in percent.
    """

    strictness: tuple[float | None, ...]
    points: Mapping[str, WorkingPoint]
    image_ap50: tuple[float | None, ...]


@dataclass(frozen=True, eq=False)
class Summary:
    """The analysis of a model's AP on a data set; a part is None if there are no such objects.

    Attributes:
        score: from which on the working points and the confused classes count a detection.
        images: the images' files, in order of their ids.
        tasks: by the name of the task.
        labels, confusion: see `details.confusion`.
        joints: see `details.joints`; empty where keypoints are not among the tasks.
    """

    score: float
    images: tuple[str, ...]
    tasks: Mapping[str, TaskSummary]
    labels: tuple[str, ...]
    confusion: np.ndarray
    joints: Mapping[str, float | None]

    def worst(self, count: int) -> list[int]:
        """Positions of the images with the lowest per-image AP@0.5, the mean over tasks."""
        values = zip(*(task.image_ap50 for task in self.tasks.values()), strict=True)
        # The last of a running mean is the mean.
        means = [running_mean(each)[-1] for each in values]
        ranked = sorted((value, at) for at, value in enumerate(means) if value is not None)
        return [at for _, at in ranked[:count]]


def summarize(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    skeleton: Skeleton | None,
    score: float,
    max_detections: int | None = None,
) -> Summary:
    """Arguments as for `average_precision`, and the score of the working points, from 0 to 1.

    Where a head rates its masks, it is the rating that has to reach the score for a mask.
    """
    labels, confusion = details.confusion(truth, detections, score, max_detections)
    terms: dict[str, float | None] = {}
    if skeleton is not None and "keypoints" in tasks:
        terms = details.joints(truth, detections, skeleton, max_detections)
    return Summary(
        score=score,
        images=tuple(
            image["file_name"] for image in sorted(truth["images"], key=lambda image: image["id"])
        ),
        tasks={
            task: _one_task(match(truth, detections, task, skeleton, "all", max_detections), score)
            for task in tasks
        },
        labels=tuple(labels),
        confusion=confusion,
        joints=terms,
    )


def _one_task(matches: Mapping[str, Matches], score: float) -> TaskSummary:
    return TaskSummary(
        strictness=tuple(details.strictness(matches)),
        points={name: details.working_point(each, score) for name, each in matches.items()},
        image_ap50=tuple(details.image_ap50(matches)),
    )


def running_mean(values: Sequence[float | None]) -> list[float | None]:
    """The mean of the values up to each; None is not counted, and stands where nothing is yet."""
    total, count = 0.0, 0
    result: list[float | None] = []
    for value in values:
        if value is not None:
            total, count = total + value, count + 1
        result.append(total / count if count else None)
    return result
