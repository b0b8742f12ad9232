"""Output comparison: image, annotations, and what two arms find where they differ most."""

from collections.abc import Sequence

import numpy as np

from roilab.inference.rendering import PAGE_QUALITY, draw_comparison, jpeg
from roilab.sweep.results import Found


def most_different(
    one: Sequence[Sequence[float | None]], other: Sequence[Sequence[float | None]], count: int
) -> list[tuple[int, float]]:
    """Positions of the images whose values differ most, and by how much the other's are larger.

    Args:
        one, other: of two arms, the images' values for each seed.
    """
    a, b = (np.array(values, float).mean(axis=0) for values in (one, other))
    apart = np.nan_to_num(b - a)
    ranked = sorted(range(len(apart)), key=lambda at: (-abs(apart[at]), at))
    return [(at, float(apart[at])) for at in ranked[:count] if apart[at]]


def comparison(at: int, one: Found, other: Found, names: Sequence[str]) -> bytes:
    """A JPEG file: the image at a position, its annotations, and what two runs find in it."""
    record = other.images()[at]
    rows = [found.drawn.get(record["image_id"], []) for found in (one, other)]
    picture = draw_comparison(
        record, other.dataset, dict(zip(names, rows, strict=True)), original=True
    )
    return jpeg(picture, PAGE_QUALITY)
