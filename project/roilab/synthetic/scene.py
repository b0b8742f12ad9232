"""A scene: background, people and cars, painted far to near, and what an annotator would click."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from roilab.skeleton import COCO_PERSON
from roilab.synthetic.canvas import SCALE, Ball, Colour, Image, Layer, random_colour, shade
from roilab.synthetic.person import draw_person, parts_showing, random_person

Range = tuple[float, float]

# An object of which less than this share can be seen is not placed.
LEAST_VISIBLE = 0.5
_TRIES = 12  # to place an object
_EMPTY = 0.08  # the share of scenes without an object
# Hues: blue, dusk, and any.
_SKIES: tuple[Range, ...] = ((95, 120), (95, 120), (5, 25), (0, 180))
# Outline of cabin and windows along the length (0 rear, 1 front) and above the ground, in lengths.
_CABINS = {
    "saloon": ((0.18, 0.25), (0.30, 0.40), (0.56, 0.40), (0.74, 0.25)),
    "hatch": ((0.06, 0.25), (0.12, 0.41), (0.54, 0.41), (0.72, 0.25)),
    "van": ((0.04, 0.25), (0.05, 0.48), (0.70, 0.48), (0.86, 0.25)),
    "pickup": ((0.40, 0.25), (0.43, 0.42), (0.64, 0.42), (0.78, 0.25)),
}
_CAR = 1  # the part of a car in the part map


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
    """An object on a layer of its own; lengths and joints in pixels.

    It stands at y = `ground`, with a shadow of `width` around x = `middle`.
    """

    label: str
    ground: float
    middle: float
    width: float
    layer: Layer
    joints: dict[str, npt.NDArray[np.float64]]
    front: bool | None


def draw_scene(rng: np.random.Generator, size: int, car_share: float | None = None) -> Scene:
    """A random scene of `size` x `size` pixels; for `car_share` see `write_figures`."""
    background = Layer(size, _ground(rng, size))
    for draw, least, end in ((_building, 2, 7), (_tree, 0, 4), (_clutter, 4, 13)):
        for _ in range(rng.integers(least, end)):
            draw(rng, background, size)
    placed: list[_Placed] = []
    for label in _cast(rng, car_share):
        for _ in range(_TRIES):
            candidate = _place_person(rng, size) if label == "person" else _place_car(rng, size)
            together = sorted([*placed, candidate], key=lambda item: item.ground)
            if _all_visible(together):
                placed = together
                break

    # 1 + index of the object on top of each sub-pixel, 0 for none.
    owner: Image = np.zeros((size * SCALE, size * SCALE), np.uint8)
    for index, item in enumerate(placed):
        owner[item.layer.part > 0] = index + 1
    canvas = _shadows(background.colour, placed)
    for index, item in enumerate(placed):
        cv2.copyTo(item.layer.colour, (owner == index + 1).astype(np.uint8), canvas)
    figures = tuple(_annotate(item, owner == index + 1, size) for index, item in enumerate(placed))

    # The mean of the sub-pixels; then light, contrast and noise, as a camera would add them.
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    image = (image - 128) * rng.uniform(0.8, 1.1) + 128 + rng.uniform(-18, 18)
    image += _texture(rng, size) * rng.uniform(0, 4)
    image += rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.5, 3.0)
    return Scene(np.clip(np.rint(image), 0, 255).astype(np.uint8), figures)


def _cast(rng: np.random.Generator, car_share: float | None) -> list[str]:
    """The objects to place: none, or one to four, in random order.

    A share of cars leaves their number as it is.
    """
    if rng.random() < _EMPTY:
        return []
    people = int(rng.choice(4, p=(0.12, 0.38, 0.34, 0.16)))
    cars = int(rng.choice(3, p=(0.4, 0.42, 0.18)))
    if people + cars == 0:
        people = 1
    labels = (["person"] * people + ["car"] * cars)[:4]
    if car_share is not None:
        return ["car" if rng.random() < car_share else "person" for _ in labels]
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
    width = share * size
    kind = str(rng.choice(list(_CABINS)))
    direction = 1 if rng.random() < 0.5 else -1
    paint = random_colour(rng, saturation=(0.0, 0.9), value=(0.35, 0.95))
    hub = shade((190, 190, 190), rng.uniform(0.7, 1.2))
    tilt = float(rng.normal(0.0, 0.03))
    middle = _across(rng, size, width)
    ground = (0.56 + 0.6 * share + rng.uniform(-0.06, 0.06)) * size
    layer = Layer(size)

    def at(along: float, above: float, radius: float) -> Ball:
        """A circle on the car, in lengths of it: `along` from its rear, `above` the ground."""
        dx, dy = (along - 0.5) * width * direction, -above * width
        return (
            middle + dx * np.cos(tilt) - dy * np.sin(tilt),
            ground + dx * np.sin(tilt) + dy * np.cos(tilt),
            radius * width,
        )

    _draw_car(layer, _CABINS[kind], at, paint, hub)
    return _Placed("car", ground, middle, width, layer, {}, None)


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
    for item in reversed(placed):
        whole = item.layer.part > 0
        if np.count_nonzero(whole & ~covered) < LEAST_VISIBLE * np.count_nonzero(whole):
            return False
        covered |= whole
    return True


def _shadows(ground: Image, placed: list[_Placed]) -> Image:
    """The background with a soft shadow under each object."""
    light = np.full(ground.shape, 255, np.uint8)
    for item in placed:
        centre = (round(item.middle * SCALE), round((item.ground - 0.02 * item.width) * SCALE))
        axes = (round(0.52 * item.width * SCALE), round(0.08 * item.width * SCALE))
        cv2.ellipse(light, centre, axes, 0, 0, 360, (145, 145, 145), -1)
    soft = cv2.blur(light, (4 * SCALE + 1, 4 * SCALE + 1))
    return np.asarray(cv2.multiply(ground, soft, scale=1 / 255), np.uint8)


def _annotate(item: _Placed, visible: npt.NDArray[np.bool_], size: int) -> Figure:
    """The annotation of an object of which the (S, S) sub-pixels `visible` can be seen."""
    coverage = cv2.resize(visible.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    keypoints = {}
    for name in COCO_PERSON.keypoints if item.joints else ():
        x, y = item.joints[name]
        if 0 <= x < size and 0 <= y < size:
            row, column = int(y * SCALE), int(x * SCALE)
            shown = visible[row, column] and item.layer.part[row, column] in parts_showing(name)
            keypoints[name] = (int(x), int(y), bool(shown))
    return Figure(item.label, coverage >= 0.5, visible_rings(visible), keypoints, item.front)


def visible_rings(visible: npt.NDArray[np.bool_]) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Rings around the visible parts, largest first.

    Args:
        visible: (S, S) sub-pixels.

    Returns:
        Integer (x, y) in image pixels, continuous frame. Crumbs are left out, holes are filled.
    """
    # cv2 joins pixel middles, half a pixel inside the edge. On the grid of pixel corners (one more
    # each way; a corner belongs to the object when one of its four pixels does) they are the edge.
    padded = np.pad(visible, ((0, 1), (0, 1))).astype(np.uint8)
    corners = cv2.dilate(padded, np.ones((2, 2), np.uint8))
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


