"""Test-time augmentation: one result from several views of an image, scaled and mirrored.

1. The model detects boxes in each view. They are merged by non-maximum suppression, as in
   Detectron2's GeneralizedRCNNWithTTA, and a merged box has the score of the best of its views.
2. The heads look at the merged boxes in the features of each view. Masks are probabilities and are
   averaged cell by cell, as in Detectron2, and so are the scores of a head that rates its masks.
3. The outputs of the keypoint head are averaged before they are decoded, which Detectron2 does not
   do: logits of a softmax or a sigmoid, whose mean multiplies the views' distributions, and the
   heat of a Gaussian head.

A map lies over its box, with the centre of cell j of W at (j + 1/2) / W of the box's width. In a
mirrored view this is the centre of cell W - 1 - j: maps are mirrored without a shift, and left and
right keypoints change places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference_single_image
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torch.nn import functional as F

from roilab.errors import UserError
from roilab.modeling.keypoint_heads import KeypointHead
from roilab.modeling.poolers import with_fields
from roilab.skeleton import Skeleton

Size = tuple[int, int]  # height and width, in pixels
LARGEST_SCALE = 8  # of a view: its memory and its time grow with the square


@dataclass(frozen=True)
class Views:
    """The views of an image that test-time augmentation takes.

    Attributes:
        scales: factors of the size in which the model sees an image without augmentation.
        flip: whether each size is also seen mirrored, left to right.

    Raises:
        UserError: a scale is not above 0 or above `LARGEST_SCALE`, occurs twice, or there is none.
    """

    scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    flip: bool = True

    def __post_init__(self) -> None:
        scales = self.scales
        are_sizes = all(0 < scale <= LARGEST_SCALE for scale in scales)
        if not scales or not are_sizes or len(set(scales)) < len(scales):
            raise UserError(
                "these are not scales of views",
                key="scales",
                found=", ".join(f"{scale:g}" for scale in scales) or "none",
                expected=f"different numbers above 0 and at most {LARGEST_SCALE}, such as 0.75, 1, "
                "1.25",
            )

    def __str__(self) -> str:
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        return f"scales {scales}, {'also mirrored' if self.flip else 'not mirrored'}"

    def __iter__(self) -> Any:
        """The views: a scale, and whether it is mirrored."""
        return iter((s, flipped) for s in self.scales for flipped in (False, True)[: 1 + self.flip])

    @property
    def pixels(self) -> float:
        """The pixels of all views together, as a multiple of the pixels without augmentation."""
        return sum(scale**2 for scale, _ in self)

    def to_dict(self) -> dict[str, Any]:
        """The views as JSON data."""
        return {"scales": list(self.scales), "flip": self.flip}


@dataclass(frozen=True)
class _Source:
    """An image and the transforms that an evaluation without views applies to it.

    The pixels are H x W x C, before the transforms and after them.
    """

    pixels: np.ndarray
    transforms: T.TransformList
    transformed: np.ndarray

    @property
    def size(self) -> Size:
        """The size in which the model sees the image without views."""
        height, width = self.transformed.shape[:2]
        return height, width

    def view(self, scale: float, flipped: bool) -> Tensor:
        """The image as the model sees it in one view, C x H x W."""
        image = self.transformed
        if scale != 1:  # of the image itself, so that nothing is resized twice
            image = _rescaled(self.transforms, self.size, scale).apply_image(self.pixels)
        if flipped:
            image = image[:, ::-1]
        return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))


@dataclass(frozen=True)
class _Seen:
    """The images of a batch in one view: their features together, and the detections of each."""

    flipped: bool
    features: Mapping[str, Tensor]
    detections: Sequence[Instances]


class AugmentedInference:
    """Inference of an R-CNN over several views of each image.

    A call does what `GeneralizedRCNN.inference` does without postprocessing, but for images before
    the augmentations of an evaluation. Of one view, unscaled and not mirrored, the instances are
    the same to the last bit. The features of all views are in memory together.

    Args:
        model: the R-CNN that calls are for.
        views: of each image.
        augmentations: of an evaluation without views, such as resizing; none may be random.
        skeleton: of the model's keypoints; None: it has none.

    Raises:
        UserError: the model has a part whose results cannot be merged, or takes no larger images,
            or the skeleton is not that of its keypoints.
    """

    def __init__(
        self,
        model: Any,
        views: Views,
        augmentations: Sequence[T.Augmentation],
        skeleton: Skeleton | None,
    ) -> None:
        _require_parts(model)
        _require_any_size(model, views)
        self.views = views
        self.augmentations = T.AugmentationList(list(augmentations))
        self.flip_indices: list[int] = []
        if views.flip and model.roi_heads.keypoint_on:
            self.flip_indices = _flip_indices(model, skeleton)

    def __call__(self, rcnn: Any, batch: Sequence[Mapping[str, Any]]) -> list[Instances]:
        """The instances of each image, in the size in which the model sees it without views.

        The batch is Detectron2's: `image` is C x H x W.
        """
        sources = [self._source(item["image"]) for item in batch]
        seen = [
            _detect(rcnn, [source.view(scale, flipped) for source in sources], flipped)
            for scale, flipped in self.views
        ]
        merged = [
            _merge(rcnn.roi_heads, [(view.detections[index], view.flipped) for view in seen], size)
            for index, size in enumerate(source.size for source in sources)
        ]
        outputs = [self._outputs(rcnn.roi_heads, merged, view) for view in seen]
        means = {
            name: torch.stack([output[name] for output in outputs]).mean(0) for name in outputs[0]
        }
        keypoints = means.pop("keypoints", None)
        if means:
            merged = with_fields(merged, **means)
        if keypoints is not None:
            merged = rcnn.roi_heads.keypoint_head.with_keypoints(keypoints, merged)
        return merged

    def _source(self, image: Tensor) -> _Source:
        pixels = image.permute(1, 2, 0).numpy()
        augmented = T.AugInput(pixels)
        return _Source(pixels, self.augmentations(augmented), augmented.image)

    def _outputs(self, heads: Any, merged: Sequence[Instances], view: _Seen) -> dict[str, Tensor]:
        """The outputs of the heads in one view for the boxes of all images, in those boxes' frame.

        They are `pred_masks`, R x 1 x m x m, `mask_scores`, R, and `keypoints`, the output of that
        head's layers.
        """
        boxes = [
            Boxes(_moved(image.pred_boxes.tensor, image.image_size, seen.image_size, view.flipped))
            for image, seen in zip(merged, view.detections, strict=True)
        ]
        outputs: dict[str, Tensor] = {}
        if heads.mask_on:
            placed = [
                Instances(seen.image_size, **{**image.get_fields(), "pred_boxes": of_image})
                for image, seen, of_image in zip(merged, view.detections, boxes, strict=True)
            ]
            masked = heads._forward_mask(view.features, placed)
            for name in ("pred_masks", "mask_scores"):
                if masked[0].has(name):
                    outputs[name] = torch.cat([image.get(name) for image in masked])
            if view.flipped:
                outputs["pred_masks"] = outputs["pred_masks"].flip(3)
        if heads.keypoint_on:
            features = [view.features[name] for name in heads.keypoint_in_features]
            output = heads.keypoint_head.layers(heads.keypoint_pooler(features, boxes)).float()
            if view.flipped:
                output = heads.keypoint_head.mirrored(output)[:, self.flip_indices]
            outputs["keypoints"] = output
        return outputs


def _detect(rcnn: Any, images: Sequence[Tensor], flipped: bool) -> _Seen:
    """The features and the boxes, without masks and keypoints, of images in one view."""
    batch = rcnn.preprocess_image([{"image": image} for image in images])
    features = rcnn.backbone(batch.tensor)
    proposals, _ = rcnn.proposal_generator(batch, features, None)
    return _Seen(flipped, features, rcnn.roi_heads._forward_box(features, proposals))


def _merge(heads: Any, views: Sequence[tuple[Instances, bool]], size: Size) -> Instances:
    """The detections of all views of an image, and whether each is mirrored, as one; by Detectron2.

    Non-maximum suppression leaves those of one unscaled view as they are.
    """
    boxes = torch.cat(
        [_moved(seen.pred_boxes.tensor, seen.image_size, size, flip) for seen, flip in views]
    )
    scores = torch.cat([seen.scores for seen, _ in views])
    classes = torch.cat([seen.pred_classes for seen, _ in views])
    # A column for each class and one, which is not read, for the background.
    table = F.one_hot(classes, heads.num_classes + 1) * scores[:, None]
    predictor = heads.box_predictor
    limits = (0.0, predictor.test_nms_thresh, predictor.test_topk_per_image)
    merged, _ = fast_rcnn_inference_single_image(boxes, table, size, *limits)
    return merged


def _moved(boxes: Tensor, size: Size, other: Size, flipped: bool) -> Tensor:
    """Boxes, R x 4, of an image of one size in the same image of another, perhaps mirrored."""
    height, width = other
    boxes = boxes * boxes.new_tensor([width / size[1], height / size[0]] * 2)
    if not flipped:
        return boxes
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([width - x1, y0, width - x0, y1], dim=1)


def _rescaled(transforms: T.TransformList, size: Size, scale: float) -> T.TransformList:
    """The transforms with a result of a multiple of its size, by their last resizing or a new one.

    `size` is that of their result.
    """
    parts = list(transforms.transforms)
    places = [place for place, part in enumerate(parts) if isinstance(part, T.ResizeTransform)]
    if places:
        last = parts[places[-1]]
        height, width = (max(1, round(scale * side)) for side in (last.new_h, last.new_w))
        parts[places[-1]] = T.ResizeTransform(last.h, last.w, height, width, last.interp)
    else:
        height, width = (max(1, round(scale * side)) for side in size)
        parts.append(T.ResizeTransform(*size, height, width))
    return T.TransformList(parts)


def _require_parts(model: Any) -> None:
    """Refuse a model whose detections, masks or keypoints cannot be merged."""
    heads: Any = getattr(model, "roi_heads", None)
    expected = {"model": GeneralizedRCNN, "model.roi_heads": StandardROIHeads}
    for (key, kind), part in zip(expected.items(), (model, heads), strict=True):
        if type(part) is not kind:
            raise UserError(
                "several views of an image cannot be merged with this part of the model",
                key=key,
                found=type(part).__name__,
                expected=f"Detectron2's {kind.__name__}",
            )
    if heads.keypoint_on and not isinstance(heads.keypoint_head, KeypointHead):
        raise UserError(
            "the outputs of this keypoint head cannot be averaged over several views",
            key="model.roi_heads.keypoint_head",
            found=type(heads.keypoint_head).__name__,
            expected="a head of RoILab, which takes the weights of Detectron2's",
            remedy="model.roi_heads.keypoint_head._target_=roilab.modeling.KeypointHead",
        )


def _require_any_size(model: Any, views: Views) -> None:
    """Refuse larger views where the backbone pads all images to one size."""
    side = (model.backbone.padding_constraints or {}).get("square_size", 0)
    if side > 0 and max(views.scales) > 1:
        raise UserError(
            "the backbone takes images up to one size, and views may be larger",
            key="scales",
            found=str(views),
            expected=f"scales up to 1: the backbone pads images to {side} x {side} pixels",
        )


def _flip_indices(model: Any, skeleton: Skeleton | None) -> list[int]:
    """For each keypoint, the index of the keypoint that it becomes in the mirrored image."""
    count = model.roi_heads.keypoint_head.num_keypoints
    keypoints = 0 if skeleton is None else len(skeleton.keypoints)
    if skeleton is None or keypoints != count:
        raise UserError(
            "left and right keypoints of a mirrored view are those of the skeleton",
            key="skeleton",
            found=f"{keypoints} keypoints",
            expected=f"the {count} of the model",
        )
    return list(skeleton.flip_indices)
