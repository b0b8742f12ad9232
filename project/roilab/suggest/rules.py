"""Rules by which a config follows from a data set and a machine; each adds a part to a draft."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import detectron2.data.transforms as T
import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf

from roilab.data.class_balance import rare_classes
from roilab.data.dataset import DetectionDataset
from roilab.data.sampling import AUGMENTATION, seeded
from roilab.engine import config
from roilab.evaluation.memory_bound import resized_size
from roilab.suggest.anchors import (
    LEAST_BOXES,
    LEAST_GAIN,
    AnchorFit,
    Anchors,
    Array,
    BoxesInImage,
    fit_anchors,
)
from roilab.suggest.draft import Draft, Hardware
from roilab.suggest.trainable import boxes_of
from roilab.text import counted, first_of

_RPN = "model.proposal_generator"
_LEVELS, _STRIDES = f"{_RPN}.in_features", f"{_RPN}.anchor_generator.strides"
_BATCH = "dataloader.train.total_batch_size"
# The smallest anchor of all configs: an object of fewer pixels has next to no features.
_LEAST_SIDE = 32
_SMALLEST = 10  # the percentile of sizes that "the smallest usual objects" have
_MOST_ENLARGED = 1.5  # a step then takes 2.25 times as long
_SIZES = ("target_height", "target_width", "short_edge_length", "max_size")
_RESIZING = (T.Resize, T.ResizeScale, T.ResizeShortestEdge)
_LOOKED_AT = 1000  # images
_FEW = 1000  # images, for which a strong augmentation is chosen
# Detectron2's model zoo: 5.0 GB for two images of 800 x 1333 pixels (Keypoint R-CNN, R50-FPN).
_BYTES_OF_IMAGE = 2.5e9
_USABLE = 0.7  # of the memory of a GPU
_RARE = 0.1  # the share of the images below which a class is rare


def boxes_in_images(
    cfg: DictConfig, dataset: DetectionDataset, divisor: int, split: str = "test"
) -> list[BoxesInImage]:
    """The boxes of at most 1,000 images, evenly spread, as a loader of a config resizes them.

    Args:
        divisor: of the sides of a padded image.
        split: train, whose random sizes follow from the seed, or test.
    """
    images = []
    for record, (height, width) in _resized(cfg, dataset, split):
        scale = np.array([width / record["width"], height / record["height"]] * 2)
        padded = (math.ceil(side / divisor) * divisor for side in (height, width))
        images.append(BoxesInImage(boxes_of(record) * scale, *padded))
    return images


def _resized(
    cfg: DictConfig, dataset: DetectionDataset, split: str = "test"
) -> list[tuple[dict[str, Any], tuple[int, int]]]:
    """Records of at most 1,000 images with the height and width that a loader gives them."""
    key = f"dataloader.{split}.augmentations"
    augmentations = [config.build(node, key) for node in cfg.dataloader[split].augmentations]
    resizing = [one for one in augmentations if isinstance(one, _RESIZING)]
    records = dataset.records[:: math.ceil(len(dataset) / _LOOKED_AT)]
    with seeded(cfg.train.seed, AUGMENTATION):
        return [(r, resized_size(resizing, r["height"], r["width"])) for r in records]


def sides_of(images: list[BoxesInImage]) -> Array:
    """The sides of squares as large as the boxes, in pixels."""
    boxes = np.concatenate([image.boxes for image in images])
    sides: Array = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    return sides


def set_augmentation(draft: Draft, images: int, *, outlines: bool) -> None:
    """Choose the preset of the training's augmentation: a strong one for few images.

    Args:
        outlines: whether all objects have outlines that are more than rectangles.
    """
    base = draft.cfg.data.augmentation
    if images > _FEW:
        draft.add("Augmentation", f"{base}, as in the base, for more than {_FEW:,} images")
        return
    few = f"for few images (at most {_FEW:,}): other scales, rotations and light"
    preset, why = "small", few
    if outlines and images > 1:
        preset, why = "copy_paste", f"{few}, and instances of other images"
    draft.add("Augmentation", f"{preset}, {why}", {"data.augmentation": preset})


def set_image_size(draft: Draft, train: DetectionDataset, backbone: Any) -> None:
    """Enlarge images until the smallest usual objects have enough pixels, within bounds.

    The bounds are the images' own size and the time of a step. Images that are smaller than the
    base makes them keep their size, unless their objects or initial weights need more.
    """
    cfg = draft.cfg
    resized = _resized(cfg, train)
    own = float(np.median([max(record["height"], record["width"]) for record, _ in resized]))
    size = float(np.median([max(sides) for _, sides in resized]))
    images = boxes_in_images(cfg, train, divisor_of(backbone))
    smallest = float(np.percentile(sides_of(images), _SMALLEST))
    objects = f"the smallest usual objects ({_SMALLEST}th percentile)"
    resizing = _resizing(cfg)
    if any(map(draft.is_asked, [*resizing, *_size_keys(cfg)])):
        draft.add("Image size", f"as you asked; {objects} have {smallest:.0f} pixels a side")
        return

    is_resized = any(key.startswith("dataloader.test.") for key in resizing)
    lower = 1.0 if cfg.train.init_checkpoint or not is_resized else min(1.0, own / size)
    upper = min(max(1.0, own / size), _MOST_ENLARGED) if is_resized else 1.0
    factor = min(max(lower, _LEAST_SIDE / smallest), upper)
    if abs(factor - 1) < 0.1:
        factor = 1.0
    target = max(32, 32 * round(size * factor / 32))
    there = f"{objects} have {smallest * factor:.0f} pixels a side"
    if smallest * factor < 0.95 * _LEAST_SIDE:
        is_own = own / size <= _MOST_ENLARGED
        limit = "the images have no more" if is_own else "a step would take too long"
        there += f", fewer than the {_LEAST_SIDE} of the smallest anchor: {limit}"
    before = f"; at {size:.0f} they would have {smallest:.0f}" if factor > 1 else ""
    values = {} if factor == 1 else _scaled(resizing, factor)
    if _uses_square(cfg):
        values["data.augmentation_size"] = target
    of_images = f"the images have {own:.0f}"
    reason = f"{target:.0f} pixels on the longer side ({of_images}); then {there}{before}"
    draft.add("Image size", reason, values)


def _resizing(cfg: DictConfig) -> dict[str, Any]:
    """The keys of a config that say how large images become, and their values, where they stand."""
    values = {}
    for split in ("train", "test"):
        nodes = cfg.dataloader[split].augmentations
        place = nodes._get_full_key(None)  # of what the loader refers to, such as a preset
        for index, node in enumerate(nodes):
            for name in _SIZES:
                if name in node and not OmegaConf.is_interpolation(node, name):
                    values[f"{place}.{index}.{name}"] = node[name]
    return values


def _size_keys(cfg: DictConfig) -> list[str]:
    """The keys by which a user says how large images become."""
    keys = ["data.augmentation_size"]
    for split in ("train", "test"):
        for index in range(len(cfg.dataloader[split].augmentations)):
            keys += [f"dataloader.{split}.augmentations.{index}.{name}" for name in _SIZES]
    return keys


def _uses_square(cfg: DictConfig) -> bool:
    """Whether the training's augmentation makes squares of `data.augmentation_size`."""
    nodes = cfg.dataloader.train.augmentations
    return any(
        OmegaConf.is_interpolation(node, name) for node in nodes for name in _SIZES if name in node
    )


