"""Export of a run folder to a file in one of the formats, checked before it is written.

The check compares the predictions of the exported model with those of the model.
"""

import copy
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from PIL import Image

from roilab import __version__
from roilab.engine.load_run import load_run
from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.export.detector import Detector
from roilab.export.formats import Array, Runner, runner, serialise
from roilab.export.parts import THRESHOLD
from roilab.files import write_whole
from roilab.inference import Prediction, Predictor
from roilab.inference.predictor import KEYPOINT_THRESHOLD
from roilab.text import counted

# The plain layers: those that are faster on the CPU choose their way by values.
_PLAIN = ("train.device=cpu", "train.cpu_kernels=false", "train.channels_last=false")

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
        """Whether the differences are within the bars."""
        near = self.boxes <= BOX_BAR and self.keypoints <= KEYPOINT_BAR and self.masks >= MASK_BAR
        return near and not self.alone


@dataclass(frozen=True)
class Exported:
    """The exported file's size in bytes, its outputs, and how far it differs from the model."""

    bytes: int
    outputs: tuple[str, ...]
    differences: tuple[Differences, ...]  # one for each image of the check


def export_run(
    run: Run,
    output: Path,
    format: str,
    check: Sequence[Array],
    *,
    overrides: Sequence[str] = (),
    expected: Path | None = None,
) -> Exported:
    """Write the model of a run as a file, if the file predicts what the model predicts.

    Args:
        format: one of `FORMATS`.
        check: H x W x 3 RGB images with instances, for the comparison.
        overrides: of the run's config.
        expected: an .npz file to write, with those images and the model's predictions.

    Raises:
        UserError: the model cannot be exported, or the file predicts something else; then nothing
            is written.
    """
    for path in (output, expected):
        if path is not None and path.is_dir():
            raise UserError("a file is written, and this is a folder", file=path)
    predictor = Predictor.from_run(run, [*overrides, "train.device=cpu"])
    metadata = _metadata(predictor)
    _, plain = load_run(run, [*overrides, *_PLAIN])
    detector = Detector(plain, predictor.image_format, predictor.classes, predictor.skeleton)
    content = serialise(detector, format, metadata)
    model = runner(content, format, detector.outputs)
    box_predictor = detector.model.roi_heads.box_predictor
    threshold = box_predictor.test_score_thresh
    most = box_predictor.test_topk_per_image
    # As numpy's .npz file holds them: outputs with the number of the image, such as boxes0;
    # mask_ignore0 has the pixels that do not count.
    arrays: dict[str, Any] = {}
    differences = []
    for index, image in enumerate(check_images(check)):
        prediction, ignore = reference(predictor, image)
        exported = predicted(model, predictor, image)
        differences.append(check_parity(prediction, exported, threshold, most, ignore))
        names = ("boxes", "scores", "masks", "keypoints")
        outputs = {name: getattr(prediction, name) for name in names}
        for name, value in {"image": image, **outputs, "mask_ignore": ignore}.items():
            if value is not None:
                arrays[f"{name}{index}"] = value

    _refuse_different(differences)
    if expected is not None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_whole(expected, buffer.getvalue())
    write_whole(output, content)
    return Exported(len(content), detector.outputs, tuple(differences))


def _metadata(predictor: Predictor) -> dict[str, Any]:
    """The metadata of an exported file; docs/export.md has the list."""
    model: Any = predictor.model
    skeleton = predictor.skeleton
    return {
        "classes": list(predictor.classes),
        "skeleton": None if skeleton is None else skeleton.to_dict(),
        "resize": _resizing(list(_flat(predictor.augmentations))),
        "score_threshold": model.roi_heads.box_predictor.test_score_thresh,
        "roilab": __version__,
    }


def _flat(augmentation: T.Augmentation) -> Iterator[T.Augmentation]:
    if isinstance(augmentation, T.AugmentationList):
        for part in augmentation.augs:
            yield from _flat(part)
    else:
        yield augmentation


def _resizing(augmentations: Sequence[T.Augmentation]) -> dict[str, int] | None:
    """The sides to which images are resized for the model; None: they keep their own."""
    if not augmentations:
        return None
    first, *others = augmentations
    plain = type(first) is T.ResizeShortestEdge and first.interp == Image.Resampling.BILINEAR
    sides = set(first.short_edge_length) if plain and not others else set()
    if len(sides) != 1:
        raise UserError(
            "whoever runs the file has to prepare images as the evaluation does",
            key="dataloader.test.augmentations",
            found=", ".join(map(str, augmentations)),
            expected="none, or one ResizeShortestEdge with one length and bilinear resizing",
        )
    return {"short_edge": int(sides.pop()), "max_size": int(first.max_size)}


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
    outputs = run(np.array(seen.image, order="C"), (height, width))
    labels = tuple(predictor.classes[label] for label in outputs["labels"])
    return Prediction(
        width,
        height,
        outputs["boxes"],
        outputs["scores"],
        labels,
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

    def finished(threshold: float) -> Any:
        # A copy, since it scales boxes in place.
        return detector_postprocess(copy.deepcopy(seen), *image.shape[:2], threshold)

    prediction = predictor.to_prediction(finished(THRESHOLD))
    if prediction.masks is None:
        return prediction, None
    largest = finished(THRESHOLD - _PROBABILITY_NOISE).pred_masks
    smallest = finished(THRESHOLD + _PROBABILITY_NOISE).pred_masks
    return prediction, (largest & ~smallest).numpy()


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
    pairs = _pairs(expected, exported)
    # Rounding decides about an instance whose score is at the threshold or, where there are as many
    # as there may be, at the score of the last.
    bars = [threshold]
    bars += [
        side.scores.min() for side in (expected, exported) if len(side) and 0 <= most <= len(side)
    ]
    sure = max(bars) + _SCORE_NOISE
    alone = 0
    for index, side in enumerate((expected, exported)):
        unmatched = np.delete(side.scores, [pair[index] for pair in pairs])
        alone += int((unmatched > sure).sum())
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


def _refuse_different(differences: Sequence[Differences]) -> None:
    """Raise a UserError where a file differs by more than the bars, or no image holds anything."""
    if worst := [image for image in differences if not image.acceptable]:
        raise UserError(
            "the exported model does not find what the model finds; nothing is written",
            found="\n            ".join(map(str, worst)),
            expected=f"boxes {BOX_BAR} px, keypoints {KEYPOINT_BAR} px, masks IoU {MASK_BAR}",
        )
    if not any(image.instances for image in differences):
        raise UserError(
            "the model finds nothing in the images of the check, which therefore proves nothing",
            key="check",
            expected="images in which the model finds instances",
        )
