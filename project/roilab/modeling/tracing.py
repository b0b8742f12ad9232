"""Helpers for tracing: `torch.export` and `torch.jit.trace` see no values.

What branches or loops on values elsewhere, to do less, has a second way here that does not.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def in_graph() -> bool:
    """Whether the call is recorded, so that no branch may depend on values."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


def as_tensor(sizes: Sequence[Any]) -> Tensor:
    """Sizes of tensors as int64, which a graph computes from those tensors."""
    if torch.jit.is_tracing():
        return torch.stack(list(sizes))
    return torch.stack([torch.scalar_tensor(size, dtype=torch.int64) for size in sizes])


def as_size(value: Tensor) -> Any:
    """A whole number of at least 1 that was computed, as a size of tensors to come."""
    if torch.compiler.is_exporting():
        size = value.item()
        torch._check(size >= 1)
        return size
    return value if torch.jit.is_tracing() else int(value)
