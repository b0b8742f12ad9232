"""A predictor: the model of a run folder as a callable that finds instances in images."""

import itertools
import threading
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, overload

import detectron2.data.transforms as T
import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from detectron2.structures import Instances
from omegaconf import DictConfig
from pycocotools import mask as mask_utils
from torch import nn

from roilab.cpu import malloc, optimize, winograd
from roilab.data.coco import encode_mask
from roilab.engine import config
from roilab.engine.build_model import build_model, load_weights, weights_of
from roilab.engine.load_run import load_run
from roilab.engine.run_folder import Run
from roilab.engine.setup import fit_model
from roilab.errors import UserError
from roilab.evaluation.memory_bound import MemoryBound, bounded_inference, rcnn_of, resized_size
from roilab.evaluation.tta import AugmentedInference, Views
from roilab.image_files import read_rgb, to_rgb
from roilab.inference.sources import Frame
from roilab.memory import NotEnoughMemory
from roilab.modeling.keypoint_heads import KeypointHead
from roilab.skeleton import Skeleton

Array = npt.NDArray[Any]
Image: TypeAlias = Array | PIL.Image.Image | Path | str

# Of a keypoint's score in [0, 1]: below, the heat map has no peak, and a joint may be anywhere.
KEYPOINT_THRESHOLD = 0.05
# Images that go through the model together, at most: their features lie in memory together.
_MOST_AT_ONCE = 16
# Values in images whose features take hundreds of megabytes. For less, new memory costs a tenth of
# the time and saves nothing.
_MUCH = 3 * 2**19


@dataclass(frozen=True, eq=False)
class Prediction:
    """Instances of one image, best first, as numpy arrays in the image's own size.

    Attributes:
        boxes: (N, 4), x0 y0 x1 y1, continuous coordinates.
        scores: (N,), in [0, 1].
        labels: N class names.
        masks: (N, H, W) bool, or None where the model has no mask head.
        keypoints: (N, K, 3), x y in continuous coordinates and a score in [0, 1], see
            `roilab.modeling.KeypointHead`; NaN for instances of classes outside the skeleton; None
            where the model has no keypoint head.
        mask_scores: (N,), in [0, 1], by which masks are ranked; None where the head gives none.
        heatmaps: (N, K, H, W), the keypoint head's maps of each instance's box; None where they
            were not asked for, or the head has none.
        rles: N masks as COCO RLE whose counts are text, beside `masks` or in place of them; None
            where they are not encoded, or the model has no mask head.
    """

    width: int
    height: int
    boxes: Array
    scores: Array
    labels: tuple[str, ...]
    masks: Array | None
    keypoints: Array | None
    mask_scores: Array | None = None
    heatmaps: Array | None = None
    rles: tuple[dict[str, Any], ...] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "Prediction":
        """The instances whose score reaches the threshold."""
        return self.select(self.scores >= threshold)

    def select(self, keep: Array) -> "Prediction":
        """The instances of a boolean mask, or those of some indices, in that order."""
        indices = np.arange(len(self))[keep]
        parts: dict[str, Any] = {}
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray):
                parts[name] = values[indices]
            elif isinstance(values, tuple):
                parts[name] = tuple(values[index] for index in indices)
        return replace(self, **parts)

    def encoded_masks(self) -> tuple[dict[str, Any], ...] | None:
        """The masks as RLE, see `rles`; nothing is encoded twice."""
        if self.rles is not None or self.masks is None:
            return self.rles
        return tuple(map(encode_mask, self.masks))

    def compressed(self) -> "Prediction":
        """The same instances in kilobytes, to be kept for long: masks as RLE alone."""
        return replace(self, masks=None, rles=self.encoded_masks())

    def decompressed(self) -> "Prediction":
        """The same instances with the masks as arrays."""
        if self.masks is not None or self.rles is None:
            return self
        masks = np.zeros((len(self), self.height, self.width), dtype=bool)
        for mask, rle in zip(masks, self.rles, strict=True):
            mask[:] = mask_utils.decode(rle)
        return replace(self, masks=masks)


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


