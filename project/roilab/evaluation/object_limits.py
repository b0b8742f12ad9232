"""Sentences about images with more objects than COCO's rules, or a limit, count."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from roilab.evaluation.ap import (
    COCO_MAX_DETECTIONS,
    TASK_NAMES,
    detection_limit,
    objects_per_image,
)
from roilab.skeleton import Skeleton


def raised_limits(
    truth: Mapping[str, Any], tasks: Sequence[str], skeleton: Skeleton | None
) -> list[str]:
    """Sentences about the tasks whose AP counts more detections than COCO's, with the numbers.

    Args:
        truth: COCO json data.
        tasks, skeleton: as for `average_precision`, whose `max_detections` is None.
    """
    sentences: dict[str, list[str]] = {}
    for task in tasks:
        coco = COCO_MAX_DETECTIONS[task]
        limit = detection_limit(truth, task, skeleton, None)
        objects = objects_per_image(truth, task, skeleton, by_class=True)
        if limit > coco:
            images = _images(objects, coco, len(truth["images"]))
            text = f"{images} more than {coco} objects of a class, so that the best {limit} count"
            sentences.setdefault(text, []).append(f"{TASK_NAMES[task]} AP")
    return [f"{text} for {' and '.join(names)}" for text, names in sentences.items()]


def exceeded_limits(
    truth: Mapping[str, Any],
    tasks: Sequence[str],
    skeleton: Skeleton | None,
    max_detections: int | None,
    limits_of_model: Mapping[str, int],
) -> list[str]:
    """Sentences about the limits that leave out objects of a data set, with the numbers.

    No model reaches an AP of 100 on such images: objects beyond a limit count as missed.

    Args:
        truth: COCO json data.
        tasks, skeleton, max_detections: as for `average_precision`.
        limits_of_model: the largest number of detections of all classes that a model returns for
            an image, by the config key that sets it.
    """
    images = len(truth["images"])
    # Limits that leave out the same objects share a sentence.
    by_effect: dict[str, list[str]] = {}
    for task in tasks:
        of_class = objects_per_image(truth, task, skeleton, by_class=True)
        limit = detection_limit(truth, task, skeleton, max_detections)
        if beyond := _beyond(of_class, limit, images, "objects of a class"):
            by_effect.setdefault(beyond, []).append(f"{TASK_NAMES[task]} AP")
    of_all = objects_per_image(truth, "bbox", skeleton, by_class=False)
    for key, limit in limits_of_model.items():
        if beyond := _beyond(of_all, limit, images, "objects"):
            by_effect.setdefault(beyond, []).append(f"the model ({key})")
    return [f"{beyond} by {' and '.join(names)}" for beyond, names in by_effect.items()]


def _beyond(objects: Counter[tuple[int, int]], limit: int, images: int, what: str) -> str:
    """The number of objects beyond a limit, in words; "" for none."""
    lost = sum(max(0, number - limit) for number in objects.values())
    if not lost:
        return ""
    most = max(objects.values())
    return (
        f"{_images(objects, limit, images)} more than {limit} {what}, up to {most}: "
        f"{lost} of {objects.total()} objects are left out"
    )


def _images(objects: Counter[tuple[int, int]], limit: int, images: int) -> str:
    """The images beyond a limit as the subject of a sentence, with its verb."""
    count = len({image for (image, _), number in objects.items() if number > limit})
    return f"{count} of {images} images {'has' if count == 1 else 'have'}"
