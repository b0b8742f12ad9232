"""Pictures: where ink lands, that it stays inside, and that what is given is left alone."""

from typing import Any

import numpy as np
import pytest

from roilab.draw import PALETTE, draw, grid, side_by_side
from roilab.skeleton import COCO_PERSON, Skeleton

PAIR = Skeleton("pair", ("it",), ("left", "right"), (("left", "right"),), (), (0.1, 0.1))


def blank(height: int = 100, width: int = 120, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def changed(picture: np.ndarray, before: np.ndarray) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) around the pixels that differ."""
    rows, columns = np.nonzero((picture != before).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_nothing_to_draw_is_a_copy() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    picture = draw(image)
    np.testing.assert_array_equal(picture, image)
    assert picture is not image
    empty = draw(image, boxes=[], masks=[], keypoints=[], labels=[], skeleton=COCO_PERSON)
    np.testing.assert_array_equal(empty, image)


def test_what_is_given_is_not_touched() -> None:
    image = blank()
    image.setflags(write=False)
    boxes = np.array([[10.0, 10, 50, 60]])
    mask = np.zeros((100, 120), dtype=bool)
    mask[20:40, 20:40] = True
    keypoints = np.array([[[30.0, 30, 1], [40, 40, 1]]])
    given = (boxes, mask, keypoints)
    before = [array.copy() for array in given]
    picture = draw(
        image, boxes=boxes, masks=[mask], keypoints=keypoints, labels=["x"], skeleton=PAIR
    )
    assert (picture != image).any()
    assert (image == 128).all()
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("scale", [1, 3])
def test_box_lands_on_its_edge(scale: int) -> None:
    image = blank()
    picture = draw(image, boxes=[[10, 20, 60, 70]], scale=scale)
    assert picture.shape == (100 * scale, 120 * scale, 3)
    box = changed(picture, blank(100 * scale, 120 * scale))
    np.testing.assert_allclose(np.array(box) / scale, [10, 20, 60, 70], atol=1.5)
    assert (picture[20 * scale : 22 * scale, 30 * scale] == PALETTE[0]).all(axis=1).any()


@pytest.mark.parametrize("scale", [1, 4])
def test_rings_and_masks_cover_the_same(scale: int) -> None:
    mask = np.zeros((100, 120), dtype=bool)
    mask[20:60, 30:90] = True
    of_mask = draw(blank(), masks=[mask], scale=scale)
    ring = [(30.0, 20.0), (90.0, 20.0), (90.0, 60.0), (30.0, 60.0)]
    of_ring = draw(blank(), masks=[[ring]], scale=scale)
    differing = (of_mask != of_ring).any(axis=2).sum()
    # fillPoly includes the pixels on its border: at most a line around.
    assert differing <= 3 * (100 + 100) * scale
    inside = of_mask[40 * scale, 60 * scale]
    np.testing.assert_allclose(inside, 0.6 * 128 + 0.4 * np.array(PALETTE[0]), atol=1)
    assert (of_ring[40 * scale, 60 * scale] == inside).all()


def test_rings_that_overlap_are_filled() -> None:
    rings = [[(10, 10), (60, 10), (60, 60), (10, 60)], [(40, 40), (90, 40), (90, 90), (40, 90)]]
    picture = draw(blank(), masks=[rings])
    assert (picture[50, 50] == picture[20, 20]).all()
    assert (picture[50, 50] != 128).any()


def test_instances_differ_in_colour() -> None:
    picture = draw(blank(), boxes=[[5, 5, 40, 40], [60, 60, 95, 95]])
    assert (picture == PALETTE[0]).all(axis=2).any()
    assert (picture == PALETTE[1]).all(axis=2).any()


def test_sides_differ_and_unseen_keypoints_are_not_drawn() -> None:
    keypoints = np.array([[[30.0, 50, 0.9], [90, 50, 0.4]]])
    both = draw(blank(), keypoints=keypoints, skeleton=PAIR)
    assert both[50, 30, 0] > both[50, 30, 2]  # warm
    assert both[50, 90, 0] < both[50, 90, 2]  # cold
    one = draw(blank(), keypoints=keypoints, skeleton=PAIR, keypoint_threshold=0.5)
    assert (one[50, 30] != 128).any()
    assert (one[:, 60:] == 128).all()


def test_keypoint_is_drawn_around_its_place() -> None:
    picture = draw(blank(), keypoints=[[[60.5, 40.5, 2]]])
    x0, y0, x1, y1 = changed(picture, blank())
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == (60.5, 40.5)


def test_link_needs_both_ends() -> None:
    joined = Skeleton("bone", ("it",), ("a", "b"), (), (("a", "b"),), (0.1, 0.1))
    seen = draw(blank(), keypoints=[[[20, 50, 1], [100, 50, 1]]], skeleton=joined)
    half = draw(blank(), keypoints=[[[20, 50, 1], [100, 50, 0]]], skeleton=joined)
    assert (seen[50, 60] != 128).any()
    assert (half[:, 40:] == 128).all()


@pytest.mark.parametrize(
    "box",
    [[0, 0, 10, 10], [110, 90, 120, 100], [-50, -50, -10, -10], [500, 500, 900, 900]],
)
@pytest.mark.parametrize("label", ["person 98%", "a label that is far too long for such an image"])
def test_label_stays_inside(box: list[float], label: str) -> None:
    without = draw(blank(), boxes=[box])
    x0, y0, x1, y1 = changed(draw(blank(), boxes=[box], labels=[label]), without)
    assert 0 <= x0 < x1 <= 120
    assert 0 <= y0 < y1 <= 100
    assert (x1 - x0) >= 40
    assert (y1 - y0) >= 8


def test_labels_of_one_place_do_not_cover_each_other() -> None:
    boxes = [[20, 50, 90, 90]] * 2
    first = changed(draw(blank(), boxes=boxes, labels=["one", ""]), draw(blank(), boxes=boxes))
    second = changed(draw(blank(), boxes=boxes, labels=["one", "two"]), blank())
    assert second[3] - second[1] > first[3] - first[1]
    both = draw(blank(), boxes=boxes, labels=["one", "two"])
    only = draw(blank(), boxes=boxes, labels=["one", ""])
    x0, y0, x1, y1 = first
    np.testing.assert_array_equal(both[y0:y1, x0:x1], only[y0:y1, x0:x1])


def test_any_text_can_be_drawn() -> None:
    boxes = [[20, 50, 90, 90]]
    accented = draw(blank(), boxes=boxes, labels=["Bär"])
    np.testing.assert_array_equal(accented, draw(blank(), boxes=boxes, labels=["Bar"]))
    np.testing.assert_array_equal(
        draw(blank(), boxes=boxes, labels=["人\n"]), draw(blank(), boxes=boxes, labels=["?"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boxes": [[1, 2, 3]]}, r"boxes: found the shape \(1, 3\)"),
        ({"keypoints": [[1, 2, 3]]}, "keypoints: found the shape"),
        ({"boxes": [[1, 2, 3, 4]], "labels": ["a", "b"]}, "different numbers"),
        ({"masks": [np.zeros((5, 5), dtype=bool)]}, r"mask: found the shape \(5, 5\)"),
        ({"keypoints": [[[1, 2, 3]]], "skeleton": PAIR}, "keypoints: found 1, expected the 2"),
        ({"scale": 0}, "scale"),
    ],
)
def test_wrong_forms(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(blank(), **arguments)


@pytest.mark.parametrize("image", [np.zeros((5, 5, 3)), np.zeros((5, 5), dtype=np.uint8)])
def test_wrong_image(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected HxWx3 uint8"):
        draw(image)


def test_grid_keeps_every_picture() -> None:
    pictures = [blank(20, 30, 60), blank(40, 10, 90), blank(20, 20, 120)]
    sheet = grid(pictures, 2)
    assert sheet.shape == (2 * 42 + 2, 2 * 32 + 2, 3)
    for value, picture in zip((60, 90, 120), pictures, strict=True):
        assert (sheet == value).all(axis=2).sum() == picture.shape[0] * picture.shape[1]


def test_grid_is_no_wider_than_needed() -> None:
    assert grid([blank()], 5).shape[1] < 2 * 120


def test_side_by_side() -> None:
    row = side_by_side([blank(40, 60, 60), blank(40, 60, 90)], ["before", "after"])
    assert row.shape[1] >= 120
    assert row.shape[0] > 40
    left, right = row[:, : row.shape[1] // 2], row[:, row.shape[1] // 2 :]
    assert (left == 60).all(axis=2).sum() == (right == 90).all(axis=2).sum() == 40 * 60


@pytest.mark.parametrize(("pictures", "titles"), [([], []), ([blank()], [])])
def test_side_by_side_needs_a_title_a_picture(
    pictures: list[np.ndarray], titles: list[str]
) -> None:
    with pytest.raises(ValueError, match="pictures"):
        side_by_side(pictures, titles)