class Predictor:
    """Finds instances as the run's own evaluation does: same resizing, colours and weights.

    Arrays are RGB, unless `channels="BGR"` says that they are OpenCV's:

        predictor("photo.jpg")
        predictor(cv2.imread("photo.jpg"), channels="BGR")

    It may be called from several threads; the model works for one of them at a time, since it keeps
    every core busy by itself.

    Args:
        model: a Detectron2 model with its weights; changed, see `roilab.cpu.optimize`.
        augmentations: of the evaluation, such as resizing; none may be random.
        image_format: the model's order of channels, "BGR" or "RGB".
        classes: names in the order of the model's outputs.
        fast: in bfloat16 where that is faster. Otherwise the results are the model's, but for the
            rounding of float32.
        cpu_kernels: with fused blocks on the CPU, see `roilab.cpu.optimize`.
        max_memory: the most bytes that the work on an image may take; None: what is available.
            What would take more is refused before it is taken.
        tta: the views of test-time augmentation; None: the image alone.

    Raises:
        UserError: the model does not take the views, see `AugmentedInference`.
    """

    def __init__(
        self,
        model: nn.Module,
        augmentations: Sequence[T.Augmentation],
        image_format: str,
        classes: Sequence[str],
        skeleton: Skeleton | None,
        *,
        fast: bool = False,
        cpu_kernels: bool = True,
        max_memory: int | None = None,
        tta: Views | None = None,
    ) -> None:
        if image_format not in ("BGR", "RGB"):
            message = "images are not predicted in this format"
            key = "dataloader.test.image_format"
            raise UserError(message, key=key, found=image_format, expected="BGR or RGB")
        self.tta = None
        if tta is not None:
            self.tta = AugmentedInference(rcnn_of(model), tta, augmentations, skeleton)
        self.model = optimize.optimize_for_inference(model, fast=fast, cpu_kernels=cpu_kernels)
        # Views are of the image as it is.
        self.augmentations = T.AugmentationList([] if tta else list(augmentations))
        self.memory = MemoryBound(self.model, augmentations, max_memory, tta)
        self.image_format = image_format
        self.classes = tuple(classes)
        self.skeleton = skeleton
        self._lock = threading.Lock()
        self._keypoint_heads = [m for m in self.model.modules() if isinstance(m, KeypointHead)]
        malloc.give_freed_memory_back()

    @classmethod
    def from_run(
        cls,
        run: Run,
        overrides: Sequence[str] = (),
        *,
        fast: bool = False,
        max_memory: int | None = None,
        tta: Views | None = None,
    ) -> "Predictor":
        """The predictor of a run folder, on `train.device` (a CUDA device where there is one).

        Raises UserError if the run's weights and config do not fit together.
        """
        cfg, model = load_run(run, overrides)
        options = _settings(cfg) | {"fast": fast, "max_memory": max_memory, "tta": tta}
        return cls(model, classes=run.classes(), skeleton=run.skeleton(), **options)

    @classmethod
    def from_config(
        cls,
        config_file: str | Path,
        weights: str,
        classes: Sequence[str],
        skeleton: Skeleton | None = None,
        overrides: Sequence[str] = (),
        *,
        fast: bool = False,
        max_memory: int | None = None,
        tta: Views | None = None,
    ) -> "Predictor":
        """The predictor of a config with any weights for it, such as the model zoo's.

        Args:
            weights: a path, a URL, or a name in the config's `weights`, such as "coco".
            classes, skeleton: what the weights were trained for.

        Raises:
            UserError: weights, classes or skeleton do not fit the model.
        """
        cfg = config.load_config(config_file, overrides, init_checkpoint=weights)
        fit_model(cfg, classes, skeleton)
        model = build_model(cfg)
        load_weights(model, weights_of(cfg))
        options = _settings(cfg) | {"fast": fast, "max_memory": max_memory, "tta": tta}
        return cls(model, classes=classes, skeleton=skeleton, **options)

    @overload
    def __call__(  # type: ignore[overload-overlap] # a string is a sequence of strings, too
        self, images: Image, *, channels: str = "RGB", heatmaps: bool = False
    ) -> Prediction: ...

    @overload
    def __call__(
        self, images: Sequence[Image], *, channels: str = "RGB", heatmaps: bool = False
    ) -> list[Prediction]: ...

    def __call__(
        self, images: Image | Sequence[Image], *, channels: str = "RGB", heatmaps: bool = False
    ) -> Prediction | list[Prediction]:
        """Instances of an image, or of each of several; images of one shape share a forward pass.

        Args:
            channels: the order of an array's channels: "RGB", as Pillow, imageio, torchvision and
                matplotlib have it, or "BGR", as OpenCV (`cv2.imread`) and Detectron2's own
                `DefaultPredictor` do. No array says which it is: of the wrong order, the model
                sees wrong colours. Files and Pillow images know theirs.
            images: H x W x 3 uint8 arrays, which are not touched; Pillow images or files, both
                turned as their EXIF orientation says.
            heatmaps: return the maps of the keypoint head, too.

        Raises:
            UserError: a file or a Pillow image cannot be read.
            NotEnoughMemory: a UserError, too: the work on an image would take more memory than is
                available, or than is allowed.
            ValueError: an array of another form, an unknown order of channels, or "BGR" for a
                Pillow image.
        """
        if channels not in ("RGB", "BGR"):
            raise ValueError(f"channels: found {channels!r}, expected 'RGB' or 'BGR'")
        if images is None or isinstance(images, np.ndarray | PIL.Image.Image | Path | str):
            return self([images], channels=channels, heatmaps=heatmaps)[0]

        inputs = [self.prepare(image, channels) for image in images]
        groups: dict[torch.Size, list[int]] = defaultdict(list)
        for index, model_input in enumerate(inputs):
            groups[model_input["image"].shape].append(index)
        predictions: dict[int, Prediction] = {}
        with self._lock, torch.inference_mode():
            for head in self._keypoint_heads:
                head.keep_heatmaps = heatmaps
            for shape, group in groups.items():
                size = self._batch_size(*self._seen(shape), min(len(group), _MOST_AT_ONCE))
                for start in range(0, len(group), size):
                    part = group[start : start + size]
                    results = self._detect([inputs[index] for index in part], heatmaps)
                    predictions.update(zip(part, results, strict=True))
        # What the heads kept and freed would lie beside the features of the next images.
        winograd.give_scratch_back()
        if sum(model_input["image"].numel() for model_input in inputs) > _MUCH:
            malloc.give_freed_memory_back()
        return [predictions[index] for index in range(len(inputs))]

    def _detect(self, batch: Sequence[dict[str, Any]], heatmaps: bool) -> list[Prediction]:
        """The predictions for images of one shape; torch's errors of memory are NotEnoughMemory."""
        try:
            results = bounded_inference(self.model, batch, self.memory, self.tta)
            return [self.to_prediction(instances, heatmaps) for instances in results]
        except RuntimeError as error:
            # Torch has no class of its own for too little memory of the CPU.
            on_cpu = "DefaultCPUAllocator" in str(error)
            if not on_cpu and not isinstance(error, torch.OutOfMemoryError):
                raise
            height, width = self._seen(batch[0]["image"].shape)
            raise NotEnoughMemory(
                "the memory does not suffice",
                found=f"{len(batch)} x {width} x {height} pixels at once, as the model sees them",
                remedy="smaller or fewer images; dataloader.test.augmentations can make them "
                "smaller",
            ) from error

    def _seen(self, shape: torch.Size) -> tuple[int, int]:
        """Height and width in which the model sees an input of a shape, without views."""
        height, width = shape[1:]
        if self.tta is None:
            return height, width
        return resized_size(self.memory.augmentations, height, width)

    def _batch_size(self, height: int, width: int, most: int) -> int:
        """The number of images of a size that go through the model at once: `most`, or less."""
        try:
            self.memory.check_batch(height, width, most)
            return most
        except NotEnoughMemory:
            if most == 1:
                raise
        return self._batch_size(height, width, most // 2)

    def prepare(self, image: Image, channels: str = "RGB") -> dict[str, Any]:
        """An image as Detectron2's models take it; arguments are those of a call."""
        if isinstance(image, PIL.Image.Image):
            if channels != "RGB":
                raise ValueError(
                    "channels: 'BGR' is for arrays, and a Pillow image is RGB; one that was made "
                    "of an array of OpenCV's has the wrong colours: give the array itself"
                )
            self.memory.check_image(*image.size)
            try:
                pixels = to_rgb(image)
            except Exception as error:  # Pillow's readers raise what they like on bad content
                file = getattr(image, "filename", None) or None
                raise UserError("cannot read the image", file=file, found=error) from error
        elif isinstance(image, Path | str):
            pixels, channels = read_rgb(image, self.memory.check_image), "RGB"
        else:
            pixels = _checked_array(image)
        height, width = pixels.shape[:2]
        ordered = pixels if channels == self.image_format else pixels[:, :, ::-1]
        augmented = T.AugInput(np.array(ordered, order="C"))
        self.augmentations(augmented)
        tensor = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        return {"image": tensor, "height": height, "width": width}

    def to_prediction(self, instances: Instances, heatmaps: bool = False) -> Prediction:
        """The instances of one image as the model gives them, as a prediction."""
        fields = instances.to("cpu").get_fields()
        labels = tuple(self.classes[index] for index in fields["pred_classes"].tolist())

        def of(name: str) -> Array | None:
            return fields[name].numpy() if name in fields else None

        keypoints = None
        if "pred_keypoints" in fields:
            keypoints = fields["pred_keypoints"].numpy().copy()
            has = set(self.skeleton.classes) if self.skeleton is not None else set()
            keypoints[[label not in has for label in labels]] = np.nan
        height, width = instances.image_size
        return Prediction(
            width=width,
            height=height,
            boxes=fields["pred_boxes"].tensor.numpy(),
            scores=fields["scores"].numpy(),
            labels=labels,
            masks=of("pred_masks"),
            keypoints=keypoints,
            mask_scores=of("mask_scores"),
            heatmaps=of("pred_keypoint_heatmaps") if heatmaps else None,
        )


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """The arguments of a `Predictor` that a config states."""
    test = cfg.dataloader.test
    key = "dataloader.test.augmentations"
    return {
        "augmentations": [config.build(node, key) for node in test.augmentations],
        "image_format": test.get("image_format", "BGR"),
        "cpu_kernels": cfg.train.cpu_kernels,
    }


def predict_frames(
    frames: Iterable[Frame], predictors: Sequence[Predictor], *, batch: int, threshold: float
) -> Generator[FramePrediction | NotEnoughMemory, None, None]:
    """Predict each frame, in order; a frame that is too large for the memory gives its error.

    A predictor gets `batch` frames at a time; instances with scores below `threshold` are left out.
    """
    remaining = iter(frames)
    while group := list(itertools.islice(remaining, batch)):
        images = [frame.image for frame in group]
        try:
            by_run = [predictor(images) for predictor in predictors]
        except NotEnoughMemory as error:
            if len(group) == 1:
                yield error.replace(file=group[0].path or group[0].file_name)
            else:  # each alone
                yield from predict_frames(group, predictors, batch=1, threshold=threshold)
            continue
        for frame, *predictions in zip(group, *by_run, strict=True):
            # The instances below the threshold are not held until the frame is drawn.
            above = tuple(prediction.above(threshold) for prediction in predictions)
            yield FramePrediction(frame, above, (None,) * len(above))


def _checked_array(image: object) -> Array:
    """The image, if it is an array of pixels; otherwise a ValueError."""
    expected = "H x W x 3 uint8, RGB (or BGR with channels='BGR')"
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            return image
        text = f"{image.shape} {image.dtype}"
    elif image is None:
        text = "None, which OpenCV gives for a file that it cannot read"
    else:
        text = type(image).__name__
        expected = f"a file, a Pillow image or an array, {expected}"
    raise ValueError(f"image: found {text}, expected {expected}")
