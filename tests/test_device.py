"""How a training shares the machine: compute threads, memory."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from roilab.device import dtype_of, share_cores

FAULTS = """
import resource, torch
from roilab.cpu.malloc import keep_freed_memory

def use():
    for _ in range(8):
        torch.ones(20 << 20)  # 80 MiB

for begin in (lambda: None, keep_freed_memory):
    begin()
    use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(
    ("policy", "number", "expected"),
    [
        *(("PASSIVE", None, [4]), ("passive", None, [4]), (None, None, [3]), ("ACTIVE", None, [3])),
        (None, "3", []),  # a number that was set is left alone
    ],
)
def test_threads_that_spin_leave_workers_a_core(
    policy: str | None, number: str | None, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("OMP_NUM_THREADS", number), ("OMP_WAIT_POLICY", policy)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    share_cores(workers=1)
    assert chosen == expected


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_stays_with_the_process() -> None:
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    given_back, kept = map(int, done.stdout.split())
    # What is given back is paged in eight times. What is kept may be so once, where a small block
    # has come to lie at the end of the heap and the tensor goes behind it.
    assert 4 * kept < given_back


@pytest.mark.parametrize(
    ("capability", "has", "dtype"),
    [
        ("AVX512", True, torch.bfloat16),
        ("AVX512", False, torch.float32),
        ("AVX2", True, torch.float32),  # as ATEN_CPU_CAPABILITY=avx2 says
    ],
)
def test_bfloat16_is_for_processors_that_have_it_and_may_use_it(
    capability: str, has: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: has, raising=False)
    assert dtype_of("auto", torch.device("cpu")) == dtype
