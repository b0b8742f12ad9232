"""Memory that torch frees on the CPU: kept by the process, or given back, by glibc's malloc.

With another C library, the functions do nothing.
"""

import ctypes

# Parameters of mallopt, in glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Let memory that is freed stay with the process, which a training step uses again at once.

    Otherwise each large tensor is new to the process and the kernel hands it over page by page:
    filling one of 32 MiB takes five times as long.
    """
    _call("mallopt", _TRIM_THRESHOLD, -1)  # freed memory is never given back
    _call("mallopt", _MMAP_MAX, 0)  # no block is mapped by itself


def give_freed_memory_back() -> None:
    """Return free memory to the system, for example after weights were read and converted.

    Otherwise it stays with the process, in pieces too small for large tensors.
    """
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # no glibc
        return
    function(*arguments)
