"""A warning about images that use a small part of their range, such as 12 bits in files of 16."""

from collections.abc import Sequence
from pathlib import Path

from roilab import via
from roilab.errors import UserError
from roilab.image_files import bits_of, read_rgb

# Images of a data set that are decoded: they are much alike, and decoding takes time.
_SAMPLE = 32
# A model sees 256 levels. Files of 16 bits that hold 14 or fewer have at most 64 of them; images of
# 8 bits with 16 levels have lost the others before.
_NARROW = {16: 64, 8: 16}


def narrow_range(paths: Sequence[str | Path], file: str) -> via.Problem | None:
    """A warning if images of a data set use a small part of their range.

    An evenly spread sample is decoded. Images that cannot be read are passed over, as are those of
    8 bits and one colour.

    Args:
        file: the annotation file.
    """
    sample = paths[:: max(1, -(-len(paths) // _SAMPLE))]
    # Bits of the file -> the least and the largest value of each image of a small range.
    narrow: dict[int, list[tuple[int, int]]] = {16: [], 8: []}
    for path in sample:
        try:
            bits = 16 if bits_of(path) == 16 else 8
            pixels = read_rgb(path)
        except UserError:
            continue
        # One axis after the other: numpy takes many times as long for both at once.
        lows = pixels.min(axis=0).min(axis=0)
        highs = pixels.max(axis=0).max(axis=0)
        span = (highs - lows).max()  # of a channel
        if span < _NARROW[bits] and (bits == 16 or span > 0):
            narrow[bits].append((int(lows.min()), int(highs.max())))

    bits = 16 if narrow[16] else 8
    if not narrow[bits]:
        return None
    low = min(low for low, _ in narrow[bits])
    high = max(high for _, high in narrow[bits])
    # The range in the values of the file, of whose 16 bits the model sees the upper 8.
    first, last = low, high
    if bits == 16:
        first, last = low << 8, (high << 8) + 255
    used = last.bit_length()
    cause = "they are nearly of one brightness"
    if bits == 16 and used < bits - 1:
        cause = f"they likely hold {used} bits in files of 16"
        first = 0
    looked_at = f"{len(sample)} images" + (f" of {len(paths)}" if len(sample) < len(paths) else "")
    message = (
        f"{len(narrow[bits])} of {looked_at} looked at use a small part of the range of {bits} "
        f"bits: the model sees values from {low} to {high} of 255; {cause}"
    )
    remedy = (
        f"spread {first} to {last} over the whole range, in the images to predict, too: "
        '"Images of 16 bits" in datasets/README.md has the program'
    )
    return via.Problem("warning", message, remedy, file)
