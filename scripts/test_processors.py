"""Run a test command once as each kind of processor that this one can stand for.

    make test-processors ARGS="tests/export"
    make test-processors LEVELS=lowest ARGS="tests/export tests/modeling tests/inference"

PyTorch and oneDNN choose their code by the processor's instructions, and every choice rounds
differently. ATEN_CPU_CAPABILITY and ONEDNN_MAX_CPU_ISA select the code of an older processor.
"""

import argparse
import os
import subprocess
import sys
from typing import NamedTuple

import torch


class Level(NamedTuple):
    """A kind of processor: both settings, and torch's private test of its instructions."""

    aten: str
    onednn: str
    probe: str | None

    def __str__(self) -> str:
        return f"ATEN_CPU_CAPABILITY={self.aten} ONEDNN_MAX_CPU_ISA={self.onednn}"


# From the oldest. The lowest runs everywhere.
LEVELS = (
    Level("default", "SSE41", None),
    Level("avx2", "AVX2", "_is_avx2_supported"),
    Level("avx512", "AVX512_CORE", "_is_avx512_supported"),
    Level("avx512", "AVX512_CORE_BF16", "_is_avx512_bf16_supported"),
    Level("avx512", "AVX512_CORE_AMX", "_is_amx_tile_supported"),
)


def levels_here(which: str = "all") -> list[Level]:
    """The levels that this processor has, or "lowest": only the first."""
    levels = [x for x in LEVELS if not x.probe or getattr(torch.cpu, x.probe, bool)()]
    return levels[:1] if which == "lowest" else levels


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--levels", choices=("all", "lowest"), default="all")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what runs the tests")
    args = parser.parse_args()
    statuses = {}
    for level in levels_here(args.levels):
        print(f"\n== {level}", flush=True)
        settings = {"ATEN_CPU_CAPABILITY": level.aten, "ONEDNN_MAX_CPU_ISA": level.onednn}
        done = subprocess.run(args.command, env={**os.environ, **settings}, check=False)
        statuses[level] = done.returncode
    print()
    for level, status in statuses.items():
        print(f"{'passed' if status == 0 else f'FAILED ({status})':<12}{level}")
    return int(any(statuses.values()))


if __name__ == "__main__":
    sys.exit(main())
