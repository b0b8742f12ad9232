"""A skeleton: keypoint names, left-right swaps, links and OKS sigmas, declared and checked once."""

import codecs
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from roilab.errors import UserError, argument
from roilab.files import parse_json, read_bytes


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Keypoints of an object class. Everything else about keypoints derives from this declaration.

    Attributes:
        name: what the skeleton is called in messages.
        classes: names of the object classes that have these keypoints.
        keypoints: names, in the order of the model's K outputs.
        swaps: pairs of names that trade places when the image is flipped.
        links: pairs of names joined by a line in pictures.
        sigmas: per-keypoint standard deviation of OKS (COCO keypoint evaluation), one a keypoint.
    """

    name: str
    classes: tuple[str, ...]
    keypoints: tuple[str, ...]
    swaps: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        known = set(self.keypoints)
        if not self.keypoints or len(known) != len(self.keypoints):
            raise self._error("keypoints", self.keypoints, "at least one name, each name once")
        if not self.classes:
            raise self._error("classes of the skeleton", self.classes, "at least one class name")
        for key, pairs in (("swaps", self.swaps), ("links", self.links)):
            for pair in pairs:
                if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= known:
                    raise self._error(key, pair, f"two different names of {sorted(known)}")
        swapped = [name for pair in self.swaps for name in pair]
        if len(set(swapped)) != len(swapped):
            raise self._error("swaps", swapped, "each name in at most one pair")
        wrong = [sigma for sigma in self.sigmas if not (math.isfinite(sigma) and sigma > 0)]
        if len(self.sigmas) != len(self.keypoints) or wrong:
            values = f"{len(self.sigmas)} values" + (f", of them {wrong}" if wrong else "")
            expected = f"{len(self.keypoints)} positive finite values, one a keypoint"
            raise self._error("sigmas", values, expected)

    def _error(self, key: str, value: object, expected: str) -> UserError:
        message = f"skeleton '{self.name}' is inconsistent"
        return UserError(message, key=key, found=value, expected=expected)

    @property
    def flip_indices(self) -> tuple[int, ...]:
        """For each keypoint, the index of the keypoint it becomes in the mirrored image."""
        partner = dict(self.swaps) | {right: left for left, right in self.swaps}
        return tuple(self.keypoints.index(partner.get(name, name)) for name in self.keypoints)

    @property
    def link_indices(self) -> tuple[tuple[int, int], ...]:
        """The links as pairs of keypoint indices."""
        return tuple((self.keypoints.index(a), self.keypoints.index(b)) for a, b in self.links)

    def to_dict(self) -> dict[str, Any]:
        """The declaration as plain JSON data; `from_dict` is its inverse."""
        return asdict(self)


def from_dict(data: Mapping[str, Any], file: str | Path | None = None) -> Skeleton:
    """Build a skeleton from JSON data; a UserError for a missing, unknown or wrong key."""
    names = sorted(field.name for field in fields(Skeleton))
    if not isinstance(data, Mapping) or sorted(data) != names:
        keys = sorted(data) if isinstance(data, Mapping) else type(data).__name__
        raise UserError("not a skeleton declaration", file=file, found=keys, expected=names)
    try:
        return Skeleton(
            name=str(data["name"]),
            classes=tuple(map(str, data["classes"])),
            keypoints=tuple(map(str, data["keypoints"])),
            swaps=tuple(tuple(map(str, pair)) for pair in data["swaps"]),  # type: ignore[misc]
            links=tuple(tuple(map(str, pair)) for pair in data["links"]),  # type: ignore[misc]
            sigmas=tuple(map(float, data["sigmas"])),
        )
    except UserError as error:
        raise error.replace(file=file, remedy=None) from error
    except (TypeError, ValueError, OverflowError) as error:
        message = "a value of the skeleton has the wrong form"
        expected = "lists of names, pairs of names, and numbers"
        raise UserError(message, file=file, found=error, expected=expected) from error


def load_skeleton(source: str | Path) -> Skeleton:
    """A skeleton by name (`coco_person`) or from a JSON file; a UserError for anything else."""
    if str(source) == COCO_PERSON.name:
        return COCO_PERSON
    what = "the skeleton file"
    remedy = f"give {argument('skeleton', COCO_PERSON.name)}, or skeleton=FILE"
    content = read_bytes(source, what=what, key="skeleton", remedy=remedy)
    expected = f"an object with the keys {', '.join(field.name for field in fields(Skeleton))}"
    data = parse_json(content.removeprefix(codecs.BOM_UTF8), source, what=what, expected=expected)
    return from_dict(data, file=source)


_PARTS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")  # on both sides
# Names, order and sigmas of the COCO person keypoints (pycocotools.cocoeval.Params.setKpParams).
COCO_PERSON = Skeleton(
    name="coco_person",
    classes=("person",),
    keypoints=("nose", *(f"{side}_{part}" for part in _PARTS for side in ("left", "right"))),
    swaps=tuple((f"left_{part}", f"right_{part}") for part in _PARTS),
    links=(
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
        ("left_shoulder", "right_shoulder"),
        ("left_shoulder", "left_elbow"),
        ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_elbow"),
        ("right_elbow", "right_wrist"),
        ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"),
        ("left_hip", "right_hip"),
        ("left_hip", "left_knee"),
        ("left_knee", "left_ankle"),
        ("right_hip", "right_knee"),
        ("right_knee", "right_ankle"),
    ),
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035),  # head
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),  # arms
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),  # legs
    ),
)
# For a keypoint that COCO does not name: the mean of COCO's.
DEFAULT_SIGMA = round(fmean(COCO_PERSON.sigmas), 3)


def default_sigmas(keypoints: Sequence[str]) -> tuple[float, ...]:
    """COCO's sigmas of the keypoints that it names, `DEFAULT_SIGMA` of the others."""
    coco = dict(zip(COCO_PERSON.keypoints, COCO_PERSON.sigmas, strict=True))
    return tuple(coco.get(name, DEFAULT_SIGMA) for name in keypoints)


def oks_terms(
    points: npt.NDArray[np.floating[Any]],
    others: npt.NDArray[np.floating[Any]],
    area: npt.NDArray[np.floating[Any]] | float,
    sigmas: Sequence[float] | npt.NDArray[np.floating[Any]],
) -> npt.NDArray[np.floating[Any]]:
    """The terms of OKS, exp(-d^2 / (2 area (2 sigma)^2)): 1 for keypoints in the same place.

    OKS (COCO, "Keypoint Evaluation") is the mean of these (..., K) over the labelled keypoints.

    Args:
        points, others: (..., K, 2), in pixels.
        area: of the objects, in square pixels; (..., 1) or a number.
        sigmas: K, see `Skeleton`.
    """
    distance = ((points - others) ** 2).sum(axis=-1)
    spread = 2 * (2 * np.asarray(sigmas)) ** 2 * (area + np.spacing(1))
    terms: npt.NDArray[np.floating[Any]] = np.exp(-distance / spread)
    return terms
