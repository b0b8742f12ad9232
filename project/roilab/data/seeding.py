"""Randomness that is a function of what is done, not of what was done before.

Every training step and every augmented image seeds the generators with its own numbers (the run's
seed, its place in the run). A resumed run then needs no state of any generator, here or in a
worker of the loader, and the number of workers changes nothing.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
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
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    seed_everything(*numbers)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
