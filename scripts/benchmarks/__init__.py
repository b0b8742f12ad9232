"""Benchmarks, one a module: what it is called is its file's name.

To add one, write `scripts/benchmarks/NAME.py` with a function

    def benchmark(folder: Path) -> Benchmark

that makes its input in `folder` (empty, removed afterwards) and returns what is to be timed.
Modules are imported only when their benchmark runs.
"""

import importlib
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Benchmark:
    """Two ways to do the same work.

    Args:
        reference_name: what `reference` is, in a few words for the table.
        ours: does the work once in the way that is judged.
        reference: does the same work, or a lower bound of it, in the other way.
        rounds: how often each is timed; the median counts.
        work: how much one call of each does; what is compared is the measure of one unit of it.
        gauge: what a call is measured by, in `unit`; None: its time.
        bar: the ratio that the project wants is between these two.
        note: what else there is to say, found after the timing; None: nothing.
    """

    reference_name: str
    ours: Callable[[], object]
    reference: Callable[[], object]
    rounds: int = 15
    work: tuple[float, float] = (1, 1)
    gauge: Callable[[Callable[[], object]], float] | None = None
    unit: str = "s"
    bar: tuple[float, float] | None = None
    note: Callable[[], str] | None = None


def names() -> list[str]:
    """The name of every benchmark, in order; what several share begins with an underscore."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if not name.startswith("_"))


def on_one_thread(work: Callable[[], object]) -> Callable[[], None]:
    """The same work on one core.

    Threads that wait for each other on shared cores cost ten times the work itself, on both sides
    alike, so that nothing could be told.
    """

    def run() -> None:
        import torch  # not every benchmark needs it, and it takes seconds

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            work()
        finally:
            torch.set_num_threads(threads)

    return run


def seconds(work: Callable[[], object]) -> float:
    """The seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def load(name: str, folder: Path) -> Benchmark:
    """The benchmark of that name, its input made in `folder`."""
    made = importlib.import_module(f"{__name__}.{name}").benchmark(folder)
    if not isinstance(made, Benchmark):
        raise TypeError(f"{name}.benchmark returned a {type(made).__name__}, not a Benchmark")
    return made
