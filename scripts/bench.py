"""Run the benchmarks, each against its reference, and write outputs/bench.json.

    python scripts/bench.py [--only NAME]

Ours and the reference are timed in turns, so that other load on the machine falls on both, and
medians are compared: a ratio holds on a noisy machine where seconds do not. A benchmark is added
in scripts/benchmarks.
"""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks import MEANINGS, Benchmark, load, medians
from roilab.cli.console import exit_with, set_up
from roilab.cli.parser import Parser
from roilab.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "outputs" / "bench.json"


def main() -> int:
    """Run, print one table, write the file; return the exit status."""
    set_up()
    parser = Parser(description="Run the benchmarks of the project.")
    parser.add_argument("--only", metavar="NAME", help=f"one of: {', '.join(MEANINGS)}")
    only = parser.parse_args(sys.argv[1:]).only
    if only is not None and only not in MEANINGS:
        print(f"error: no benchmark is called {only!r}; there are:", file=sys.stderr)
        for name, meaning in MEANINGS.items():
            print(f"  {name:<33}{meaning}", file=sys.stderr)
        return 2
    header = f"{'benchmark':<20}{'ours':>14}{'reference':>14}"
    print(f"{header}  ours/reference (below 1: ours is faster)", flush=True)
    results = {}
    for name in MEANINGS if only is None else [only]:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            results[name] = measure(load(name, Path(folder)))
        print(row(name, results[name]), flush=True)
    write_whole(OUTPUT, json.dumps(results, indent=2) + "\n")
    print(f"written to {OUTPUT.relative_to(ROOT)}")
    return 0


def measure(benchmark: Benchmark) -> dict[str, float | str]:
    """Medians of ours and of the reference for a unit of work, and their ratios."""
    works = {"ours": benchmark.ours, "reference": benchmark.reference}
    measures = medians(works, benchmark.rounds, benchmark.unit)
    ours = measures["ours"] / benchmark.work[0]
    reference = measures["reference"] / benchmark.work[1]
    ratio = ours / reference
    result: dict[str, float | str] = {"ours": ours, "reference": reference, "unit": benchmark.unit}
    result |= {"ratio": ratio, "reference_name": benchmark.reference_name}
    if benchmark.bar is not None:
        low, high = benchmark.bar
        result["bar"] = f"{low:g} to {high:g}"
        result["bar_met"] = str(low <= ratio <= high).lower()
    if benchmark.note is not None:
        result["note"] = benchmark.note()
    return result


def row(name: str, result: dict[str, float | str]) -> str:
    """One line of the table."""
    ours = amount(float(result["ours"]), result["unit"])
    reference = amount(float(result["reference"]), result["unit"])
    line = f"{name:<20}{ours:>14}{reference:>14}  {result['ratio']:.3f} of"
    line += f" {result['reference_name']}"
    if "bar" in result:
        line += f" ({'within' if result['bar_met'] == 'true' else 'NOT within'} {result['bar']})"
    if "note" in result:
        line += f"\n{'':<20}{result['note']}"
    return line


def amount(value: float, unit: float | str) -> str:
    """A measure with a legible unit."""
    if unit != "s":
        return f"{value / 1e6:.1f} MB"
    return f"{1000 * value:.2f} ms" if value >= 1e-4 else f"{1e6 * value:.2f} us"


if __name__ == "__main__":
    exit_with(main)
