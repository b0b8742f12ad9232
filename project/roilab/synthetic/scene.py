"""A scene: background, people and cars, painted far to near, and what one would click on it."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from roilab.skeleton import COCO_PERSON
from roilab.synthetic.background import draw_background, texture
from roilab.synthetic.canvas import SCALE, Image, Layer
from roilab.synthetic.car import draw_car, random_car
from roilab.synthetic.person import draw_person, parts_showing, random_person

# An object of which less than this share can be seen is not placed.
LEAST_VISIBLE = 0.5
_TRIES = 12
_EMPTY = 0.08


@dataclass(frozen=True, slots=True)
class Figure:
    """An object as annotated.

    Attributes:
        label: "person" or "car".
        mask: (size, size) bool, the pixels at least half of which show the object.
        polygons: its visible outline, one ring a part, integer (x, y) in the continuous frame of
            the picture: pixel i covers i to i + 1, so values run from 0 to size.
        keypoints: name -> (x, y, visible): the pixel (an index) in which the joint lies; joints
            outside the picture are left out. Empty for a car.
        front: whether the person faces us; None for a car.
    """

    label: str
    mask: npt.NDArray[np.bool_]
    polygons: tuple[tuple[tuple[int, int], ...], ...]
    keypoints: dict[str, tuple[int, int, bool]]
    front: bool | None


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, (size, size, 3) uint8 BGR, and what is in it, far to near."""

    image: Image
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    """An object on a layer of its own, standing at y = ground; lengths and joints in pixels."""

    label: str
    ground: float
    middle: float
    width: float
    layer: Layer
    joints: dict[str, npt.NDArray[np.float64]]
    front: bool | None


def draw_scene(rng: np.random.Generator, size: int) -> Scene:
    """A random scene of `size` x `size` pixels."""
    background = draw_background(rng, size)
    placed: list[_Placed] = []
    for label in _cast(rng):
        for _ in range(_TRIES):
            candidate = _place_person(rng, size) if label == "person" else _place_car(rng, size)
            together = sorted([*placed, candidate], key=lambda one: one.ground)
            if _all_visible(together):
                placed = together
                break
    owner = _owner(placed, size)
    canvas = _shadows(background.colour, placed)
    for index, one in enumerate(placed):
        cv2.copyTo(one.layer.colour, (owner == index + 1).astype(np.uint8), canvas)
    figures = tuple(_annotate(one, owner == index + 1, size) for index, one in enumerate(placed))
    return Scene(_develop(rng, canvas, size), figures)


def _cast(rng: np.random.Generator) -> list[str]:
    """Which objects to place: none, or one to four, in random order."""
    if rng.random() < _EMPTY:
        return []
    people = int(rng.choice(4, p=(0.12, 0.38, 0.34, 0.16)))
    cars = int(rng.choice(3, p=(0.4, 0.42, 0.18)))
    if people + cars == 0:
        people = 1
    labels = (["person"] * people + ["car"] * cars)[:4]
    return [str(label) for label in rng.permutation(labels)]


def _place_person(rng: np.random.Generator, size: int) -> _Placed:
    share = rng.uniform(0.32, 0.8)
    person = random_person(rng, share * size)
    x0, _, x1, y1 = person.box()
    middle = _across(rng, size, x1 - x0)
    ground = (0.60 + 0.46 * share + rng.uniform(-0.06, 0.06)) * size
    if rng.random() < 0.12:
        ground += rng.uniform(0.1, 0.4) * share * size
    layer = Layer(size)
    joints = draw_person(layer, person, middle - (x0 + x1) / 2, ground - y1)
    return _Placed("person", ground, middle, 0.5 * share * size, layer, joints, person.front)


def _place_car(rng: np.random.Generator, size: int) -> _Placed:
    share = rng.uniform(0.26, 0.6)
    car = random_car(rng, share * size)
    middle = _across(rng, size, car.width)
    ground = (0.56 + 0.6 * share + rng.uniform(-0.06, 0.06)) * size
    layer = Layer(size)
    draw_car(layer, car, middle, ground)
    return _Placed("car", ground, middle, car.width, layer, {}, None)


