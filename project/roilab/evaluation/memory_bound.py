"""Inference within a bound of the memory that an image needs, checked before it is allocated.

Three parts count: decoding the file, the model's features, and the masks, each of which has a byte
for each pixel of the image.
"""

import contextlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from roilab.errors import argument
from roilab.evaluation.tta import AugmentedInference, Views
from roilab.memory import NotEnoughMemory, available, gigabytes

# Bytes a pixel of the image. Pillow holds four, rotates them, and copies them into an array of
# three; the array is copied in the model's order of channels, and again by Pillow to be resized.
_DECODING, _PREPARING = 15, 10
# A mask is pasted through float32 arrays of places and values; masks are copied where instances are
# left out, and where they are drawn.
_PASTING, _COPIES = 16, 2
# The features' share beyond the tensors that torch counts, and the bytes that heads take for the
# regions that they pool.
_SCRATCH, _HEADS = 1.2, 200 << 20
# Bytes a pixel, more than any known backbone takes: where they fit, nothing is measured.
_GENEROUS = 4096
_SIDES = 256, 512  # of the images that features are measured on, in pixels
_SMALLER = "smaller images; dataloader.test.augmentations can make them smaller"
_FEWER = "smaller images; or fewer masks: model.roi_heads.box_predictor.test_score_thresh=0.5"


def resized_size(augmentations: Sequence[Any], height: int, width: int) -> tuple[int, int]:
    """The height and width of an image after Detectron2's augmentations, which get no pixels."""
    for augmentation in augmentations:
        image = np.broadcast_to(np.uint8(0), (height, width, 3))
        with contextlib.suppress(TypeError):  # it takes more than the image
            transform = augmentation.get_transform(image)
            if isinstance(transform, T.ResizeTransform):
                height, width = transform.new_h, transform.new_w
    return height, width


class MemoryBound:
    """A bound of the memory that a model needs for images, compared with a limit.

    Its checks raise NotEnoughMemory for what takes more bytes than the limit, or without one than
    are available. The model is Detectron2's in evaluation mode, or is built from it for inference;
    the augmentations, such as resizing, are those of its images, and the features of all views of
    an image are in memory together.
    """

    def __init__(
        self,
        model: nn.Module,
        augmentations: Sequence[Any] = (),
        limit: int | None = None,
        views: Views | None = None,
    ) -> None:
        self.model = model
        self.augmentations = list(augmentations)
        self.limit = limit
        self.views = 1.0 if views is None else views.pixels  # as a multiple of those without

    def check_image(self, width: int, height: int) -> None:
        """Refuse an image that does not fit when it is decoded and passed through the model."""
        pixels = width * height
        what = f"{width} x {height} pixels"
        decoding = _DECODING * pixels
        seen_height, seen_width = resized_size(self.augmentations, height, width)
        self.check_batch(
            seen_height, seen_width, 1, what, beside=_PREPARING * pixels, least=decoding
        )
        if self._device.type != "cpu":
            self._require(decoding, self._bound(), what, _SMALLER)

    def check_masks(self, count: int, width: int, height: int) -> None:
        """Refuse masks of an image that do not fit in its full size."""
        size = (_COPIES * count + _PASTING) * width * height
        what = f"{count} masks of {width} x {height} pixels"
        self._require(size, self._bound(), what, _FEWER)

    @property
    def _device(self) -> torch.device:
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @cached_property
    def _features(self) -> tuple[float, float]:
        return measure(self.model, self._device)

    def check_batch(
        self, height: int, width: int, count: int, what: str = "", beside: int = 0, least: int = 0
    ) -> None:
        """Refuse images that do not fit at once.

        Args:
            height, width, count: of the images as the model sees them, without views.
            what: the images in words, for the message.
            beside: bytes that are held beside the features.
            least: bytes that an earlier step needs, when none of these are held.
        """
        what = what or f"{count} x {width} x {height} pixels at once"
        pixels = count * height * width * self.views
        bound = self._bound(self._device)
        if bound is None or max(_GENEROUS * pixels + beside + _HEADS, least) < bound[0]:
            return
        base, per_pixel = self._features
        size = max(int(base + per_pixel * pixels) + beside + _HEADS, least)
        self._require(size, bound, f"{what}, {width} x {height} as the model sees them", _SMALLER)

    def _bound(self, device: torch.device | None = None) -> tuple[int, str] | None:
        """The bytes that may be allocated, and why in words; None where it is not known."""
        if self.limit is not None:
            return self.limit, "the memory limit allows"
        if device is not None and device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return free + kept, "the GPU has free"
        return available()

    def _require(self, size: int, bound: tuple[int, str] | None, what: str, advice: str) -> None:
        if bound is not None and size > bound[0]:
            raise NotEnoughMemory(
                "an image does not fit into the memory",
                found=f"{what} may take {gigabytes(size)}",
                expected=f"at most {gigabytes(bound[0])}, which {bound[1]}",
                remedy=f"{advice}; to try it all the same: {argument('max_memory', size)}",
            )