def _texture(rng: np.random.Generator, size: int) -> npt.NDArray[np.float32]:
    """(size, size, 1) smooth noise of several scales, mean about 0, deviation about 1."""
    total = np.zeros((size, size, 1), np.float32)
    for cells, weight in ((4, 1.0), (12, 0.7), (40, 0.5)):
        grid = rng.standard_normal((cells, cells), dtype=np.float32)
        total[:, :, 0] += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return total


def _ground(rng: np.random.Generator, size: int) -> Image:
    """Sky or wall above, ground below, with texture."""
    horizon = rng.uniform(0.3, 0.65)
    rows = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]

    def gradient(hue: Range, saturation: Range, value: Range) -> npt.NDArray[np.float32]:
        top, bottom = (
            np.array(random_colour(rng, hue, saturation, value), np.float32) for _ in range(2)
        )
        return top + rows * (bottom - top)

    sky = _SKIES[rng.integers(len(_SKIES))]
    upper = gradient(sky, (0.05, 0.45), (0.5, 0.95))
    lower = gradient((10, 80), (0.05, 0.45), (0.25, 0.8))
    image = np.where(rows < horizon, upper, lower) + np.zeros((size, size, 1), np.float32)
    image += _texture(rng, size) * rng.uniform(2, 9)
    small = np.clip(image, 0, 255).astype(np.uint8)
    grown: Image = cv2.resize(small, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR)
    return grown


def _building(rng: np.random.Generator, layer: Layer, size: int) -> None:
    x, wide = rng.uniform(-0.1, 1.0) * size, rng.uniform(0.1, 0.35) * size
    base, tall = rng.uniform(0.45, 0.75) * size, rng.uniform(0.1, 0.5) * size
    colour = random_colour(rng, saturation=(0.05, 0.45), value=(0.3, 0.9))
    layer.hull(_corners(x, base, wide, -tall, 1.0), colour, flat=True)
    pane, gap = rng.uniform(0.02, 0.04) * size, rng.uniform(0.05, 0.08) * size
    light = shade(colour, rng.choice((0.6, 1.4)))
    for left in np.arange(x + 0.4 * gap, x + wide - pane, gap):
        for top in np.arange(base - tall + 0.4 * gap, base - pane, gap):
            layer.hull(_corners(left, top, pane, 1.3 * pane, 0.5), light, flat=True)


def _corners(x: float, y: float, width: float, height: float, radius: float) -> list[Ball]:
    """Circles in the corners of a box."""
    return [(x + w, y + h, radius) for h in (0.0, height) for w in (0.0, width)]


