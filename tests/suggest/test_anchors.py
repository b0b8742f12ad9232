"""Anchors on the grid of an RPN: against all of Detectron2's, and relations of k-means."""

import numpy as np
import pytest
import torch
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.structures import Boxes, pairwise_iou
from hypothesis import given, settings
from hypothesis import strategies as st

from roilab.modeling import TorchvisionAnchorGenerator
from roilab.suggest.anchors import (
    LEAST_BOXES,
    BoxesInImage,
    best_ious,
    fit_anchors,
    kmeans_in_log,
    recall_bound,
)

SIZES, RATIOS, STRIDES = [[32.0], [64.0], [128.0], [256.0]], [0.5, 1.0, 2.0], [8, 16, 32, 64]


def generator(sizes=SIZES, ratios=RATIOS, kind=DefaultAnchorGenerator, offset=0.0):
    return kind(sizes=sizes, aspect_ratios=[ratios], strides=STRIDES, offset=offset)


def of_all_anchors(anchors, image: BoxesInImage) -> np.ndarray:
    maps = [torch.zeros(1, 1, -(-image.height // s), -(-image.width // s)) for s in STRIDES]
    grid = Boxes.cat(anchors(maps)).tensor.double()
    return pairwise_iou(Boxes(torch.tensor(image.boxes)), Boxes(grid)).max(dim=1).values.numpy()


def some_boxes(seed: int, count: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, [width, height], size=(2, count, 2))
    low, high = corners.min(axis=0), corners.max(axis=0) + 1
    return np.concatenate([low, high], axis=1)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    offset=st.sampled_from([0.0, 0.5]),
    kind=st.sampled_from([DefaultAnchorGenerator, TorchvisionAnchorGenerator]),
)
def test_the_best_of_rows_and_columns_is_the_best_of_all(seed, rows, columns, offset, kind) -> None:
    height, width = 32 * rows, 32 * columns
    image = BoxesInImage(some_boxes(seed, 7, height, width), height, width)
    anchors = generator(offset=offset, kind=kind)
    assert best_ious(anchors, image) == pytest.approx(of_all_anchors(anchors, image), abs=1e-6)


def test_an_anchor_on_the_grid_is_overlapped_wholly_and_one_beside_it_is_not() -> None:
    boxes = np.array([[64 - 16, 64 - 16, 64 + 16, 64 + 16], [68 - 16, 68 - 16, 68 + 16, 68 + 16.0]])
    whole, beside = best_ious(generator(), BoxesInImage(boxes, 256, 256))
    assert whole == pytest.approx(1)
    assert beside == pytest.approx(28 * 28 / (2 * 32 * 32 - 28 * 28))  # half a stride away


def test_an_image_without_boxes() -> None:
    assert best_ious(generator(), BoxesInImage(np.zeros((0, 4)), 64, 64)).shape == (0,)
    assert recall_bound(np.zeros(0)).mean == 0


@given(
    st.lists(st.floats(1, 1000), min_size=1, max_size=30),
    st.integers(1, 5),
    st.floats(0.1, 10),
)
def test_kmeans_follows_the_scale_and_stays_within_the_values(values, count, factor) -> None:
    centres = kmeans_in_log(np.array(values), count)
    assert len(centres) == count
    assert centres == sorted(centres)
    assert min(values) * 0.999 <= centres[0]
    assert centres[-1] <= max(values) * 1.001
    assert kmeans_in_log(np.array(values[::-1]), count) == pytest.approx(centres)
    # A tie may fall to another centre where the logarithms are rounded otherwise.
    spread = np.abs(np.log(kmeans_in_log(np.array(values) * factor, count)) - np.log(centres))
    assert len(set(values)) > count or spread == pytest.approx(abs(np.log(factor)), abs=1e-6)


def test_kmeans_finds_groups() -> None:
    values = np.array([9, 10, 11, 99, 100, 101, 900, 1000, 1111.0])
    assert kmeans_in_log(values, 3) == pytest.approx([10, 100, 1000], rel=0.01)


def images_of(
    sides: list[tuple[float, float]], count: int, seed: int = 0
) -> list[list[BoxesInImage]]:
    """Images of 512 x 512 pixels with a box of each width and height, anywhere."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        centres = rng.uniform(150, 350, size=(len(sides), 2))
        half = np.array(sides) / 2
        images.append([BoxesInImage(np.hstack([centres - half, centres + half]), 512, 512)])
    return images


def test_anchors_are_fitted_where_the_defaults_miss() -> None:
    fit = fit_anchors(images_of([(180, 30), (180, 45)], 40), SIZES, RATIOS, STRIDES, generator)
    assert fit.fitted is not None
    assert fit.best is fit.fitted
    assert fit.fitted.bound.at_70 > fit.default.bound.at_70 + 0.2
    assert len(fit.best.sizes) == len(SIZES)
    assert len(fit.best.ratios) == len(RATIOS)
    assert all(len(level) == 1 for level in fit.best.sizes)


def test_anchors_are_no_smaller_than_two_strides_of_their_level() -> None:
    fit = fit_anchors(images_of([(15, 15), (17, 18)], 40), SIZES, RATIOS, STRIDES, generator)
    assert fit.best is fit.fitted
    assert all(size >= 2 * stride for (size,), stride in zip(fit.best.sizes, STRIDES, strict=True))


def test_the_defaults_stay_where_boxes_are_like_them() -> None:
    sides = [(size, size) for (size,) in SIZES]
    fit = fit_anchors(images_of(sides, 40), SIZES, RATIOS, STRIDES, generator)
    assert fit.fitted is not None
    assert fit.best is fit.default


def test_the_bound_is_of_images_that_nothing_was_fitted_to() -> None:
    """Every second image has boxes of another kind: what fits one half misses the other."""
    long, wide = images_of([(20, 200)] * 2, 20), images_of([(300, 290)] * 2, 20)
    images = [image for pair in zip(long, wide, strict=True) for image in pair]
    fit = fit_anchors(images, SIZES, RATIOS, STRIDES, generator)
    assert fit.fitted is not None
    all_boxes = np.concatenate(
        [best_ious(generator(fit.fitted.sizes, fit.fitted.ratios), image) for (image,) in images]
    )
    assert fit.fitted.bound.mean < recall_bound(all_boxes).mean


def test_the_sizes_of_an_image_stay_together() -> None:
    """An image in two sizes is no image that nothing was fitted to."""
    ((view,),) = images_of([(180, 30)] * LEAST_BOXES, 1)
    assert fit_anchors([[view, view]], SIZES, RATIOS, STRIDES, generator).fitted is None


@pytest.mark.parametrize("boxes", [1, LEAST_BOXES - 1])
def test_too_few_boxes_fit_nothing(boxes: int) -> None:
    fit = fit_anchors(images_of([(180, 30)], boxes), SIZES, RATIOS, STRIDES, generator)
    assert fit.fitted is None
    assert fit.best is fit.default
    assert fit.boxes == boxes


def test_one_image_of_many_boxes_fits_nothing() -> None:
    fit = fit_anchors(images_of([(180, 30)] * 200, 1), SIZES, RATIOS, STRIDES, generator)
    assert fit.fitted is None
