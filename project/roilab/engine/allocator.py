"""What becomes of memory that torch frees on the CPU."""

import ctypes

# Of glibc's malloc.h, and what its thresholds grow to by themselves at most.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65536}
_KEPT = {_TRIM_THRESHOLD: -1, _MMAP_MAX: 0}  # never given back, never mapped apart


def keep_freed_memory(keep: bool = True) -> None:
    """Let memory that is freed stay with the process, which a training step uses again at once.

    Otherwise each large tensor is new to the process and the kernel hands it over page by page:
    filling one of 32 MiB takes five times as long. Only glibc is told so; elsewhere, nothing
    happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return
    for option, value in (_KEPT if keep else _USUAL).items():
        mallopt(option, value)
