"""Which images make which batch: a function of the seed and of the batch's number."""

from collections.abc import Iterator, Sequence

import numpy as np


class Batches:
    """Endless batches of `(position, index)`, the part of one process.

    The images are shuffled anew for each pass over the data; with `wide`, a batch holds only wide
    or only tall ones, which pads less. All processes agree on the batch of all and take a slice
    each, so that their number does not change what a batch holds.

    Args:
        count: images in the data set.
        size: images a batch, over all processes.
        seed: of the order.
        wide: of each image, whether it is wider than tall; None: not told apart.
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
        first: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.count, self.size, self.seed = count, size, seed
        self.wide = [False] * count if wide is None else list(wide)
        self.first = first
        share = size // processes
        self.slice = slice(rank * share, (rank + 1) * share)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """`position` counts the images drawn since the beginning, `index` is in the data set."""
        number = 0
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
        turn = 0
        while True:
            yield from np.random.default_rng([self.seed, turn]).permutation(self.count).tolist()
            turn += 1
