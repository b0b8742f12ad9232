"""Measures against rare classes: their images are drawn more often, their instances weigh more."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from detectron2.data.samplers import RepeatFactorTrainingSampler

from roilab.data.dataset import DetectionDataset
from roilab.text import first_of


def repeat_factors(dataset: DetectionDataset, threshold: float) -> list[float]:
    """The number of times that a pass draws each image, on average: as its rarest class asks.

    "LVIS" (arXiv 1908.03195, v2), Appendix B.2, by Detectron2's own function. Crowds, which are
    not trained on, do not count. An image without instances is drawn once.

    Args:
        threshold: the share of the images below which a class is rare.
    """
    records = [
        {"annotations": [{"category_id": number} for number in sorted(numbers)]}
        for numbers in _classes_by_image(dataset)
    ]
    of_images = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency
    return [float(factor) for factor in of_images(records, threshold)]


def class_repeat_factor(images_with_class: int, images: int, threshold: float) -> float:
    """The factor of an image of one class: max(1, sqrt(threshold / the share of the class)).

    Args:
        images_with_class, images: at least 1; the images that have an instance of the class, and
            all that are drawn.
    """
    return max(1.0, math.sqrt(threshold * images / images_with_class))


def rare_classes(dataset: DetectionDataset, threshold: float) -> dict[str, float]:
    """The classes that fewer than this share of the images have, and their repeat factors."""
    counts = Counter(number for numbers in _classes_by_image(dataset) for number in numbers)
    factors = {
        dataset.classes[number]: class_repeat_factor(count, len(dataset), threshold)
        for number, count in sorted(counts.items())
    }
    return {name: factor for name, factor in factors.items() if factor > 1}


def describe_repeats(dataset: DetectionDataset, threshold: float) -> str:
    """A line for the log: the classes whose images are drawn more often, and how often."""
    rare = rare_classes(dataset, threshold)
    if not rare:
        return f"each class is in at least {threshold:.2%} of the images: none is drawn more often"
    longer = sum(repeat_factors(dataset, threshold)) / len(dataset)
    times = first_of([f"{name} {factor:.2f}" for name, factor in rare.items()], 10)
    return f"a pass draws {longer:.2f} times as many images; those of rare classes: {times}"


def class_weights(counts: Sequence[int], beta: float) -> list[float]:
    """Weights of an instance of each class in a loss: the less, the more instances it has.

    It is the inverse of the effective number of instances, (1 - beta^n) / (1 - beta) of n
    ("Class-Balanced Loss", arXiv 1901.05555, Sec. 3.3), scaled so that the mean over all instances
    is 1, and a loss keeps its scale. A class without instances weighs 1.

    Args:
        counts: instances by class.
        beta: at least 0 and below 1. At 0 all instances weigh the same; towards 1, all instances of
            a class together weigh as much as those of any other.
    """
    numbers = np.array(counts, dtype=float)
    weights = np.ones(len(numbers))
    has_any = numbers > 0
    weights[has_any] = (1 - beta) / (1 - beta ** numbers[has_any])
    if has_any.any():
        weights[has_any] *= numbers.sum() / (numbers * weights).sum()
    return [float(weight) for weight in weights]


def instances_by_class(dataset: DetectionDataset) -> list[int]:
    """The number of instances that a data set has of each class, without crowds."""
    counts = Counter(
        anno["category_id"]
        for record in dataset.records
        for anno in record["annotations"]
        if not anno.get("iscrowd", 0)
    )
    return [counts[number] for number in range(len(dataset.classes))]


def _classes_by_image(dataset: DetectionDataset) -> list[set[int]]:
    """The numbers of the classes that the instances of each image have."""
    return [
        {anno["category_id"] for anno in record["annotations"] if not anno.get("iscrowd", 0)}
        for record in dataset.records
    ]