def _across(rng: np.random.Generator, size: int, width: float) -> float:
    """The x of an object's centre: mostly inside, sometimes cut by the left or right edge."""
    if rng.random() < 0.15:
        cut = rng.uniform(0.0, 0.4) * width - width / 2
        return float(-cut if rng.random() < 0.5 else size + cut)
    margin = min(width / 2, size / 2)
    return float(rng.uniform(margin, size - margin))


def _all_visible(placed: list[_Placed]) -> bool:
    """Whether enough of each object shows, were these painted in order."""
    covered = np.zeros_like(placed[0].layer.part, dtype=bool)
    for one in reversed(placed):
        whole = one.layer.part > 0
        if np.count_nonzero(whole & ~covered) < LEAST_VISIBLE * np.count_nonzero(whole):
            return False
        covered |= whole
    return True


def _owner(placed: list[_Placed], size: int) -> Image:
    """(S, S) uint8: 1 + index of the object on top of each sub-pixel, 0 for none."""
    owner: Image = np.zeros((size * SCALE, size * SCALE), np.uint8)
    for index, one in enumerate(placed):
        owner[one.layer.part > 0] = index + 1
    return owner


def _shadows(ground: Image, placed: list[_Placed]) -> Image:
    """The background with a soft shadow under each object."""
    light = np.full(ground.shape, 255, np.uint8)
    for one in placed:
        centre = (round(one.middle * SCALE), round((one.ground - 0.02 * one.width) * SCALE))
        axes = (round(0.52 * one.width * SCALE), round(0.08 * one.width * SCALE))
        cv2.ellipse(light, centre, axes, 0, 0, 360, (145, 145, 145), -1)
    soft = cv2.blur(light, (4 * SCALE + 1, 4 * SCALE + 1))
    return np.asarray(cv2.multiply(ground, soft, scale=1 / 255), np.uint8)


def _develop(rng: np.random.Generator, canvas: Image, size: int) -> Image:
    """Average the sub-pixels; then light, contrast and noise, as a camera would add them."""
    pixels = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    image = np.asarray(pixels, np.float32)
    image = (image - 128) * rng.uniform(0.8, 1.1) + 128 + rng.uniform(-18, 18)
    image += texture(rng, size) * rng.uniform(0, 4)
    image += rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.5, 3.0)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def _annotate(one: _Placed, visible: npt.NDArray[np.bool_], size: int) -> Figure:
    coverage = cv2.resize(visible.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    keypoints = {}
    for name in COCO_PERSON.keypoints if one.joints else ():
        x, y = one.joints[name]
        if 0 <= x < size and 0 <= y < size:
            row, column = int(y * SCALE), int(x * SCALE)
            shown = visible[row, column] and one.layer.part[row, column] in parts_showing(name)
            keypoints[name] = (int(x), int(y), bool(shown))
    return Figure(one.label, coverage >= 0.5, outline(visible), keypoints, one.front)


def outline(visible: npt.NDArray[np.bool_]) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Rings around the visible parts, largest first.

    Args:
        visible: (S, S) sub-pixels.

    Returns:
        Integer (x, y) in image pixels, continuous frame. Crumbs are left out, holes are filled.
    """
    # cv2 joins pixel middles, half a pixel inside the edge. On the grid of pixel corners (one more
    # each way; a corner belongs to the object when one of its four pixels does) they are the edge.
    corners = cv2.dilate(
        np.pad(visible, ((0, 1), (0, 1))).astype(np.uint8), np.ones((2, 2), np.uint8)
    )
    contours, _ = cv2.findContours(corners, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    least = max(12 * SCALE**2, 0.04 * np.count_nonzero(visible))
    rings: list[tuple[tuple[int, int], ...]] = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        if rings and cv2.contourArea(contour) < least:
            break
        simple = cv2.approxPolyDP(contour, 0.7 * SCALE, True)[:, 0]
        clicks = np.rint(simple / SCALE).astype(int)
        kept = clicks[np.any(clicks != np.roll(clicks, 1, axis=0), axis=1)]
        if len(kept) >= 3:
            rings.append(tuple((int(x), int(y)) for x, y in kept))
    return tuple(rings)
