"""How much memory a process may take: the least of what is free and of all limits."""

import resource
from pathlib import Path

import pytest

from roilab.memory import available, gigabytes

FILES = {
    "proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n",
    "proc/self/status": "Name: x\nVmSize: 1000 kB\nVmData: 500 kB\n",
    "proc/self/cgroup": "0::/",
}
INSIDE_2 = {
    "proc/self/cgroup": "0::/a/b",
    "sys/fs/cgroup/a/memory.max": "4000000",
    "sys/fs/cgroup/a/memory.current": "3000000",
    "sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 200000\nactive_file 100000\n",
    "sys/fs/cgroup/a/b/memory.max": "max",
    "sys/fs/cgroup/a/b/memory.current": "3000000",
}
INSIDE_1 = {
    "proc/self/cgroup": "7:cpu:/x\n4:memory:/outside/of/the/container",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100000\ninactive_file 7",
}
NO_LIMIT = {
    "proc/self/cgroup": "4:memory:/",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000",
}


def root(folder: Path, files: dict[str, str]) -> Path:
    for name, text in {**FILES, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "left", "why"),
    [
        ({}, 8000 * 1024, "machine"),
        (INSIDE_2, 1300000, "control group"),
        (INSIDE_1, 1600000, "control group"),
        (NO_LIMIT, 8000 * 1024, "machine"),
    ],
)
def test_the_least_of_what_is_free_and_of_the_control_groups(
    files: dict[str, str], left: int, why: str, tmp_path: Path
) -> None:
    memory = available(root(tmp_path, files))
    assert memory is not None
    assert memory[0] == left
    assert why in memory[1]


@pytest.mark.parametrize(
    ("kind", "used", "why"),
    [(resource.RLIMIT_AS, 1000, "ulimit -v"), (resource.RLIMIT_DATA, 500, "ulimit -d")],
)
def test_the_limits_of_the_shell_hold(
    kind: int, used: int, why: str, tmp_path, monkeypatch
) -> None:
    def limit(asked: int) -> tuple[int, int]:
        return (3000 * 1024 if asked == kind else resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    monkeypatch.setattr(resource, "getrlimit", limit)
    assert available(root(tmp_path, {})) == ((3000 - used) * 1024, f"{why} leaves")


def test_where_nothing_says_so_it_is_not_known(tmp_path: Path) -> None:
    assert available(tmp_path) is None


def test_of_this_machine_it_is_less_than_all() -> None:
    memory = available()
    assert memory is None or memory[0] > 0
    assert gigabytes(16_900_000_000) == "16.9 GB"
    assert gigabytes(3_000_000) == "3 MB"
