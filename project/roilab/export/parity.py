"""The comparison of an exported model's predictions with those of the model."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import numpy.typing as npt
import torch
from detectron2.modeling.postprocessing import detector_postprocess

from roilab.errors import UserError
from roilab.export.formats import Outputs, Runner
from roilab.export.parts import THRESHOLD
from roilab.inference import Prediction, Predictor
from roilab.inference.predictor import KEYPOINT_THRESHOLD
from roilab.text import counted

Array = npt.NDArray[Any]

BOX_BAR, KEYPOINT_BAR, MASK_BAR = 0.5, 0.5, 0.99  # pixels, pixels, IoU
# Another order of additions moves scores by some 1e-6; an instance may cross the threshold by it.
_SCORE_NOISE = 1e-3
# It moves a mask's probabilities by some 1e-6 and its box by some 1e-4 pixels, of which a
# probability changes by at most a few tenths each: nearer to the threshold, a pixel may be on
# either side of it.
_PROBABILITY_NOISE = 1e-4
_NEAR = 4.0  # pixels between boxes of the same instance, at most


@dataclass(frozen=True)
class Differences:
    """Differences between two predictions for one image."""

    size: tuple[int, int]  # height and width of the image
    instances: int  # that both have
    alone: int = 0  # that only one has, and not at the threshold of scores
    boxes: float = 0.0  # the largest difference of a coordinate, in pixels
    keypoints: float = 0.0  # the same, of keypoints that have a peak in their heat map
    peaks: int = 0  # the number of those
    masks: float = 1.0  # the least IoU, without pixels whose probability is at the threshold
    scores: float = 0.0  # the largest difference

    def __str__(self) -> str:
        height, width = self.size
        text = f"{width} x {height}: {counted(self.instances, 'instance')}"
        if self.alone:
            text += f", {self.alone} that only one finds"
        if self.instances:
            text += f"; boxes {self.boxes:.2g} px, scores {self.scores:.1g}"
            text += f", masks IoU {self.masks:.4f}"
            if self.peaks:
                text += f", {counted(self.peaks, 'keypoint')} {self.keypoints:.2g} px"
        return text

    @property
    def acceptable(self) -> bool:
        near = self.boxes <= BOX_BAR and self.keypoints <= KEYPOINT_BAR and self.masks >= MASK_BAR
        return near and not self.alone


def check_images(images: Sequence[Array]) -> Iterator[Array]:
    """Images of several sizes, from those of the caller: whole, cut, and one of noise."""
    for image in images:
        height, width = image.shape[:2]
        yield image
        yield np.ascontiguousarray(image[: max(1, height * 5 // 8), : max(1, width * 7 // 8)])
    # Of one colour, anchors would have equal scores, of which either may come first.
    yield np.random.default_rng(0).integers(0, 256, (97, 131, 3), dtype=np.uint8)


def predicted(run: Runner, predictor: Predictor, image: Array) -> Prediction:
    """The prediction of an exported model for an image, resized as the predictor resizes it."""
    seen = T.AugInput(image)
    predictor.augmentations(seen)
    height, width = image.shape[:2]
    outputs: Outputs = run(np.array(seen.image, order="C"), (height, width))
    labels = tuple(predictor.classes[label] for label in outputs["labels"])
    return Prediction(
        *(width, height, outputs["boxes"], outputs["scores"], labels),
        masks=outputs.get("masks"),
        keypoints=outputs.get("keypoints"),
        mask_scores=outputs.get("mask_scores"),
    )


def reference(predictor: Predictor, image: Array) -> tuple[Prediction, Array | None]:
    """The model's prediction for an H x W x 3 image, and the mask pixels that rounding decides.

    Those are N x H x W bool, true where a mask's probability is within rounding of the threshold;
    None where the model has no masks.
    """
    model: Any = predictor.model
    with torch.inference_mode():
        (seen,) = model.inference([predictor.prepare(image)], do_postprocess=False)
    most, at, least = (  # it scales boxes in place
        detector_postprocess(copy.deepcopy(seen), *image.shape[:2], THRESHOLD + noise)
        for noise in (-_PROBABILITY_NOISE, 0, _PROBABILITY_NOISE)
    )
    prediction = predictor.to_prediction(at)
    if prediction.masks is None:
        return prediction, None
    return prediction, (most.pred_masks & ~least.pred_masks).numpy()


def check_parity(
    expected: Prediction,
    exported: Prediction,
    threshold: float,
    most: int,
    ignore: Array | None = None,
) -> Differences:
    """Compare the model's prediction with that of its exported file.

    Args:
        threshold: the score above which the model has instances.
        most: how many it has at most; below 0: all.
        ignore: N x H x W bool, the pixels of expected masks that do not count; None: all count.
    """
    pairs, both = _pairs(expected, exported), (expected, exported)
    last = [side.scores.min() for side in both if 0 <= most <= len(side) != 0]
    sure = max([threshold, *last]) + _SCORE_NOISE
    alone = sum(
        int((np.delete(side.scores, [pair[index] for pair in pairs]) > sure).sum())
        for index, side in enumerate(both)
    )
    size = (expected.height, expected.width)
    if not pairs:
        return Differences(size, 0, alone)
    a, b = np.array(pairs).T
    values: dict[str, Any] = {}
    if expected.masks is not None and exported.masks is not None:
        compared = True if ignore is None else ~ignore[a]
        values["masks"] = _least_iou(expected.masks[a] & compared, exported.masks[b] & compared)
    if expected.keypoints is not None and exported.keypoints is not None:
        points, others = expected.keypoints[a], exported.keypoints[b]
        has_peak = points[..., 2] > KEYPOINT_THRESHOLD  # false for what has no keypoints
        apart = np.abs(points - others)[has_peak][:, :2]
        values |= {"keypoints": float(apart.max(initial=0)), "peaks": int(has_peak.sum())}
    scores = np.abs(expected.scores[a] - exported.scores[b]).max()
    if expected.mask_scores is not None and exported.mask_scores is not None:
        scores = max(scores, np.abs(expected.mask_scores[a] - exported.mask_scores[b]).max())
    boxes = np.abs(expected.boxes[a] - exported.boxes[b]).max()
    return Differences(size, len(pairs), alone, float(boxes), scores=float(scores), **values)


def _pairs(expected: Prediction, exported: Prediction) -> list[tuple[int, int]]:
    """Indices of the same instance in both: of one class, the boxes nearest to each other."""
    free = set(range(len(exported)))
    pairs = []
    for index, label in enumerate(expected.labels):
        distance = {
            other: float(np.abs(expected.boxes[index] - exported.boxes[other]).max())
            for other in free
            if exported.labels[other] == label
        }
        nearest = min(distance, key=distance.__getitem__, default=None)
        if nearest is not None and distance[nearest] <= _NEAR:
            pairs.append((index, nearest))
            free.discard(nearest)
    return pairs


def _least_iou(masks: Array, others: Array) -> float:
    both = (masks & others).sum(axis=(1, 2))
    either = (masks | others).sum(axis=(1, 2))
    return float(np.where(either, both / np.maximum(either, 1), 1.0).min())


def refuse_different(differences: Sequence[Differences]) -> None:
    """Raise a UserError where a file differs by more than the bars, or no image holds anything."""
    worst = [image for image in differences if not image.acceptable]
    if worst:
        raise UserError(
            "the exported model does not find what the model finds; nothing is written",
            found="\n            ".join(map(str, worst)),
            expected=f"boxes {BOX_BAR} px, keypoints {KEYPOINT_BAR} px, masks IoU {MASK_BAR}",
        )
    if not any(image.instances for image in differences):
        raise UserError(
            "the model finds nothing in the images of the check, which so says nothing",
            key="check",
            expected="images in which the model finds instances",
        )


def expected_arrays(
    images: Sequence[Array], references: Sequence[tuple[Prediction, Array | None]]
) -> dict[str, Any]:
    """Images and their references, as numpy's .npz file holds them.

    Names are those of the outputs with the number of the image, such as boxes0; mask_ignore0 has
    the pixels that do not count.
    """
    arrays: dict[str, Any] = {}
    for index, (image, (prediction, ignore)) in enumerate(zip(images, references, strict=True)):
        names = ("boxes", "scores", "masks", "keypoints")
        parts = {"image": image, **{name: getattr(prediction, name) for name in names}}
        for name, value in {**parts, "mask_ignore": ignore}.items():
            if value is not None:
                arrays[f"{name}{index}"] = value
    return arrays
