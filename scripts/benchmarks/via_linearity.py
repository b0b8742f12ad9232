"""Reading and labelling a region of a large VIA 2 project, against one of a small project."""

from pathlib import Path

from benchmarks import Benchmark
from benchmarks.via_read import read, sizes_of, write_polygons

LARGE, SMALL, REGIONS = 20_000, 1_000, 10


def benchmark(folder: Path) -> Benchmark:
    """200,000 polygons against 10,000."""
    large, small = folder / "large.json", folder / "small.json"
    write_polygons(large, sizes_of(LARGE), REGIONS)
    write_polygons(small, sizes_of(SMALL), REGIONS)
    return Benchmark(
        reference_name="a region of a file with fewer",
        ours=lambda: read(large),
        reference=lambda: [read(small) for _ in range(REPEATS)],
        rounds=3,
        work=(LARGE * REGIONS, SMALL * REGIONS * REPEATS),
        bar=(0.75, 1.25),
    )


# The small file is read several times, so that one moment of a noisy machine does not decide.
REPEATS = 5
