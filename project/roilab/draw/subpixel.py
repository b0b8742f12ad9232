"""Continuous coordinates as OpenCV draws them."""

import numpy as np
import numpy.typing as npt

# Of OpenCV's fixed point: coordinates are in 1/16 of a pixel.
BITS = 4


def subpixel(points: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.int32]:
    """Continuous coordinates -> OpenCV's: fixed point, with (0, 0) in the middle of a pixel."""
    # OpenCV keeps fixed point in 32 bits; what lies so far outside is not seen anyway.
    fixed = np.clip((points * scale - 0.5) * (1 << BITS), -(2**28), 2**28)
    return np.rint(fixed).astype(np.int32)
