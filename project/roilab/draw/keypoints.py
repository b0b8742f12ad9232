"""Keypoints as dots, the links of their skeleton as lines."""

from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from roilab.draw.colours import BLACK, FADED, MIDDLE, Picture, rim_of, side_colours
from roilab.draw.subpixel import BITS, subpixel
from roilab.skeleton import Skeleton

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# The radius of a dot that is hardly seen, and how much larger a sure one's is, in line widths.
_RADIUS, _GROWTH = 0.9, 1.1
# How far the arms of a cross reach, in line widths.
_CROSS = 2.5
# What is smaller and lies between pixels is as dark as its rim.
_LEAST_RADIUS, _LEAST_WIDTH = 1.5, 2
# A line is no wider than this share of the instance, so that dots of small ones stay apart.
_SHARE = 1 / 50


def draw_keypoints(
    picture: Picture,
    joints: Floats,
    skeleton: Skeleton | None,
    threshold: float,
    line: int,
    scale: int,
) -> None:
    """Links under dots, an instance after the other.

    Args:
        joints: (N, K, 3), x y and how well they are seen, 1 or more being best; NaN for none.
    """
    seen = joints[..., 2] > threshold
    joints = np.nan_to_num(joints)
    places = subpixel(joints[..., :2], scale)
    strengths = np.clip(joints[..., 2], 0, 1)
    # Of all keypoints, seen or not: two eyes alone do not make a small person.
    extents = np.ptp(joints[..., :2], axis=1).max(axis=1) * scale
    colours = side_colours(skeleton, joints.shape[1])
    links = np.array(skeleton.link_indices if skeleton is not None else (), int).reshape(-1, 2)
    for place, strength, there, extent in zip(places, strengths, seen, extents, strict=True):
        if not there.any():
            continue
        width = max(1, min(line, round(extent * _SHARE))) if extent else line
        shown = links[there[links].all(axis=1)]
        _draw_links(picture, place[shown], strength[shown].min(axis=1), colours[shown], width)
        _draw_dots(picture, place[there], strength[there], colours[there], width)


def draw_crosses(picture: Picture, points: Floats, line: int, scale: int) -> None:
    """White crosses with a black rim, over the (P, 2) points."""
    reach = round((_CROSS * line + 1) * (1 << BITS))
    arms = [np.array([reach, reach]), np.array([reach, -reach])]
    for colour, width in ((BLACK, line + 2 * rim_of(line)), (MIDDLE, line)):
        for place in subpixel(points, scale):
            for arm in arms:
                ends = (place - arm).tolist(), (place + arm).tolist()
                cv2.line(picture, *ends, colour, width, cv2.LINE_AA, BITS)


def _draw_links(picture: Picture, ends: Ints, strengths: Floats, colours: Ints, line: int) -> None:
    """Lines between the (L, 2, 2) ends, by the strength of the weaker one and the ends' colours."""
    same = (colours[:, 0] == colours[:, 1]).all(axis=1, keepdims=True)
    joined = np.where(same, colours[:, 0], MIDDLE)
    shades = np.array(FADED) + (joined - np.array(FADED)) * np.sqrt(strengths)[:, None]
    widths = np.maximum(_LEAST_WIDTH, np.ceil(line * (1 + strengths) / 2)).astype(int)
    lines = list(zip(ends.tolist(), widths.tolist(), shades.tolist(), strict=True))
    rim = 2 * rim_of(line)
    for (one, other), width, _ in lines:
        cv2.line(picture, one, other, BLACK, width + rim, cv2.LINE_AA, BITS)
    for (one, other), width, shade in lines:
        cv2.line(picture, one, other, shade, width, cv2.LINE_AA, BITS)


def _draw_dots(picture: Picture, places: Ints, strengths: Floats, colours: Ints, line: int) -> None:
    radii = np.maximum(_LEAST_RADIUS, line * (_RADIUS + _GROWTH * strengths))
    inner = np.rint(radii * (1 << BITS)).astype(int)
    outer = inner + (rim_of(line) << BITS)
    dots = (places.tolist(), inner.tolist(), outer.tolist(), colours.tolist())
    for place, radius, rim, colour in zip(*dots, strict=True):
        cv2.circle(picture, place, rim, BLACK, cv2.FILLED, cv2.LINE_AA, BITS)
        cv2.circle(picture, place, radius, colour, cv2.FILLED, cv2.LINE_AA, BITS)
