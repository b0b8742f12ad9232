"""The most memory that this process has had, which `getrusage` does not tell.

Linux lets `ru_maxrss` of a new process begin with what its parent had.
"""

from pathlib import Path

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory() -> int:
    """In bytes, since the process began or since the last reset."""
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def reset_peak_memory() -> None:
    """Let the most be what is in use now."""
    _REFERENCES.write_text("5")
