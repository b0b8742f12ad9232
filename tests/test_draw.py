"""Pictures: where ink lands, that it stays inside, and that what is given is left alone."""

from itertools import product
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from roilab.draw import PALETTE, grid, side_by_side
from roilab.draw import draw_instances as draw
from roilab.draw.instances import BITS, area_of, subpixel
from roilab.draw.palette import FADED, FIRST_SIDE, MIDDLE, SECOND_SIDE
from roilab.skeleton import COCO_PERSON, Skeleton

PAIR = Skeleton("pair", ("it",), ("left", "right"), (("left", "right"),), (), (0.1, 0.1))
BONE = Skeleton("bone", ("it",), ("a", "b"), (), (("a", "b"),), (0.1, 0.1))


def blank(height: int = 100, width: int = 120, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def changed(picture: np.ndarray, before: np.ndarray) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) around the pixels that differ."""
    rows, columns = np.nonzero((picture != before).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_nothing_to_draw_is_a_copy() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    picture = draw(image)
    assert_array_equal(picture, image)
    assert picture is not image
    empty = draw(image, boxes=[], masks=[], keypoints=[], labels=[], skeleton=COCO_PERSON)
    assert_array_equal(empty, image)


def test_what_is_given_is_not_touched() -> None:
    image = blank()
    image.setflags(write=False)
    boxes = np.array([[10.0, 10, 50, 60]])
    mask = np.zeros((100, 120), dtype=bool)
    mask[20:40, 20:40] = True
    keypoints = np.array([[[30.0, 30, 1], [40, 40, 1]]])
    arrays = (boxes, mask, keypoints)
    before = [array.copy() for array in arrays]
    instance = {"boxes": boxes, "masks": [mask], "keypoints": keypoints, "labels": ["x"]}
    picture = draw(image, **instance, skeleton=PAIR)
    assert (picture != image).any()
    assert (image == 128).all()
    for array, copy in zip(arrays, before, strict=True):
        assert_array_equal(array, copy)


@pytest.mark.parametrize("scale", [1, 3])
def test_box_lands_on_its_edge(scale: int) -> None:
    image = blank()
    picture = draw(image, boxes=[[10, 20, 60, 70]], scale=scale)
    assert picture.shape == (100 * scale, 120 * scale, 3)
    box = changed(picture, blank(100 * scale, 120 * scale))
    assert_allclose(np.array(box) / scale, [10, 20, 60, 70], atol=1.5)
    assert (picture[20 * scale : 22 * scale, 30 * scale] == PALETTE[0]).all(axis=1).any()


@pytest.mark.parametrize("scale", [1, 4])
def test_rings_and_masks_cover_the_same(scale: int) -> None:
    mask = np.zeros((100, 120), dtype=bool)
    mask[20:60, 30:90] = True
    of_mask = draw(blank(), masks=[mask], scale=scale)
    ring = [(30.0, 20.0), (90.0, 20.0), (90.0, 60.0), (30.0, 60.0)]
    of_ring = draw(blank(), masks=[[ring]], scale=scale)
    differing = (of_mask != of_ring).any(axis=2).sum()
    # fillPoly includes the pixels on its border: at most a line and its rim around.
    assert differing <= 4 * (100 + 100) * scale
    inside = of_mask[40 * scale, 60 * scale]
    assert_allclose(inside, 0.6 * 128 + 0.4 * np.array(PALETTE[0]), atol=1)
    assert (of_ring[40 * scale, 60 * scale] == inside).all()


@pytest.mark.parametrize("scale", [1, 3])
def test_rings_cover_what_they_cover_alone(scale: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        ring = rng.uniform(-30, 130, (4, 2))
        whole = np.zeros((100 * scale, 120 * scale), np.uint8)
        cv2.fillPoly(whole, [subpixel(ring, scale)], 1, cv2.LINE_8, BITS)
        area = area_of([ring], (100, 120), scale)
        high, wide = area.pixels.shape
        covered = np.zeros_like(whole)
        covered[area.top : area.top + high, area.left : area.left + wide] = area.pixels
        assert_array_equal(covered, whole)


def test_an_enlarged_mask_has_its_edges_in_place_and_slopes_for_steps() -> None:
    mask = np.zeros((60, 60), dtype=bool)
    mask[10:50, 10:50] = np.tri(40, dtype=bool)
    mask[35:45, 20:25] = False
    area = area_of(mask, mask.shape, 4)
    assert (area.left, area.top, area.pixels.shape) == (40, 40, (160, 160))
    assert area.pixels.sum() == pytest.approx(16 * mask.sum(), rel=0.02)
    assert not area.pixels[102:138, 42:58].any()
    assert area.pixels[150, :120].all()
    widths = area.pixels.sum(axis=1)
    assert len(set(widths[:80].tolist())) > 40  # where steps of single pixels give 20


def test_rings_that_overlap_are_filled() -> None:
    rings = [[(10, 10), (60, 10), (60, 60), (10, 60)], [(40, 40), (90, 40), (90, 90), (40, 90)]]
    picture = draw(blank(), masks=[rings])
    assert (picture[50, 50] == picture[20, 20]).all()
    assert (picture[50, 50] != 128).any()


def test_colours_are_numbers_in_the_palette() -> None:
    apart: dict[str, Any] = {
        "boxes": [[5, 25, 40, 60], [60, 60, 95, 95]],
        "masks": [[[(10, 40), (30, 40), (20, 50)]], [[(70, 70), (90, 70), (80, 90)]]],
        "labels": ["a", "b"],
    }
    by_place = draw(blank(), **apart)
    assert all((by_place == colour).all(axis=2).any() for colour in PALETTE[:2])
    assert_array_equal(draw(blank(), **apart, colours=[0, 1]), by_place)
    again = np.array([len(PALETTE), 3 * len(PALETTE) + 1])
    assert_array_equal(draw(blank(), **apart, colours=again), by_place)
    turned = {name: items[::-1] for name, items in apart.items()}
    assert_array_equal(draw(blank(), **turned, colours=[1, 0]), by_place)
    other = draw(blank(), **apart, colours=[2, 1])
    assert not (other == PALETTE[0]).all(axis=2).any()
    assert (other == PALETTE[2]).all(axis=2).any()


def contrast(one: Any, other: Any) -> float:
    """Of two colours, from 1 to 21 (WCAG 2)."""
    light, dark = sorted(float(linear(rgb) @ [0.2126, 0.7152, 0.0722]) for rgb in (one, other))
    return (dark + 0.05) / (light + 0.05)


def linear(colour: Any) -> np.ndarray:
    value = np.asarray(colour) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


GROUNDS = [(0, 0, 0), (255, 255, 255), (128, 128, 128), *PALETTE, FIRST_SIDE, SECOND_SIDE]
DRAWN: dict[str, dict[str, Any]] = {
    "box": {"boxes": [[20, 20, 80, 80]]},
    "mask": {"masks": [[[(20, 20), (80, 20), (80, 80)]]]},
    "label": {"boxes": [[-9, -9, -5, -5]], "labels": ["it"]},
    "dot": {"keypoints": [[[50, 50, 0.06], [90, 50, 0]]], "skeleton": PAIR},
    "link": {"keypoints": [[[20, 50, 0.06], [100, 50, 0.06]]], "skeleton": BONE},
}


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("ground", GROUNDS)
def test_everything_contrasts_with_any_ground(kind: str, ground: tuple[int, int, int]) -> None:
    for size, number in product((100, 400), range(len(PALETTE))):
        image = np.full((size, size, 3), ground, dtype=np.uint8)
        picture = draw(image, **DRAWN[kind], colours=[number])
        ink = np.unique(picture[(picture != image).any(axis=2)], axis=0)
        assert max(contrast(colour, ground) for colour in ink) > 3, (size, number)


def test_letters_contrast_with_every_label() -> None:
    assert min(contrast(colour, (0, 0, 0)) for colour in PALETTE) > 4.5


# Simulated dichromacy in linear RGB (Machado, Oliveira and Fernandes, 2009), and no hue at all.
READERS = {
    "all": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}


@pytest.mark.parametrize("reader", READERS)
def test_sides_are_told_apart_by_every_reader(reader: str) -> None:
    sides = np.array([linear(colour) for colour in (FIRST_SIDE, SECOND_SIDE, MIDDLE)])
    colours = np.cbrt(np.clip(sides @ np.array(READERS[reader]).T, 0, 1))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # Of the length of the way from black to white, 3 ** 0.5, with even steps of lightness.
        assert np.linalg.norm(colours[one] - colours[other]) > 0.2


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


@pytest.mark.parametrize("scale", [1, 3])
def test_loose_points_are_crosses_around_their_place(scale: int) -> None:
    points = [[30.5, 40.5], [90.5, 40.5]]
    picture = draw(blank(), loose_points=points, scale=scale)
    without = draw(blank(), scale=scale)
    half = 60 * scale
    for number, (x, y) in enumerate(points):
        left = slice(number * half, (number + 1) * half)
        x0, y0, x1, y1 = changed(picture[:, left], without[:, left])
        middle = (number * half + (x0 + x1) / 2, (y0 + y1) / 2)
        assert middle == pytest.approx((x * scale, y * scale), abs=0.5)
        # Arms, and nothing between them: a keypoint is a dot.
        at = round(y * scale - 0.5), round(x * scale - 0.5)
        assert (picture[at] == MIDDLE).all()
        assert (picture[at[0], number * half + x0] == without[at[0], number * half + x0]).all()
    assert_array_equal(draw(blank(), loose_points=[]), blank())


def test_the_better_a_keypoint_is_seen_the_larger_is_its_dot() -> None:
    def size(value: float) -> int:
        picture = draw(blank(1200, 1200), keypoints=[[[600, 600, value]]])
        return int((picture == MIDDLE).all(axis=2).sum())

    sizes = [size(value) for value in (0.01, 0.25, 0.5, 0.75, 1.0)]
    assert sizes == sorted(set(sizes))
    assert sizes[2] < 0.7 * sizes[4]  # occluded, visible
    assert size(2.0) == sizes[4]
    assert size(np.nan) == 0


def test_an_occluded_keypoint_is_a_ring() -> None:
    keypoints = [[[200.5, 300.5, 0.5], [600.5, 300.5, 0.5]]]
    image = blank(800, 900)
    picture = draw(image, keypoints=keypoints, occluded=[[True, False]], skeleton=PAIR)
    assert_array_equal(picture[300, 200], [0, 0, 0])
    assert_array_equal(picture[300, 600], SECOND_SIDE)
    for side in (slice(200), slice(200, 400)):
        assert (picture[300, side] == FIRST_SIDE).all(axis=1).any(), "around the hole"
    widths = [changed(picture[:, half], image[:, half]) for half in (slice(400), slice(400, 900))]
    ring, dot = (right - left for left, _, right, _ in widths)
    assert ring > dot
    none = draw(image, keypoints=keypoints, occluded=[[False, False]], skeleton=PAIR)
    assert_array_equal(none, draw(image, keypoints=keypoints, skeleton=PAIR))


def test_a_link_fades_with_its_weaker_end() -> None:
    def link(a: float, b: float) -> np.ndarray:
        image = blank(900, 900)
        picture = draw(image, keypoints=[[[20, 450, a], [880, 450, b]]], skeleton=BONE)
        return picture[:, 450]

    for strong in (0.2, 1.0):
        assert_array_equal(link(0.2, strong), link(strong, 0.2))
        assert_array_equal(link(0.2, strong), link(0.2, 0.2))
    shades = [link(score, 1)[450].astype(int) for score in (0.01, 0.3, 1.0)]
    assert FADED[0] < shades[0][0] < shades[1][0] < shades[2][0] == MIDDLE[0]
    widths = [(link(score, 1) != 128).any(axis=1).sum() for score in (0.01, 1.0)]
    assert widths[0] < widths[1]


def test_links_have_a_rim_and_the_colour_of_their_side() -> None:
    names = ("l1", "r1", "l2", "r2")
    links = (("l1", "l2"), ("r1", "r2"), ("l1", "r1"))
    body = Skeleton("body", ("it",), names, (("l1", "r1"), ("l2", "r2")), links, (0.1,) * 4)
    places = [[[200, 200, 1], [1000, 200, 1], [200, 1000, 1], [1000, 1000, 1]]]
    picture = draw(blank(1200, 1200, 255), keypoints=places, skeleton=body)
    for line, colour in (
        (picture[600, 180:220], FIRST_SIDE),
        (picture[600, 980:1020], SECOND_SIDE),
        (picture[180:220, 600], MIDDLE),
    ):
        assert (line == colour).all(axis=1).any()
        dark = np.flatnonzero((line < 100).all(axis=1))
        assert dark.min() < 20 < dark.max()


def test_dots_of_a_small_instance_are_small() -> None:
    def ink(size: float) -> int:
        places = np.array([[[300, 300, 1], [300 + size, 300, 1]]])
        return int((draw(blank(3000, 3000), keypoints=places) != 128).any(axis=2).sum())

    assert ink(40) < ink(150) < ink(600) == ink(900)


def test_link_needs_both_ends() -> None:
    seen = draw(blank(), keypoints=[[[20, 50, 1], [100, 50, 1]]], skeleton=BONE)
    half = draw(blank(), keypoints=[[[20, 50, 1], [100, 50, 0]]], skeleton=BONE)
    assert (seen[50, 60] != 128).any()
    assert (half[:, 40:] == 128).all()


@pytest.mark.parametrize(
    "box", [[0, 0, 10, 10], [110, 90, 120, 100], [-50, -50, -10, -10], [500, 500, 900, 900]]
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
    assert_array_equal(both[y0:y1, x0:x1], only[y0:y1, x0:x1])


def test_labels_of_one_place_stand_one_under_the_other() -> None:
    boxes = [[-9, -9, -5, -5]] * 3
    texts = [["one"] * count + [""] * (3 - count) for count in (1, 2, 3)]
    spans = [changed(draw(blank(), boxes=boxes, labels=labels), blank()) for labels in texts]
    height = spans[0][3] - spans[0][1]
    assert [span[3] - span[1] for span in spans] == [height, 2 * height, 3 * height]


def test_a_label_has_a_rim() -> None:
    ground = np.full((100, 120, 3), PALETTE[0], dtype=np.uint8)
    picture = draw(ground, boxes=[[-9, -9, -5, -5]], labels=["it"])
    _, _, right, bottom = changed(picture, ground)
    assert (picture[:bottom, [0, right - 1]] == 0).all()
    assert (picture[[0, bottom - 1], :right] == 0).all()


def test_any_text_can_be_drawn() -> None:
    boxes = [[20, 50, 90, 90]]
    for text, drawn in (("Bär", "Bar"), ("人\n", "?")):
        picture = draw(blank(), boxes=boxes, labels=[text])
        assert_array_equal(picture, draw(blank(), boxes=boxes, labels=[drawn]))


def test_masks_touch_their_own_place_only() -> None:
    mask = np.zeros((100, 120), dtype=bool)
    mask[40:60, 50:90] = True
    mask[45:55, 60:70] = False
    picture = draw(blank(), masks=[mask])
    x0, y0, x1, y1 = changed(picture, blank())
    assert_allclose([x0, y0, x1, y1], [50, 40, 90, 60], atol=1)
    assert (picture[48:52, 63:67] == 128).all()
    assert_array_equal(draw(blank(), masks=[mask & False]), blank())
    corner = np.zeros((100, 120), dtype=bool)
    corner[-1, -1] = corner[0, 0] = True
    tinted = (draw(blank(), masks=[corner]) != 128).any(axis=2)
    assert tinted[0, 0]
    assert tinted[-1, -1]
    outside = [[(500, 500), (600, 500), (600, 600)]]
    assert_array_equal(draw(blank(), masks=[outside]), blank())


def test_layout_of_a_mask_in_memory_does_not_matter() -> None:
    mask = np.random.default_rng(0).random((100, 120)) > 0.9
    expected = draw(blank(), masks=[mask], scale=2)
    for other in (np.asfortranarray(mask), np.repeat(mask, 2, axis=1)[:, ::2]):
        assert_array_equal(draw(blank(), masks=[other], scale=2), expected)


def test_lines_and_letters_grow_with_the_picture() -> None:
    def widths(size: int) -> tuple[int, int]:
        box = [[0.3 * size, 0.3 * size, 0.9 * size, 0.9 * size]]
        lined = draw(blank(size, size), boxes=box)
        named = draw(blank(size, size), boxes=box, labels=["it"])
        side = (lined[size // 2, : size // 2] == PALETTE[0]).all(axis=1).sum()
        _, top, _, bottom = changed(named, lined)
        return int(side), int(bottom - top)

    small, large = widths(600), widths(3000)
    assert large[0] == 5 * small[0]
    assert large[1] == pytest.approx(5 * small[1], rel=0.15)
    assert widths(150)[0] == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (900, 3), (32, 32), (40, 3000)])
def test_any_shape_of_picture(shape: tuple[int, int]) -> None:
    keypoints = [[[0.5, 0.5, 1], [shape[1] / 2, shape[0] / 2, 0.5]]]
    instance = {"boxes": [[0, 0, shape[1], shape[0]]], "masks": [np.ones(shape, dtype=bool)]}
    picture = draw(blank(*shape), **instance, keypoints=keypoints, labels=["person"], skeleton=BONE)
    assert picture.shape == (*shape, 3)
    assert (picture != 128).any()


def test_the_same_is_drawn_again() -> None:
    once, again = (draw(blank(), boxes=[[20, 50, 90, 90]], labels=["it"]) for _ in range(2))
    assert_array_equal(once, again)
    once[:] = 0
    assert_array_equal(draw(blank(), boxes=[[20, 50, 90, 90]], labels=["it"]), again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boxes": [[1, 2, 3]]}, r"boxes: found the shape \(1, 3\)"),
        ({"keypoints": [[1, 2, 3]]}, "keypoints: found the shape"),
        ({"boxes": [[1, 2, 3, 4]], "labels": ["a", "b"]}, "different numbers"),
        ({"masks": [np.zeros((5, 5), dtype=bool)]}, r"mask: found the shape \(5, 5\)"),
        ({"keypoints": [[[1, 2, 3]]], "skeleton": PAIR}, "keypoints: found 1, expected the 2"),
        ({"boxes": [[1, 2, 3, 4]], "colours": [0, 1]}, "different numbers"),
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