def _tree(rng: np.random.Generator, layer: Layer, size: int) -> None:
    x, base = rng.uniform(0, 1) * size, rng.uniform(0.5, 0.85) * size
    tall = rng.uniform(0.2, 0.4) * size
    layer.hull([(x, base, 0.018 * size), (x, base - tall, 0.012 * size)], (50, 75, 105))
    leaf = random_colour(rng, (28, 65), (0.4, 0.8), (0.25, 0.6))
    for _ in range(rng.integers(3, 6)):
        dx, dy = rng.normal(0, 0.05, 2) * size
        spot = (x + dx, base - tall + dy, rng.uniform(0.04, 0.08) * size)
        layer.hull([spot], shade(leaf, rng.uniform(0.8, 1.2)))


def _clutter(rng: np.random.Generator, layer: Layer, size: int) -> None:
    """Things that share something with a person or a car: a bar, a disc, a box, a pole."""
    x, y = rng.uniform(0, 1, 2) * size
    colour = random_colour(rng)
    kind = rng.integers(5)
    flat = bool(rng.random() < 0.4)
    if kind == 0:
        angle, length = rng.uniform(0, np.pi), rng.uniform(0.08, 0.3) * size
        ends = [
            (x + s * length * np.cos(angle), y + s * length * np.sin(angle)) for s in (-0.5, 0.5)
        ]
        thick = rng.uniform(0.01, 0.035) * size
        layer.hull([(*end, thick) for end in ends], colour, flat=flat)
    elif kind == 1:
        layer.hull([(x, y, rng.uniform(0.015, 0.07) * size)], colour, flat=flat)
    elif kind == 2:
        wide, tall = rng.uniform(0.04, 0.2, 2) * size
        layer.hull(_corners(x, y, wide, tall, 0.01 * size), colour, flat=flat)
    elif kind == 3:
        thick = rng.uniform(0.006, 0.02) * size
        tall = rng.uniform(0.2, 0.6) * size
        layer.hull([(x, y, thick), (x, y - tall, thick)], colour, flat=flat)
        layer.hull([(x, y - tall, thick * rng.uniform(1, 3))], random_colour(rng), flat=flat)
    else:
        ends = (np.array([x, y]) + size * rng.normal(0, 0.07, (4, 2))).tolist()
        layer.hull([(*end, 0.01 * size) for end in ends], colour, flat=flat)


def _draw_car(
    layer: Layer,
    cabin: tuple[tuple[float, float], ...],
    at: Callable[[float, float, float], Ball],
    paint: Colour,
    hub: Colour,
) -> None:
    """Draw a car, with a function that places circles on it."""
    # Circles reach above their centres: those of the roof are lowered.
    roof = [at(along, above - 0.02 if above > 0.3 else above, 0.03) for along, above in cabin]
    layer.hull(roof, paint, _CAR)
    body = ((0.05, 0.12), (0.95, 0.11), (0.055, 0.225), (0.93, 0.20))
    layer.hull([at(along, above, 0.05) for along, above in body], paint, _CAR)
    layer.hull([at(0.05, 0.235, 0.012), at(0.93, 0.215, 0.012)], shade(paint, 1.25), flat=True)
    layer.hull([at(0.04, 0.085, 0.02), at(0.96, 0.085, 0.02)], shade(paint, 0.55), flat=True)

    # Two windows, with a pillar between them at `middle`; each has a reflection.
    (a0, low), (a1, high), (a2, _), (a3, _) = cabin
    low, high = low + 0.015, high - 0.04
    middle = (a1 + a2) / 2 + 0.03
    for pane in (
        ((a0 + 0.045, low), (a1 + 0.02, high), (middle - 0.015, high), (middle - 0.015, low)),
        ((middle + 0.015, low), (middle + 0.015, high), (a2 - 0.015, high), (a3 - 0.05, low)),
    ):
        layer.hull([at(a, h, 0.012) for a, h in pane], (120, 95, 70), flat=True)
        layer.hull([at(a, h, 0.006) for a, h in pane[1:]], (205, 185, 150), flat=True)

    handle = [at(middle, 0.2, 0.004), at(middle + 0.04, 0.2, 0.004)]
    layer.hull(handle, shade(paint, 0.5), flat=True)
    headlight = [at(0.955, 0.19, 0.02), at(0.93, 0.19, 0.02)]
    layer.hull(headlight, (150, 235, 255), flat=True)
    taillight = [at(0.03, 0.2, 0.016), at(0.03, 0.17, 0.016)]
    layer.hull(taillight, (50, 50, 215), flat=True)
    for along in (0.22, 0.77):
        layer.hull([at(along, 0.085, 0.102)], shade(paint, 0.45), flat=True)
        layer.hull([at(along, 0.085, 0.085)], (38, 36, 36), _CAR, flat=True)
        layer.hull([at(along, 0.085, 0.048)], hub, flat=True)
        layer.hull([at(along, 0.085, 0.02)], shade(hub, 0.5), flat=True)
