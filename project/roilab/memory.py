"""Available memory of this process: the free memory, or less where a limit applies."""

import contextlib
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from roilab.errors import UserError

_UNLIMITED = 1 << 60  # what cgroups write for no limit is above it


class NotEnoughMemory(UserError):
    """An operation needs more memory than is available or allowed."""


def gigabytes(size: float) -> str:
    """A number of bytes, formatted in GB or MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def available(root: Path = Path("/")) -> tuple[int, str] | None:
    """The bytes that this process may still allocate, and what bounds them; None: not known."""
    bounds = [(max(left, 0), "the limit of its control group leaves") for left in _of_cgroups(root)]
    free = _fields(root / "proc/meminfo").get("MemAvailable")
    if free is not None:
        bounds.append((free, "the machine has free"))
    status = _fields(root / "proc/self/status")
    for kind, field, name in (
        (resource.RLIMIT_AS, "VmSize", "ulimit -v"),
        (resource.RLIMIT_DATA, "VmData", "ulimit -d"),
    ):
        most, _ = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY and field in status:
            bounds.append((max(most - status[field], 0), f"{name} leaves"))
    return min(bounds, default=None)


def _fields(path: Path) -> dict[str, int]:
    """The lines `name: number kB` of a file of Linux, in bytes; empty elsewhere."""
    lines = re.findall(r"^(\w+):\s*(\d+) kB$", _text(path), re.MULTILINE)
    return {name: int(number) * 1024 for name, number in lines}


def _of_cgroups(root: Path) -> Iterator[int]:
    """The memory that each control group of this process leaves, by version 2 or 1 of cgroups."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, place = line.split(":", 2)
        base = root / "sys/fs/cgroup"
        if controllers == "":
            limit, usage, prefix = "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
            prefix, base = "total_", base / "memory"
        else:
            continue
        # The limits of its parents apply, too. In a container, the path may be that of the host.
        group = base / place.lstrip("/")
        for folder in dict.fromkeys([group, *group.parents, base]):
            most = _text(folder / limit).strip()
            used = _text(folder / usage).strip()
            is_limit = most.isdigit() and used.isdigit() and int(most) <= _UNLIMITED
            if is_limit and folder.is_relative_to(base):
                # The cache of files is freed when memory is needed.
                lines = _text(folder / "memory.stat").splitlines()
                stat = dict(line.split()[:2] for line in lines)
                kinds = ("inactive_file", "active_file")
                cached = sum(int(stat.get(f"{prefix}{kind}", 0)) for kind in kinds)
                yield int(most) - int(used) + cached


def _text(path: Path) -> str:
    """The text of a file; "" where it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8")
    return ""
