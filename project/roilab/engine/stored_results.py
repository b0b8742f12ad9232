"""Checks of stored results that no digest vouches for."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from roilab.data.mask_to_polygons import compressed
from roilab.evaluation.ap import TASK_NAMES
from roilab.text import shortened
from roilab.via.formats.coco_values import is_finite_number

ROWS = '[{"image_id": 1, "category_id": 1, "bbox": [x, y, w, h], "score": 0.9, ...}, ...]'
RESULTS = '{"bbox": {"AP": 41.2, ...}, ...}'


def problem_of_results(data: Any) -> str:
    """The fault of a run's stored AP; "" if it is sound."""
    if not isinstance(data, dict) or not data.keys() <= set(TASK_NAMES):
        return f"{shortened(repr(data), 60)} in place of the AP of {', '.join(TASK_NAMES)}"
    for task, metrics in data.items():
        if not isinstance(metrics, dict) or "AP" not in metrics:
            return f"{task} has no AP"
        for name, value in metrics.items():
            if value is not None and not is_finite_number(value):
                return f"{task}/{name} is {shortened(repr(value), 60)}"
    return ""


def problem_of_rows(data: Any) -> str:
    """The fault of COCO result rows; "" if they are sound."""
    if not isinstance(data, list):
        return f"{shortened(repr(data), 60)} in place of a list"
    for place, row in enumerate(data):
        if not isinstance(row, dict):
            return f"[{place}] is {shortened(repr(row), 60)}"
        for key in ("image_id", "category_id", "bbox", "score"):
            if key not in row:
                return f"[{place}] has no {key}"
        for key, is_sound in _CHECKS.items():
            if key in row and not is_sound(row[key]):
                return f"[{place}].{key} is {shortened(repr(row[key]), 60)}"
    return ""


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_finite_number, value))


def _is_mask(value: Any) -> bool:
    """Whether a value is a compressed RLE whose runs fill its image."""
    if not isinstance(value, Mapping) or set(value) != {"size", "counts"}:
        return False
    with suppress(ValueError):
        return isinstance(value["counts"], str) and bool(compressed(value))
    return False


_CHECKS = {
    **dict.fromkeys(("image_id", "category_id"), lambda value: type(value) in (str, int)),
    **dict.fromkeys(("score", "mask_score"), is_finite_number),
    "bbox": lambda value: _are_numbers(value) and len(value) == 4,
    "keypoints": lambda value: _are_numbers(value) and len(value) % 3 == 0,
    "segmentation": _is_mask,
}
