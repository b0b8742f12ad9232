"""Where images hold more objects than an evaluation counts, or a model gives, in one image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from roilab.evaluation.ap import COCO_MAX_DETECTIONS, scored
from roilab.skeleton import Skeleton

_TASKS = {"bbox": "box", "segm": "mask", "keypoints": "keypoint"}


def exceeded_limits(
    truth: Mapping[str, Any],
    tasks: Sequence[str],
    skeleton: Skeleton | None,
    max_detections: int | None,
    limits_of_model: Mapping[str, int],
) -> list[str]:
    """Sentences about the limits that images of a data set are beyond, with the numbers.

    No model can reach an AP of 100 on such images: what is beyond a limit counts as missed.

    Args:
        truth: COCO json data.
        tasks, skeleton, max_detections: as for `average_precision`.
        limits_of_model: the most detections that a model gives in an image, of all classes; by the
            key of the config that says so.
    """
    images = len(truth["images"])
    # Limits that leave out the same objects share a sentence: what is beyond -> what stops there.
    by_effect: dict[str, list[str]] = {}
    for task in tasks:
        limit = max_detections or COCO_MAX_DETECTIONS[task]
        whose = "evaluation.max_detections" if max_detections else "COCO's limit"
        of_class = objects_per_image(truth, task, skeleton, by_class=True)
        if beyond := _beyond(of_class, limit, images, "objects of a class"):
            by_effect.setdefault(beyond, []).append(f"{_TASKS[task]} AP ({whose})")
    of_all = objects_per_image(truth, "bbox", skeleton, by_class=False)
    for key, limit in limits_of_model.items():
        if beyond := _beyond(of_all, limit, images, "objects"):
            by_effect.setdefault(beyond, []).append(f"the model ({key})")
    return [f"{beyond} by {' and '.join(names)}" for beyond, names in by_effect.items()]


def objects_per_image(
    truth: Mapping[str, Any], task: str, skeleton: Skeleton | None, *, by_class: bool
) -> Counter[tuple[int, int]]:
    """How many objects count for a task in an image: (image id, category id) -> number.

    Without `by_class`, the category id is 0 and the number that of all classes. Crowds do not
    count, nor do objects without a labelled keypoint where it is about keypoints.
    """
    categories = {category["id"] for category in scored(truth, task, skeleton)}
    return Counter(
        (anno["image_id"], anno["category_id"] if by_class else 0)
        for anno in truth["annotations"]
        if anno["category_id"] in categories
        and not anno.get("iscrowd", 0)
        and (task != "keypoints" or anno.get("num_keypoints", 0) > 0)
    )


def _beyond(objects: Counter[tuple[int, int]], limit: int, images: int, what: str) -> str:
    """How many images are beyond a limit, in words; "": none is."""
    over = {place: number for place, number in objects.items() if number > limit}
    if not over:
        return ""
    count = len({image for image, _ in over})
    lost = sum(number - limit for number in over.values())
    has = "has" if count == 1 else "have"
    return (
        f"{count} of {images} images {has} more than {limit} {what}, up to {max(over.values())}: "
        f"{lost} of {objects.total()} objects are left out"
    )