def _scaled(sizes: Mapping[str, Any], factor: float) -> dict[str, Any]:
    def scaled(value: float) -> int:
        return max(32, 32 * round(value * factor / 32))

    return {
        key: list(map(scaled, value)) if isinstance(value, ListConfig) else scaled(value)
        for key, value in sizes.items()
    }


def set_anchors(draft: Draft, train: DetectionDataset, backbone: Any) -> AnchorFit | None:
    """Take anchors from k-means where the bound of recall gains enough, and say both bounds.

    Where objects are tiny, a finer level of the backbone is tried as well, with half of the sizes.
    None: the model has no anchors of sizes and ratios that are alike at all levels.
    """
    node = OmegaConf.select(draft.cfg, f"{_RPN}.anchor_generator")
    sizes, ratios = _sizes_and_ratios(node)
    if sizes is None or ratios is None:
        draft.add("Anchors", "the base's, which are not measured")
        return None

    views = [
        boxes_in_images(draft.cfg, train, divisor_of(backbone), split)
        for split in ("test", "train")
    ]
    images = list(zip(*views, strict=True))
    strides = list(node.strides)
    fit = fit_anchors(images, sizes, ratios, strides, partial(_generator, node, strides))
    if any(map(draft.is_asked, _values(fit.default))):
        draft.add("Anchors", f"as you asked; one of them overlaps {fit.default.bound} of the boxes")
        return fit
    levels = _with_finer_level(draft, backbone)
    if levels is not None and np.percentile(sides_of(views[0]), _SMALLEST) < _LEAST_SIDE / 2:
        halves = [size / 2 for size in sizes[0]]
        make = partial(_generator, node, levels[_STRIDES])
        finer = fit_anchors(images, [halves, *sizes], ratios, levels[_STRIDES], make)
        if finer.best.bound.mean - fit.best.bound.mean > LEAST_GAIN:
            draft.add(
                "Anchors",
                f"{_bound(fit.default)}, one of these {finer.best.bound}: with the level "
                f"{levels[_LEVELS][0]}, which takes time, but has anchors every "
                f"{levels[_STRIDES][0]} pixels",
                {**levels, **_values(finer.best)},
            )
            return finer
    _add_fit(draft, fit, len(train))
    return fit


