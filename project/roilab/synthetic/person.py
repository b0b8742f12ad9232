"""An articulated person: posed in three dimensions, drawn in two, with the joints where they are.

Frames: the body has x to the person's left, y down, z forward, and its origin between the hips; one
unit is the height of the person standing. The picture has x to the right, y down, in image pixels,
continuous (pixel i covers i to i + 1).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from roilab.synthetic.canvas import Ball, Colour, Layer, random_colour, shade

Vector = npt.NDArray[np.float64]
Joints = dict[str, Vector]

SIDES = (("left", 1.0), ("right", -1.0))
# Radius of a head of ordinary size.
HEAD = 0.085

# (sideways, forward) in degrees from hanging down, of the upper and of the lower half of a limb.
Limb = tuple[tuple[float, float], tuple[float, float]]

# Ranges of the angles of a limb's two halves: sideways, forward, sideways, forward; and how often.
_ARMS = {
    "hang": ((8, 28), (-20, 20), (-4, 24), (0, 30)),
    "spread": ((60, 110), (-10, 10), (55, 125), (-10, 10)),
    "up": ((125, 165), (-10, 10), (140, 195), (-10, 10)),
    "on hip": ((42, 62), (-15, 5), (-62, -42), (-5, 15)),
    "bent": ((18, 55), (-10, 20), (95, 175), (-10, 10)),
    "reach": ((10, 25), (25, 55), (-15, 20), (60, 100)),
}
_ARMS_SHARES = (0.34, 0.16, 0.14, 0.13, 0.14, 0.09)
_STANDING = ((2, 9), (-6, 8), (0, 6), (-10, 2))
_LEGS = {
    "stand": (_STANDING, _STANDING),
    "wide": (((14, 32), (-6, 8), (10, 30), (-10, 2)),) * 2,
    "walk": (((2, 8), (18, 38), (0, 6), (10, 30)), ((2, 8), (-38, -18), (0, 6), (-75, -30))),
    "crouch": (((35, 55), (30, 50), (-12, 8), (-25, -5)),) * 2,
    "knee": (((8, 40), (40, 65), (-12, 12), (-25, 5)), _STANDING),
}
_LEGS_SHARES = (0.3, 0.22, 0.23, 0.13, 0.12)

# The numbers of the body parts in a layer's part map.
_SIDED = ("eye", "ear", "upper_arm", "forearm", "thigh", "shin", "foot")
_NAMES = (
    *("hair", "face", "nose", "neck", "torso"),
    *(f"{side}_{name}" for side, _ in SIDES for name in _SIDED),
)
PARTS = {name: number for number, name in enumerate(_NAMES, start=1)}
# A joint is visible where one of these parts, {} being its own side, is on top of it.
_SHOWN_BY = {
    "eye": ("{}_eye",),
    "ear": ("{}_ear",),
    "shoulder": ("{}_upper_arm", "torso"),
    "elbow": ("{}_upper_arm", "{}_forearm"),
    "wrist": ("{}_forearm",),
    "hip": ("{}_thigh", "torso"),
    "knee": ("{}_thigh", "{}_shin"),
    "ankle": ("{}_shin", "{}_foot"),
}


def parts_showing(keypoint: str) -> frozenset[int]:
    """The parts of which one is on top of a keypoint (COCO's names) that can be seen."""
    if keypoint == "nose":
        return frozenset({PARTS["nose"]})
    side, joint = keypoint.split("_")
    return frozenset(PARTS[name.format(side)] for name in _SHOWN_BY[joint])


@dataclass(frozen=True, slots=True)
class Person:
    """A posed person, not yet placed.

    Attributes:
        height: of the person standing, in pixels.
        front: whether the face is turned to us; then the person's left is on the picture's right.
        yaw: turn about the vertical axis in radians, 0 towards us.
        roll: lean in the plane of the picture in radians.
        build: factor on the widths of body and limbs.
        head: factor on the size of the head.
        joints: body frame, (3,) each: COCO's names, `head`, and `*_hand` and `*_toe` of both sides.
        colours: BGR of what is worn and of skin and hair.
        backpack: carried; only seen from behind.
    """

    height: float
    front: bool
    yaw: float
    roll: float
    build: float
    head: float
    joints: Joints
    colours: dict[str, Colour]
    backpack: bool

    def project(self, point: Vector) -> Vector:
        """Body frame (3,) -> (x, y, nearness): pixels relative to the hips; larger is nearer."""
        x, y, z = point
        across = x * np.cos(self.yaw) + z * np.sin(self.yaw)
        near = z * np.cos(self.yaw) - x * np.sin(self.yaw)
        # We look down a little: what is nearer is lower in the picture.
        down = y + 0.14 * near
        turned_x = across * np.cos(self.roll) - down * np.sin(self.roll)
        turned_y = across * np.sin(self.roll) + down * np.cos(self.roll)
        return np.array([turned_x * self.height, turned_y * self.height, near])

    def box(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) of the figure relative to the hips, in pixels, about right."""
        points = np.array([self.project(joint)[:2] for joint in self.joints.values()])
        margin = 0.05 * self.height
        x0, y0 = points.min(axis=0) - margin
        x1, y1 = points.max(axis=0) + margin
        return float(x0), float(y0), float(x1), float(y1)


def random_person(rng: np.random.Generator, height: float) -> Person:
    """A person in a random pose, dress and view, `height` pixels tall when standing."""
    front = bool(rng.random() < 0.62)
    turn = rng.uniform(-0.95, 0.95) if rng.random() < 0.3 else rng.uniform(-0.4, 0.4)
    head = rng.uniform(0.95, 1.15)
    return Person(
        height=height,
        front=front,
        yaw=float(turn if front else np.pi + turn),
        roll=float(np.clip(rng.normal(0.0, 0.1), -0.35, 0.35)),
        build=float(rng.uniform(0.92, 1.14)),
        head=float(head),
        joints=random_pose(rng, head),
        colours=_dress(rng),
        backpack=bool(not front and rng.random() < 0.6),
    )


def draw_person(layer: Layer, person: Person, x: float, y: float) -> Joints:
    """Draw the person with the hips at (x, y) and return where the joints are, (2,) pixels each."""
    hips = np.array([x, y, 0.0])
    places = {name: person.project(joint) + hips for name, joint in person.joints.items()}
    strokes = _torso(person, places) + _head(person, places)
    for side, (first, second, radii, bias, colour, part) in product(("left", "right"), _LIMBS):
        start, end = places[f"{side}_{first}"], places[f"{side}_{second}"]
        if second == "hand":  # which is bare beyond the wrist
            start = _between(start, end, 0.3)
        tube = _tube(person, start, end, radii, bias)
        strokes.append(_Stroke(*tube, person.colours[colour], PARTS[f"{side}_{part}"]))
    # Sorting keeps the order of equals: details follow what they lie on.
    for stroke in sorted(strokes, key=lambda stroke: stroke.near):
        layer.hull(stroke.balls, stroke.colour, stroke.part, stroke.flat)
    return {name: place[:2] for name, place in places.items()}


def random_pose(rng: np.random.Generator, head: float) -> Joints:
    """The `joints` of a person with a `head` of that size."""
    wide = rng.uniform(0.95, 1.08)
    lean = rng.uniform(-0.06, 0.08)
    look = rng.uniform(-0.25, 0.25)
    left, right = rng.choice(list(_ARMS), size=2, p=_ARMS_SHARES)
    if rng.random() < 0.5:  # both arms of one kind
        right = left
    arms = _limb(rng, _ARMS[left]), _limb(rng, _ARMS[right])
    one, other = _LEGS[rng.choice(list(_LEGS), p=_LEGS_SHARES)]
    if rng.random() < 0.5:
        one, other = other, one
    legs = _limb(rng, one), _limb(rng, other)
    radius = HEAD * head
    crown = np.array([0.0, -0.35 - radius, 1.2 * lean])

    def on_head(angle: float, below: float) -> Vector:
        return crown + radius * np.array([np.sin(angle), below, np.cos(angle)])

    joints = {"head": crown, "nose": on_head(look, 0.16)}
    for index, (side, sign) in enumerate(SIDES):
        joints[f"{side}_eye"] = on_head(look + sign * 0.42, -0.14)
        joints[f"{side}_ear"] = on_head(look + sign * 1.62, 0.05)
        shoulder = np.array([sign * 0.118 * wide, -0.285, lean])
        hip = np.array([sign * 0.066 * wide, 0.0, 0.0])
        names = [f"{side}_{name}" for name in ("shoulder", "elbow", "wrist", "hand")]
        joints |= _chain(sign, shoulder, arms[index], (0.165, 0.150, 0.035), names)
        names = [f"{side}_{name}" for name in ("hip", "knee", "ankle")]
        joints |= _chain(sign, hip, legs[index], (0.220, 0.200), names)
        joints[f"{side}_toe"] = joints[f"{side}_ankle"] + np.array([sign * 0.012, 0.03, 0.055])
    return joints


def _chain(
    sign: float, start: Vector, limb: Limb, lengths: tuple[float, ...], names: list[str]
) -> Joints:
    """Points along a limb of two halves, one more than lengths; a third length goes on straight."""
    points = [start]
    for (out, forward), length in zip((*limb, limb[1]), lengths, strict=False):
        a, f = np.radians(out), np.radians(forward)
        way = np.array([sign * np.sin(a), np.cos(a) * np.cos(f), np.cos(a) * np.sin(f)])
        points.append(points[-1] + length * way)
    return dict(zip(names, points, strict=True))


def _limb(rng: np.random.Generator, ranges: tuple[tuple[float, float], ...]) -> Limb:
    """A limb with random angles within the ranges of `_ARMS` or `_LEGS`."""
    out, forward, low_out, low_forward = (float(rng.uniform(*range_)) for range_ in ranges)
    return (out, forward), (low_out, low_forward)


# BGR.
_SKINS = ((190, 214, 245), (150, 186, 230), (118, 158, 212), (84, 120, 176), (58, 82, 128))
_HAIRS = (
    *((28, 28, 34), (30, 48, 78), (38, 74, 122), (90, 180, 225), (40, 60, 160)),
    *((165, 165, 170), (205, 215, 220)),
)


def _dress(rng: np.random.Generator) -> dict[str, Colour]:
    """Random colours of skin, hair and clothes, BGR."""
    skin = shade(_SKINS[rng.integers(len(_SKINS))], rng.uniform(0.92, 1.05))
    # The back of a head must not look like a face.
    hairs = [hair for hair in _HAIRS if np.abs(np.subtract(hair, skin)).sum() > 150]
    hair = shade(hairs[rng.integers(len(hairs))], rng.uniform(0.85, 1.1))
    shirt = random_colour(rng, saturation=(0.35, 0.95), value=(0.45, 0.95))
    trousers = random_colour(rng, saturation=(0.1, 0.7), value=(0.2, 0.75))
    return {
        "skin": skin,
        "hair": hair,
        "shirt": shirt,
        "sleeve": skin if rng.random() < 0.4 else shirt,
        "trousers": trousers,
        "shin": skin if rng.random() < 0.25 else trousers,
        "shoes": random_colour(rng, saturation=(0.0, 0.8), value=(0.1, 0.9)),
        "accent": random_colour(rng, saturation=(0.0, 0.3), value=(0.85, 1.0)),
        "pack": random_colour(rng, saturation=(0.3, 0.9), value=(0.2, 0.6)),
    }


@dataclass(frozen=True, slots=True)
class _Stroke:
    """One call of `Layer.hull`, and how near it is in body units."""

    near: float
    balls: list[Ball]
    colour: Colour
    part: int | None = None
    flat: bool = False


def _between(a: Vector, b: Vector, share: float) -> Vector:
    return a + share * (b - a)


def _ball(person: Person, place: Vector, radius: float) -> Ball:
    """A circle of `radius` body units at a projected place."""
    return float(place[0]), float(place[1]), radius * person.height


def _tube(
    person: Person, start: Vector, end: Vector, radii: tuple[float, float], bias: float
) -> tuple[float, list[Ball]]:
    """The depth of a tapered tube, and its end balls; see `_LIMBS`."""
    ends = zip((start, end), radii, strict=True)
    balls = [_ball(person, place, radius * person.build) for place, radius in ends]
    return float(start[2] + end[2]) / 2 + bias, balls


# Limbs as tapered tubes between two joints: their radii there and how much nearer they are, both in
# body units; colour and part.
_LIMBS = (
    ("shoulder", "elbow", (0.054, 0.047), 0.035, "shirt", "upper_arm"),
    ("elbow", "wrist", (0.046, 0.040), 0.065, "sleeve", "forearm"),
    ("wrist", "hand", (0.040, 0.036), 0.070, "skin", "forearm"),
    ("hip", "knee", (0.066, 0.056), -0.030, "trousers", "thigh"),
    ("knee", "ankle", (0.054, 0.044), -0.035, "shin", "shin"),
    ("ankle", "toe", (0.044, 0.036), -0.020, "shoes", "foot"),
)


def _torso(person: Person, places: Joints) -> list[_Stroke]:
    """Neck and torso, with what tells the front (an open collar) from the back (a backpack)."""
    colours = person.colours
    unit = person.height
    shoulders = [places["left_shoulder"], places["right_shoulder"]]
    hips = [places["left_hip"], places["right_hip"]]
    top = _between(shoulders[0], shoulders[1], 0.5)
    bottom = _between(hips[0], hips[1], 0.5)
    near = float(top[2] + bottom[2]) / 2
    trunk = [_ball(person, place, 0.050 * person.build) for place in shoulders]
    trunk += [_ball(person, place, 0.056 * person.build) for place in hips]
    belt = [_ball(person, hip + np.array([0, 0.028 * unit, 0]), 0.026) for hip in hips]
    chin = _between(top, places["head"], 0.55)
    throat = _tube(person, top, chin, (0.036, 0.036), -0.01)
    strokes = [
        _Stroke(*throat, shade(colours["skin"], 0.9), PARTS["neck"]),
        _Stroke(near, trunk, colours["shirt"], PARTS["torso"]),
        _Stroke(near, belt, shade(colours["trousers"], 0.8), flat=True),
    ]
    # What lies on the surface moves to the side as the body turns.
    turn = np.array([0.05 * np.sin(person.yaw) * unit, 0, 0])
    top, bottom = top + turn, bottom + turn
    if person.front:
        half = 0.05 * unit * np.cos(person.yaw)
        collar = [_ball(person, top + np.array([x, -0.03 * unit, 0]), 0.006) for x in (-half, half)]
        tip = _between(top, bottom, 0.34)
        collar.append(_ball(person, tip, 0.006))
        end = _between(top, bottom, 0.9)
        lining = [_ball(person, place, 0.012) for place in (tip, end)]
        strokes.append(_Stroke(near, collar, colours["skin"], flat=True))
        strokes.append(_Stroke(near, lining, colours["accent"], flat=True))
    elif person.backpack:

        def on_back(shoulder: Vector, inward: float, down: float, radius: float) -> Ball:
            place = _between(_between(top, shoulder, inward), bottom, down)
            return _ball(person, place, radius)

        pack = [on_back(place, 0.45, down, 0.045) for place in shoulders for down in (0.22, 0.72)]
        pocket = [on_back(place, 0.35, 0.66, 0.03) for place in shoulders]
        strokes.append(_Stroke(near, pack, colours["pack"]))
        strokes.append(_Stroke(near, pocket, shade(colours["pack"], 1.35)))
    return strokes


def _head(person: Person, places: Joints) -> list[_Stroke]:
    """Hair, face and ears: the face is a smaller ball in front of the hair."""
    radius = HEAD * person.head
    skin = person.colours["skin"]
    bias = 0.05  # how much nearer a head is drawn than it is, in body units
    look = person.joints["nose"] - person.joints["head"]
    ahead = np.array([look[0], 0.0, look[2]]) / np.hypot(look[0], look[2])
    aside = np.array([ahead[2], 0.0, -ahead[0]])
    below = np.array([0.0, 1.0, 0.0])

    def place(shift: Vector) -> Vector:
        """The projection of a point of the head; `shift` is from its centre, in radii."""
        return places["head"] + person.project(radius * shift)

    hair = place(-0.14 * ahead - 0.2 * below)
    face = place(0.2 * ahead + 0.12 * below)
    near = float(face[2]) + bias
    locks = [_ball(person, hair, 1.06 * radius)]
    strokes = [
        _Stroke(float(hair[2]) + bias, locks, person.colours["hair"], PARTS["hair"]),
        _Stroke(near, [_ball(person, face, 0.88 * radius)], skin, PARTS["face"]),
    ]
    for side, _ in SIDES:
        ear = places[f"{side}_ear"]
        ball = [_ball(person, ear, 0.26 * radius)]
        part = PARTS[f"{side}_ear"]
        strokes.append(_Stroke(float(ear[2]) + bias, ball, shade(skin, 0.88), part))

    # What is nearer to us than this lies on our side of the head.
    ours = places["head"][2] + 0.15 * radius
    for name in ("left_eye", "right_eye"):
        eye = places[name]
        if eye[2] > ours:
            white = [_ball(person, eye, 0.22 * radius)]
            pupil = [_ball(person, eye, 0.14 * radius)]
            strokes.append(_Stroke(near, white, (245, 245, 245), PARTS[name], flat=True))
            strokes.append(_Stroke(near, pupil, (35, 25, 20), flat=True))
    if places["nose"][2] > ours:
        tip = [_ball(person, places["nose"], 0.17 * radius)]
        mouth = [
            _ball(person, place(0.88 * ahead + x * aside + y * below), 0.06 * radius)
            for x, y in ((-0.26, 0.5), (0.26, 0.5), (0.0, 0.66))
        ]
        strokes.append(_Stroke(near, mouth, shade((80, 80, 190), 0.8), flat=True))
        strokes.append(_Stroke(near, tip, shade(skin, 0.72), PARTS["nose"], flat=True))
    return strokes
