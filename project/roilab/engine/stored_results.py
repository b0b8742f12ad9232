"""Checks of stored results that no digest vouches for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roilab.via.formats.coco_values import is_finite_number

_LONGEST_RUN = 7  # characters, which hold more than the pixels of any image
TASKS = ("bbox", "segm", "keypoints")
ROWS = '[{"image_id": 1, "category_id": 1, "bbox": [x, y, w, h], "score": 0.9, ...}, ...]'
RESULTS = '{"bbox": {"AP": 41.2, ...}, ...}'


def problem_of_results(data: Any) -> str:
    """The fault of a run's stored AP; "" if it is sound."""
    if not isinstance(data, dict) or not data.keys() <= set(TASKS):
        return f"{_shown(data)} in place of the AP of {', '.join(TASKS)}"
    for task, metrics in data.items():
        if not isinstance(metrics, dict) or "AP" not in metrics:
            return f"{task} has no AP"
        for name, value in metrics.items():
            if value is not None and not is_finite_number(value):
                return f"{task}/{name} is {_shown(value)}"
    return ""


def problem_of_rows(data: Any) -> str:
    """The fault of COCO result rows; "" if they are sound."""
    if not isinstance(data, list):
        return f"{_shown(data)} in place of a list"
    for place, row in enumerate(data):
        if not isinstance(row, dict):
            return f"[{place}] is {_shown(row)}"
        for key in ("image_id", "category_id", "bbox", "score"):
            if key not in row:
                return f"[{place}] has no {key}"
        for key, value in row.items():
            if key in _CHECKS and not _CHECKS[key](value):
                return f"[{place}].{key} is {_shown(value)}"
    return ""


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or type(value) is int


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_finite_number, value))


def _is_mask(value: Any) -> bool:
    """Whether a value is a compressed RLE whose runs fill its image."""
    if not isinstance(value, Mapping) or set(value) != {"size", "counts"}:
        return False
    size, counts = value["size"], value["counts"]
    return (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and 0 < side < 2**16 for side in size)
        and isinstance(counts, str)
        and _pixels(counts) == size[0] * size[1]
    )


def _pixels(counts: str) -> int | None:
    """The sum of the runs of a compressed RLE; None: it is none.

    Six bits a character: five of the value, the lowest first, and one that says that more follow.
    From the third on, a run is the difference to the one before the last.
    """
    six = np.frombuffer(counts.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(six & 32 == 0)
    if not len(ends) or ends[-1] != len(six) - 1 or six.min() < 0 or six.max() > 63:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_RUN:
        return None
    places = np.arange(len(six)) - np.repeat(starts, lengths)
    values = np.add.reduceat((six & 31) << (5 * places), starts)
    values -= np.where(six[ends] & 16, np.int64(1) << (5 * lengths), 0)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return None if values.min() < 0 else int(values.sum())


_CHECKS = {
    "image_id": _is_id,
    "category_id": _is_id,
    "bbox": lambda value: _are_numbers(value) and len(value) == 4,
    "score": is_finite_number,
    "mask_score": is_finite_number,
    "keypoints": lambda value: _are_numbers(value) and len(value) % 3 == 0,
    "segmentation": _is_mask,
}


def _shown(value: Any, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
