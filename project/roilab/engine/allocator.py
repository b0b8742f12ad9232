"""What becomes of memory that torch frees on the CPU."""

import ctypes

# Of glibc's malloc.h: freed memory is never given back (-1), none is mapped apart (0).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let memory that is freed stay with the process, which a training step uses again at once.

    Otherwise each large tensor is new to the process and the kernel hands it over page by page:
    filling one of 32 MiB takes five times as long. Only glibc is told so; elsewhere, nothing
    happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return
    mallopt(_TRIM_THRESHOLD, -1)
    mallopt(_MMAP_MAX, 0)
