"""The memory that reading and labelling a VIA 2 project takes at its peak, against its size."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import Benchmark
from benchmarks.via_read import sizes_of, write_polygons

IMAGES, REGIONS = 10_000, 10
# A process of its own: the peak of this one would hold what other benchmarks left.
_CODE = """
import sys
from benchmarks._memory import peak_memory
from roilab import via

before = peak_memory()
result = via.build_instances(via.read(sys.argv[1]), via.LabelRules(class_attribute="class"))
print(peak_memory() - before)
"""


def benchmark(folder: Path) -> Benchmark:
    """100,000 polygons."""
    path = folder / "project.json"
    write_polygons(path, sizes_of(IMAGES), REGIONS)

    def peak() -> float:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, str(path)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        )
        return float(done.stdout)

    return Benchmark(
        reference_name="the size of the file",
        ours=peak,
        reference=lambda: float(path.stat().st_size),
        rounds=1,
        gauge=lambda work: float(str(work())),
        unit="bytes",
        bar=(0, 12),
    )
