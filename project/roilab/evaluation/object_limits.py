"""Sentences about images with more objects than COCO's rules, or a limit, count."""

from collections import Counter
from collections.abc import Mapping, Sequence

from roilab.evaluation.ap import COCO_MAX_DETECTIONS, TASK_NAMES, GroundTruth


def raised_limits(truth: GroundTruth, tasks: Sequence[str]) -> list[str]:
    """Sentences about the tasks whose AP counts more detections than COCO's, with the numbers.

    None where `truth.max_detections` sets their number.
    """
    names: dict[str, list[str]] = {}
    for task in tasks if truth.max_detections is None else ():
        coco, limit = COCO_MAX_DETECTIONS[task], truth.detection_limit(task)
        if limit > coco:
            images = _images(truth, truth.objects_per_image(task), coco)
            text = f"{images} more than {coco} objects of a class, so that the best {limit} count"
            names.setdefault(text, []).append(f"{TASK_NAMES[task]} AP")
    return [f"{text} for {' and '.join(of_text)}" for text, of_text in names.items()]


def exceeded_limits(
    truth: GroundTruth, tasks: Sequence[str], limits_of_model: Mapping[str, int]
) -> list[str]:
    """Sentences about the limits that leave out objects of a data set, with the numbers.

    No model reaches an AP of 100 on such images: objects beyond a limit count as missed.

    Args:
        limits_of_model: the largest number of detections of all classes that a model returns for
            an image, by the config key that sets it.
    """
    rows = [
        (f"{TASK_NAMES[task]} AP", truth.objects_per_image(task), truth.detection_limit(task), True)
        for task in tasks
    ]
    of_all = truth.objects_per_image("bbox", by_class=False)
    rows += [(f"the model ({key})", of_all, at, False) for key, at in limits_of_model.items()]
    # Limits that leave out the same objects share a sentence.
    names: dict[str, list[str]] = {}
    for name, objects, limit, by_class in rows:
        lost = sum(max(0, number - limit) for number in objects.values())
        if lost:
            text = (
                f"{_images(truth, objects, limit)} more than {limit} "
                f"{'objects of a class' if by_class else 'objects'}, up to "
                f"{max(objects.values())}: {lost} of {objects.total()} objects are left out"
            )
            names.setdefault(text, []).append(name)
    return [f"{text} by {' and '.join(of_text)}" for text, of_text in names.items()]


def _images(truth: GroundTruth, objects: Counter[tuple[int, int]], limit: int) -> str:
    """The images beyond a limit as the subject of a sentence, with its verb."""
    count = len({image for (image, _), number in objects.items() if number > limit})
    return f"{count} of {len(truth.coco['images'])} images {'has' if count == 1 else 'have'}"
