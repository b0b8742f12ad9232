"""The memory that reading and labelling a VIA 2 project takes at its peak, against its size."""

import subprocess
import sys
from pathlib import Path

from benchmarks import Benchmark
from benchmarks.via_read import sizes_of, write_polygons

IMAGES, REGIONS = 10_000, 10
# A process of its own: the peak of this one would hold what other benchmarks left.
_CODE = """
import resource, sys
from roilab import via

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak()
result = via.label(via.read(sys.argv[1]), via.LabelRules(class_attribute="class"))
print(1024 * (peak() - before))
"""


def benchmark(folder: Path) -> Benchmark:
    """100,000 polygons."""
    path = folder / "project.json"
    write_polygons(path, sizes_of(IMAGES), REGIONS)

    def peak() -> float:
        command = [sys.executable, "-c", _CODE, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
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