def _add_fit(draft: Draft, fit: AnchorFit, images: int) -> None:
    """Say which anchors are taken, and why."""
    default = _bound(fit.default)
    if fit.fitted is None:
        boxes = f"{counted(fit.boxes, 'box', 'boxes')} of {counted(images, 'image')}"
        few = f"others are fitted to {LEAST_BOXES} boxes of two images or more, not to {boxes}"
        draft.add("Anchors", f"{default}; the defaults stay: {few}")
    elif fit.best is fit.fitted:
        draft.add(
            "Anchors",
            f"{default}, one of these {fit.fitted.bound}: by k-means of the sizes and shapes, "
            "measured on images that they were not fitted to",
            _values(fit.fitted),
        )
    else:
        change = f"{100 * fit.gain:+.1f} points, not by more than {100 * LEAST_GAIN:.0f}"
        others = f"others by k-means ({fit.fitted.bound}) change the mean by {change}"
        draft.add("Anchors", f"{default}; the defaults stay: {others}")


def _bound(anchors: Anchors) -> str:
    return f"of the boxes, a default anchor overlaps {anchors.bound}"


def _values(anchors: Anchors) -> dict[str, Any]:
    key = f"{_RPN}.anchor_generator"
    return {f"{key}.sizes": anchors.sizes, f"{key}.aspect_ratios": anchors.ratios}


def _generator(
    node: DictConfig, strides: list[int], sizes: list[list[float]], ratios: list[float]
) -> Any:
    """The generator of a node with other strides, sizes and ratios."""
    other = OmegaConf.merge(node, {})
    other.update(strides=strides, sizes=sizes, aspect_ratios=[ratios])
    return config.build(other, f"{_RPN}.anchor_generator")


def divisor_of(backbone: Any) -> int:
    """The number that the sides of padded images are multiples of."""
    return max(1, getattr(backbone, "size_divisibility", 1))


def _with_finer_level(draft: Draft, backbone: Any) -> dict[str, list[Any]] | None:
    """Features and strides of the RPN with the next finer level of the backbone; None: no such."""
    rpn = draft.cfg.model.proposal_generator
    strides = list(rpn.anchor_generator.strides)
    finer = {
        name: shape.stride
        for name, shape in backbone.output_shape().items()
        if shape.stride < strides[0]
    }
    if not finer or any(map(draft.is_asked, (_LEVELS, _STRIDES))):
        return None
    name = max(finer, key=lambda level: finer[level])
    return {_LEVELS: [name, *rpn.in_features], _STRIDES: [finer[name], *strides]}