class _Live(TorchDispatchMode):
    """Counts the bytes of the tensors allocated within it and not yet freed, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.live = 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        for leaf in tree_iter(output):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in self.sizes:
                    self.sizes[key] = storage.nbytes()
                    self.live += self.sizes[key]
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self._freed, key)
        return output

    def _freed(self, key: int) -> None:
        self.live -= self.sizes.pop(key, 0)


def measure(model: Any, device: torch.device) -> tuple[float, float]:
    """Measure the bytes that a model's features take: a constant, and for each pixel.

    The backbone runs on two small images of different sizes.
    """
    rcnn = rcnn_of(model)
    if rcnn is None:
        return 0.0, float(_GENEROUS)
    peaks = []
    for side in _SIDES:
        image = torch.zeros(3, side, side, dtype=torch.uint8, device=device)
        with torch.no_grad(), autocast_of(model), _Live() as live:
            rcnn.backbone(rcnn.preprocess_image([{"image": image}]).tensor)
        peaks.append(float(live.peak))
    small, large = (side * side for side in _SIDES)
    per_pixel = max(0.0, (peaks[1] - peaks[0]) / (large - small))
    return max(0.0, peaks[0] - per_pixel * small) * _SCRATCH, per_pixel * _SCRATCH


def rcnn_of(model: Any) -> Any:
    """Detectron2's R-CNN in a model; None where the model is of another kind."""
    inner = getattr(model, "model", model)
    return inner if isinstance(inner, GeneralizedRCNN) else None


def autocast_of(model: Any) -> Any:
    """The context in which a model runs in its precision."""
    return getattr(model, "autocast", contextlib.nullcontext)()


def bounded_inference(
    model: nn.Module,
    batch: Sequence[Mapping[str, Any]],
    bound: MemoryBound | None = None,
    tta: AugmentedInference | None = None,
) -> Iterator[Instances]:
    """Run a model on a batch: yields the instances of each image, in the size of the image.

    `tta` takes the place of the model's own inference, and needs images before resizing.

    Raises:
        NotEnoughMemory: the masks of an image, which are not pasted yet, would exceed the bound.
    """
    rcnn = rcnn_of(model)
    if tta is None and (bound is None or rcnn is None):
        for output in model(batch):
            yield output["instances"]
        return
    with autocast_of(model):
        outputs = tta(rcnn, batch) if tta else rcnn.inference(batch, do_postprocess=False)
    for inputs, instances in zip(batch, outputs, strict=True):
        height, width = instances.image_size
        height, width = inputs.get("height", height), inputs.get("width", width)
        if bound is not None and instances.has("pred_masks"):
            try:
                bound.check_masks(len(instances), width, height)
            except NotEnoughMemory as error:
                raise error.replace(file=inputs.get("file_name")) from error
        with autocast_of(model):
            yield detector_postprocess(instances, height, width)
