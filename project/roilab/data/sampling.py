"""Random numbers and the order of images, which follow from a few numbers, not from the past.

Every training step and every augmented image seeds the generators with its own numbers (the run's
seed, its place in the run). A resumed run needs no state of any generator, here or in a worker of
the loader, and the number of workers changes nothing.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

# What numbers are drawn for: the second number that a generator is seeded with, after the run's.
AUGMENTATION, INITIALISATION, STEP, VALIDATION, ANCHORS, PROPOSALS = range(6)


def seed_everything(*numbers: int) -> None:
    """Seed Python's, numpy's and torch's generators (also those on GPUs) with some numbers."""
    words = np.random.SeedSequence(numbers).generate_state(8, np.uint32)
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2:6])  # noqa: NPY002 - Detectron2's augmentations draw from it
    seed = int(words[6]) << 31 | int(words[7]) >> 1
    # torch.manual_seed notes a whole traceback for each kind of GPU that is not there: a tenth of
    # the time to load a small image.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """`seed_everything` for a block; the CPU's generators go on as before it afterwards."""
    of_python = random.getstate()
    of_numpy = np.random.get_state()  # noqa: NPY002
    of_torch = torch.get_rng_state()
    seed_everything(*numbers)
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
        torch.set_rng_state(of_torch)


class BatchSampler:
    """Endless batches of `(position, index)`, the part of one process.

    The images are shuffled anew for each pass over the data; with `wide`, a batch holds only wide
    or only tall ones, which pads less. With `repeats`, a pass has an image as often as that says,
    a fraction being the chance of one time more. All processes agree on the batch of all and take
    a slice each, so that their number does not change what a batch holds.

    Args:
        count: images in the data set.
        size: images a batch, over all processes.
        seed: of the order.
        wide: of each image, whether it is wider than tall; None: not distinguished.
        repeats: of each image, how often a pass has it, on average; None: once.
        first: the number of the batch to begin with, from 0.
        rank, processes: which slice of each batch; `size` is a multiple of `processes`.
    """

    def __init__(
        self,
        count: int,
        size: int,
        *,
        seed: int,
        wide: Sequence[bool] | None = None,
        repeats: Sequence[float] | None = None,
        first: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.count = count
        self.size = size
        self.seed = seed
        self.wide = [False] * count if wide is None else list(wide)
        self.repeats = None if repeats is None else np.array(repeats)
        self.first = first
        self.slice = slice(rank * size // processes, (rank + 1) * size // processes)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """`position` counts the images drawn since the beginning, `index` is in the data set."""
        number = 0
        # The batches that are being filled: of tall images, or of all, and of wide ones.
        groups: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        for position, index in enumerate(self._order()):
            group = groups[self.wide[index]]
            group.append((position, index))
            if len(group) == self.size:
                if number >= self.first:
                    yield group[self.slice]
                number += 1
                group.clear()

    def _order(self) -> Iterator[int]:
        """Indices of the images without end, shuffled anew for each pass over the data."""
        for turn in itertools.count():
            generator = np.random.default_rng([self.seed, turn])
            indices = np.arange(self.count)
            if self.repeats is not None:
                indices = np.repeat(indices, _rounded(self.repeats, generator))
            yield from map(int, generator.permutation(indices))


def _rounded(numbers: npt.NDArray[np.float64], generator: np.random.Generator) -> Any:
    """Whole numbers: up with the chance of the fraction, else down."""
    down = np.floor(numbers)
    return (down + (generator.random(len(numbers)) < numbers - down)).astype(int)
