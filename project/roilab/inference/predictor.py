"""A run folder -> a callable that finds instances in an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from roilab.engine import config
from roilab.engine.predict import load_run
from roilab.engine.run import Run
from roilab.errors import UserError
from roilab.skeleton import Skeleton

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Instances of one image, best first, as numpy arrays in the image's own size.

    Attributes:
        width, height: of the image.
        boxes: (N, 4), x0 y0 x1 y1, continuous coordinates.
        scores: (N,), in [0, 1].
        labels: N class names.
        masks: (N, H, W) bool, or None where the model has no mask head.
        keypoints: (N, K, 3), x y in continuous coordinates and a score in [0, 1], see
            `roilab.modeling.KeypointHead`; NaN for instances of classes that the skeleton is not
            of; None where the model has no keypoint head.
        mask_scores: (N,), in [0, 1], by which masks are ranked; None where the head gives none.
    """

    width: int
    height: int
    boxes: Array
    scores: Array
    labels: tuple[str, ...]
    masks: Array | None
    keypoints: Array | None
    mask_scores: Array | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "Prediction":
        """Those whose score reaches the threshold."""
        keep = self.scores >= threshold
        return Prediction(
            self.width,
            self.height,
            self.boxes[keep],
            self.scores[keep],
            tuple(label for label, kept in zip(self.labels, keep, strict=True) if kept),
            None if self.masks is None else self.masks[keep],
            None if self.keypoints is None else self.keypoints[keep],
            None if self.mask_scores is None else self.mask_scores[keep],
        )


class Predictor:
    """Finds instances as the run's own evaluation does: same resizing, colours and weights.

    Args:
        model: a Detectron2 model with its weights; put into evaluation mode.
        augmentations: of the evaluation, such as resizing.
        image_format: the model's order of channels, "BGR" or "RGB".
        classes: names in the order of the model's outputs.
        skeleton: of the keypoints and the classes that have them.
    """

    def __init__(
        self,
        model: nn.Module,
        augmentations: Sequence[T.Augmentation],
        image_format: str,
        classes: Sequence[str],
        skeleton: Skeleton | None,
    ) -> None:
        if image_format not in ("BGR", "RGB"):
            raise UserError(
                "images are not predicted in this format",
                key="dataloader.test.image_format",
                found=image_format,
                expected="BGR or RGB",
            )
        self.model = model.eval()
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format
        self.classes = tuple(classes)
        self.skeleton = skeleton

    @classmethod
    def from_run(cls, run: Run, overrides: Sequence[str] = ()) -> "Predictor":
        """The predictor of a run folder, on `train.device` (a CUDA device where there is one).

        Raises:
            UserError: the run's weights and config do not fit together.
        """
        cfg, model = load_run(run, overrides)
        test = cfg.dataloader.test
        return cls(
            model,
            [config.build(node, "dataloader.test.augmentations") for node in test.augmentations],
            test.get("image_format", "BGR"),
            run.classes(),
            run.skeleton(),
        )

    @torch.inference_mode()
    def __call__(self, image: Array) -> Prediction:
        """Instances of an H x W x 3 uint8 RGB image, which is not touched.

        Raises:
            ValueError: an array of another form.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image: found {image.shape} {image.dtype}, expected H x W x 3 uint8")
        height, width = image.shape[:2]
        channels = image[:, :, ::-1] if self.image_format == "BGR" else image
        augmented = T.AugInput(np.array(channels, order="C"))
        self.augmentations(augmented)
        pixels = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        inputs = [{"image": pixels, "height": height, "width": width}]
        found = self.model(inputs)[0]["instances"].to("cpu")
        labels = tuple(self.classes[index] for index in found.pred_classes.tolist())
        keypoints = None
        if found.has("pred_keypoints"):
            keypoints = found.pred_keypoints.numpy().copy()
            keypoints[:, :, 2] = found.pred_keypoint_scores.numpy()
            has = set(self.skeleton.classes) if self.skeleton is not None else set()
            keypoints[[label not in has for label in labels]] = np.nan
        return Prediction(
            width,
            height,
            found.pred_boxes.tensor.numpy(),
            found.scores.numpy(),
            labels,
            found.pred_masks.numpy() if found.has("pred_masks") else None,
            keypoints,
            found.mask_scores.numpy() if found.has("mask_scores") else None,
        )