def _sizes_and_ratios(node: Any) -> tuple[list[list[float]] | None, list[float] | None]:
    """The sizes of each level and the ratios of all; None where they differ in number."""
    if not isinstance(node, DictConfig) or not {"sizes", "aspect_ratios"} <= set(node):
        return None, None
    plain: Any = OmegaConf.to_container(node, resolve=True)
    sizes, ratios = plain["sizes"], plain["aspect_ratios"]
    if not all(isinstance(level, list) and len(level) == len(sizes[0]) for level in sizes):
        return None, None
    if all(isinstance(level, list) and level == ratios[0] for level in ratios):
        ratios = ratios[0]
    return sizes, ratios if all(isinstance(ratio, int | float) for ratio in ratios) else None


def set_sampling(draft: Draft, train: DetectionDataset) -> None:
    """Draw the images of rare classes more often, where there are any."""
    factors = rare_classes(train, _RARE)
    if factors:
        times = first_of([f"{name} {factor:.1f} times" for name, factor in factors.items()])
        draft.add(
            "Rare classes",
            f"images with a class of fewer than {_RARE:.0%} of them are drawn more often: {times}",
            {"dataloader.train.repeat_threshold": _RARE},
        )


def set_training(draft: Draft, train: DetectionDataset, hardware: Hardware) -> None:
    """Set the batch and the number of iterations, and say which learning rate follows."""
    cfg = draft.cfg
    tuned = bool(cfg.train.init_checkpoint)
    batch, why = _batch(cfg, hardware)
    draft.add("Batch", why, {_BATCH: batch})

    batch = cfg.dataloader.train.total_batch_size * cfg.train.accumulate
    passes = 30 if tuned else 100
    most = 3000 if hardware.gpu_memory is None else 90000
    iterations = min(max(10 * round(passes * len(train) / batch / 10), 1000), most)
    start = "from initial weights" if tuned else "from scratch"
    draft.add(
        "Iterations",
        f"each image is seen {iterations * batch / len(train):,.0f} times; {start} about {passes} "
        f"times are enough, but 1,000 iterations at least, and {most:,} at most "
        f"{'without' if hardware.gpu_memory is None else 'with'} a GPU",
        {"train.max_iter": iterations},
    )
    rate, of_batch = cfg.optimizer.lr, cfg.train.lr_batch_size
    scaled = ""
    if of_batch not in (None, batch):
        scaled = f", which the training scales to {rate * batch / of_batch:g} for {batch}"
    stays = f"optimizer.lr stays {rate:g} for {of_batch or batch} images a step{scaled}"
    draft.add("Learning rate", stays)


def _batch(cfg: DictConfig, hardware: Hardware) -> tuple[int, str]:
    """The images of a step, and why as many."""
    if hardware.gpu_memory is None:
        stays = cfg.dataloader.train.total_batch_size
        cores = counted(hardware.cores, "core")
        if cfg.train.init_checkpoint or stays > 8:
            return 2, f"2 images a step, for a large model on {cores}"
        return stays, f"{counted(stays, 'image')} a step, as in the base, for {cores}"
    pixels = max(
        (value for key, value in _resizing(cfg).items() if key.endswith("max_size")), default=1333
    )
    bytes_of_image = _BYTES_OF_IMAGE * (pixels / 1333) ** 2
    fitting = _USABLE * hardware.gpu_memory / bytes_of_image
    batch = min(16, 2 ** math.floor(math.log2(max(fitting, 1))))
    memory = f"{hardware.gpu_memory / 1e9:.0f} GB"
    return batch, (
        f"{counted(batch, 'image')} a step, of about {bytes_of_image / 1e9:.1f} GB, on a GPU of "
        f"{memory}"
    )


def set_periods(draft: Draft, has_val: bool) -> None:
    """Evaluate and save five times in a training; without a validation set, at its end alone."""
    period = max(1, draft.cfg.train.max_iter // 5)
    draft.add("Checkpoints", "five in a training", {"train.checkpoint_period": period})
    if has_val:
        reason = "five times; train.best=bbox/AP would keep the best checkpoint"
        draft.add("Evaluation", reason, {"train.eval_period": period})
    else:
        reason = "at the end alone, on the training images"
        draft.add("Evaluation", reason, {"train.eval_period": 0})
