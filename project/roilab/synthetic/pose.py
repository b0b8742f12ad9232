"""Random poses: where the joints of a body are.

Frame of the body: x to the person's left, y down, z forward; the origin is between the hips, and
one unit is the height of the person standing.
"""

import numpy as np
import numpy.typing as npt

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


def random_pose(rng: np.random.Generator, head: float) -> Joints:
    """Joints, (3,) each: COCO's names, `head`, and `*_hand` and `*_toe` of both sides.

    Args:
        head: factor on the size of the head.
    """
    wide = rng.uniform(0.95, 1.08)
    lean = rng.uniform(-0.06, 0.08)
    look = rng.uniform(-0.25, 0.25)
    arms, legs = _arms(rng), _legs(rng)
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
    out, forward, low_out, low_forward = (float(rng.uniform(*range_)) for range_ in ranges)
    return (out, forward), (low_out, low_forward)


def _arms(rng: np.random.Generator) -> tuple[Limb, Limb]:
    """Left and right arm; half of the time of one kind."""
    left, right = rng.choice(list(_ARMS), size=2, p=_ARMS_SHARES)
    if rng.random() < 0.5:
        right = left
    return _limb(rng, _ARMS[left]), _limb(rng, _ARMS[right])


def _legs(rng: np.random.Generator) -> tuple[Limb, Limb]:
    """Left and right leg."""
    one, other = _LEGS[rng.choice(list(_LEGS), p=_LEGS_SHARES)]
    if rng.random() < 0.5:
        one, other = other, one
    return _limb(rng, one), _limb(rng, other)
