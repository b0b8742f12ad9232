"""The memory that a model's work on an image takes, found before it is taken.

Three parts count: decoding the file, the model's features, and the masks, each of which has a byte
for each pixel of the image.
"""

import contextlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
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

from roilab.memory import NotEnoughMemory, available, gigabytes

# Bytes a pixel of the image. Pillow holds four, turns it, and copies it into an array of three;
# an array is copied in the model's order of channels, and once more by Pillow to be resized.
_DECODING, _PREPARING = 15, 10
# A mask is pasted by way of its places and values in float32; what is found is copied where
# instances are left out; and it is drawn.
_PASTING, _COPIES = 16, 2
# What the features may take beyond the tensors that torch knows of, and what heads take for the
# regions that they look at.
_SCRATCH, _HEADS = 1.2, 200 << 20
# Bytes a pixel that no known backbone takes: images for which it is enough need no measurement.
_GENEROUS = 4096
_SIDES = 256, 512  # of the images that features are measured on, in pixels
_SMALLER = "smaller images; dataloader.test.augmentations can make them smaller"
_FEWER = "smaller images; or fewer masks: model.roi_heads.box_predictor.test_score_thresh=0.5"


class MemoryBound:
    """A bound of the memory that a model needs for images, compared with a limit.

    Args:
        model: a Detectron2 model in evaluation mode, or one made of it for inference.
        augmentations: of its images, such as resizing.
        limit: the most bytes that an image's work may take; None: what is available.
    """

    def __init__(
        self, model: nn.Module, augmentations: Sequence[Any] = (), limit: int | None = None
    ) -> None:
        self.model, self.limit = model, limit
        self.augmentations = list(augmentations)
        self._features: tuple[float, float] | None = None

    def check_image(self, width: int, height: int) -> None:
        """Make sure that an image can be decoded, and that the model can look at it.

        Raises:
            NotEnoughMemory: it takes too much.
        """
        pixels = width * height
        what = f"{width} x {height} pixels"
        least, seen = _DECODING * pixels, self._seen(height, width)
        self._check_features(*seen, 1, what, beside=_PREPARING * pixels, least=least)
        if self._device.type != "cpu":
            self._require(least, None, what, _SMALLER)

    def check_batch(self, height: int, width: int, count: int) -> None:
        """Make sure that the model can look at some images of this size at once.

        Raises:
            NotEnoughMemory: they take too much.
        """
        self._check_features(height, width, count, f"{count} x {width} x {height} pixels at once")

    def check_masks(self, count: int, width: int, height: int) -> None:
        """Make sure that so many masks of an image fit.

        Raises:
            NotEnoughMemory: they take too much.
        """
        self._require(
            (_COPIES * count + _PASTING) * width * height,
            None,
            f"{count} masks of {width} x {height} pixels",
            _FEWER,
        )

    @property
    def _device(self) -> torch.device:
        return next((each.device for each in self.model.parameters()), torch.device("cpu"))

    def _check_features(
        self, height: int, width: int, count: int, what: str, *, beside: int = 0, least: int = 0
    ) -> None:
        """Check the features of images of this size, with other memory held `beside` them."""
        pixels, device = count * height * width, self._device
        bound = _bound(self.limit, device)
        if bound is None or max(_GENEROUS * pixels + beside + _HEADS, least) < bound[0]:
            return
        if self._features is None:
            self._features = measure(self.model, device)
        base, each = self._features
        size = max(int(base + each * pixels) + beside + _HEADS, least)
        self._require(size, device, f"{what}, {width} x {height} as the model sees them", _SMALLER)

    def _require(self, size: int, device: torch.device | None, what: str, instead: str) -> None:
        bound = _bound(self.limit, device)
        if bound is None or size <= bound[0]:
            return
        raise NotEnoughMemory(
            "an image does not fit into the memory",
            found=f"{what} may take {gigabytes(size)}",
            expected=f"at most {gigabytes(bound[0])}, which {bound[1]}",
            remedy=f"{instead}; to try it all the same: --max-memory {-(-size // 10**9)}",
        )

    def _seen(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that the augmentations give an image; they see no pixels."""
        for augmentation in self.augmentations:
            image = np.broadcast_to(np.uint8(0), (height, width, 3))
            with contextlib.suppress(TypeError):  # it wants to see more than the image
                transform = augmentation.get_transform(image)
                if isinstance(transform, T.ResizeTransform):
                    height, width = transform.new_h, transform.new_w
        return height, width


def _bound(limit: int | None, device: torch.device | None) -> tuple[int, str] | None:
    """The bytes that may be taken, and what says so; None: it is not known."""
    if limit is not None:
        return limit, "--max-memory allows"
    if device is not None and device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + kept, "the GPU has free"
    return available()


class _Live(TorchDispatchMode):
    """The bytes of the tensors that are made within it and not yet freed, and their most."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.live = 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for each in tree_iter(made):
            if isinstance(each, torch.Tensor):
                storage = each.untyped_storage()
                key = storage._cdata
                if key not in self.sizes:
                    self.sizes[key] = storage.nbytes()
                    self.live += self.sizes[key]
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self._freed, key)
        return made

    def _freed(self, key: int) -> None:
        self.live -= self.sizes.pop(key, 0)


def measure(model: Any, device: torch.device) -> tuple[float, float]:
    """The bytes that a model's features take: whatever the image, and for each of its pixels.

    It is measured on two small images, of which the model makes features.
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
    each = max(0.0, (peaks[1] - peaks[0]) / (large - small))
    return max(0.0, peaks[0] - each * small) * _SCRATCH, each * _SCRATCH


def rcnn_of(model: Any) -> Any:
    """Detectron2's R-CNN in a model; None: it is of another kind."""
    inner = getattr(model, "model", model)
    return inner if isinstance(inner, GeneralizedRCNN) else None


def autocast_of(model: Any) -> contextlib.AbstractContextManager[Any]:
    """The precision that a model works in."""
    of_model = getattr(model, "autocast", None)
    return contextlib.nullcontext() if of_model is None else of_model()


def detect(
    model: nn.Module, batch: Sequence[Mapping[str, Any]], bound: MemoryBound | None = None
) -> Iterator[Instances]:
    """The instances that a model finds in each image of a batch, in the size of the image.

    Args:
        bound: it is asked before the masks of an image are made; None: nothing is.

    Raises:
        NotEnoughMemory: the masks of an image would take too much.
    """
    rcnn = rcnn_of(model)
    if bound is None or rcnn is None:
        for output in model(batch):
            yield output["instances"]
        return
    with autocast_of(model):
        found = rcnn.inference(batch, do_postprocess=False)
    for inputs, instances in zip(batch, found, strict=True):
        height = inputs.get("height", instances.image_size[0])
        width = inputs.get("width", instances.image_size[1])
        if instances.has("pred_masks"):
            try:
                bound.check_masks(len(instances), width, height)
            except NotEnoughMemory as error:
                file = inputs.get("file_name")
                raise (error if file is None else error.of_file(file)) from error
        with autocast_of(model):
            yield detector_postprocess(instances, height, width)
