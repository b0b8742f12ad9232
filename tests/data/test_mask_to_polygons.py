"""Masks as rings: the same pixels come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from pycocotools import mask as mask_utils

from roilab.data.mask_to_polygons import box_of_rle, rings_of, rings_of_rle
from roilab.via.geometry import area

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


def as_points(ring: list[float]) -> list[tuple[float, float]]:
    return list(zip(ring[::2], ring[1::2], strict=True))


@given(masks)
def test_rings_enclose_the_pixels_and_the_holes(mask: np.ndarray) -> None:
    rings, holes = rings_of(mask)
    assert sum(area(as_points(ring)) for ring in rings) == mask.sum() + holes
    assert rings == sorted(rings, key=lambda ring: -area(as_points(ring)))


@given(masks)
def test_without_holes_the_pixels_come_back(mask: np.ndarray) -> None:
    rings, holes = rings_of(mask)
    if holes or not rings:
        return
    height, width = mask.shape
    encoded = mask_utils.merge(mask_utils.frPyObjects(rings, height, width))
    assert (mask_utils.decode(encoded) == mask).all()


@given(masks)
def test_both_encodings(mask: np.ndarray) -> None:
    encoded = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    size = [int(side) for side in mask.shape]
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    expected = rings_of(mask)
    assert rings_of_rle({"size": size, "counts": encoded["counts"].decode()}) == expected
    assert rings_of_rle({"size": size, "counts": counts}) == expected


@given(masks)
def test_the_box_is_around_the_rings(mask: np.ndarray) -> None:
    encoded = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    boxes, _ = box_of_rle({"size": list(mask.shape), "counts": encoded["counts"].decode()})
    rings, _ = rings_of(mask)
    if not rings:
        assert boxes == []
        return
    (x0, y0), (x1, y1) = (
        extreme(np.concatenate(list(map(as_points, rings))), axis=0).tolist()
        for extreme in (np.min, np.max)
    )
    assert list(map(as_points, boxes)) == [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]]


def test_a_disc_keeps_its_pixels_with_fewer_vertices() -> None:
    y, x = np.mgrid[:200, :200]
    disc = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    (exact,), _ = rings_of(disc)
    (ring,), _ = rings_of(disc, 0.75)
    assert len(ring) < len(exact) / 2
    encoded = mask_utils.merge(mask_utils.frPyObjects([ring], 200, 200))
    again = mask_utils.decode(encoded).astype(bool)
    assert (again & disc).sum() / (again | disc).sum() > 0.99


@pytest.mark.parametrize(
    "segmentation",
    [
        {},
        {"size": [4, 4], "counts": "9"},
        {"size": [4, 4], "counts": "\x01"},
        {"size": [4, 4], "counts": [3, 4]},
        {"size": [4, 4], "counts": [-16, 32]},
        {"size": [4, 4], "counts": ["a"]},
        {"size": [4, -4], "counts": [16]},
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": "4 4", "counts": [16]},
        {"size": [4, 4], "counts": None},
    ],
)
def test_what_is_no_encoding(segmentation: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="its"):
        rings_of_rle(segmentation)
