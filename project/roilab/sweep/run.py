"""Running one cell of a sweep as a process of its own."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from roilab.engine.config import write_text
from roilab.engine.run import Run
from roilab.errors import UserError
from roilab.evaluation.ap import Results
from roilab.sweep.plan import Cell

LOG, DEFINITION, METRICS = "stdout.txt", "cell.json", "metrics.json"
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class State:
    """How far a cell is.

    Attributes:
        kind: `open` has to begin, `cut` goes on from a checkpoint, `failed` has just failed, `done`
            has results.
        results: AP in percent by task and metric, of a cell that is done.
        error: the last line that the process of a failed cell said.
        iterations: how many are in its log.
        seconds: for how long its process ran, over all calls that led to this state.
    """

    kind: Literal["open", "cut", "failed", "done"]
    results: Results | None = None
    error: str = ""
    iterations: int = 0
    seconds: float = 0.0


def definition(cell: Cell) -> dict[str, object]:
    """What makes the cell what it is."""
    return {
        "arm": cell.arm.name,
        "seed": cell.seed,
        "base": cell.base,
        "overrides": list(cell.overrides),
    }


def state_of(cell: Cell) -> State:
    """The state that a cell's run folder shows.

    Raises:
        UserError: the folder holds another cell, or a run that is not of a sweep.
    """
    run = Run(cell.folder)
    written = cell.folder / DEFINITION
    if not written.is_file():
        if run.config_file.is_file():
            raise UserError(
                f"the folder of arm '{cell.arm.name}', seed {cell.seed} holds another run",
                file=cell.folder,
                remedy=f"delete {cell.folder}, or choose another --output",
            )
        return State("open")
    found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    seconds = found.pop("seconds", 0.0)
    if found != definition(cell):
        raise UserError(
            f"arm '{cell.arm.name}', seed {cell.seed} was run with other settings",
            file=written,
            found=found,
            expected=definition(cell),
            remedy=f"delete {cell.folder}, or choose another --output",
        )
    if not _has_checkpoint(cell):
        return State("open")
    iterations = iterations_of(cell)
    # Results older than the final weights are a periodic evaluation's.
    if (
        run.weights.name == "model_final.pth"
        and run.weights.is_file()
        and run.results_file.is_file()
        and run.results_file.stat().st_mtime_ns >= run.weights.stat().st_mtime_ns
    ):
        results = json.loads(run.results_file.read_text(encoding="utf-8"))
        return State("done", results, iterations=iterations, seconds=seconds)
    return State("cut", iterations=iterations, seconds=seconds)


def iterations_of(cell: Cell) -> int:
    """How many iterations the log of a cell's training holds."""
    try:
        lines = (cell.folder / METRICS).read_text(encoding="utf-8").splitlines()
        last = json.loads(lines[-1])
        # Counted from 0; the last evaluation logs under the number that follows the training's.
        return int(last["iteration"]) + ("total_loss" in last)
    except (OSError, IndexError, ValueError, KeyError):  # not there yet, or half written
        return 0


def run_cell(
    cell: Cell, train: Sequence[str], watch: Callable[[int], object] = lambda iterations: None
) -> State:
    """Train a cell, from its last checkpoint if it has one, and return what became of it.

    An interrupt ends the process, too, and leaves a cell that the next call continues.

    Args:
        train: the training command: the interpreter and scripts/train.py.
        watch: is told the number of iterations about every second.
    """
    before = state_of(cell)
    resume = _has_checkpoint(cell)
    if not resume:
        # What a start without a checkpoint left would stand before what this one logs.
        (cell.folder / METRICS).unlink(missing_ok=True)
    _define(cell, before.seconds)
    options = ["--resume"] if resume else []
    command = [*train, "--config-file", cell.base, *options, *cell.overrides]
    started = time.perf_counter()
    try:
        with (cell.folder / LOG).open("a" if resume else "w", encoding="utf-8") as log:
            begin = log.tell()
            status = _wait(command, log.fileno(), lambda: watch(iterations_of(cell)))
    finally:
        _define(cell, before.seconds + time.perf_counter() - started)
    after = state_of(cell)
    if after.kind == "done":
        return after
    said = (cell.folder / LOG).read_bytes()[begin:].decode("utf-8", errors="replace")
    error = _last_line(said) or f"exit status {status} without a word"
    return State("failed", error=error, iterations=after.iterations, seconds=after.seconds)


def _has_checkpoint(cell: Cell) -> bool:
    return (cell.folder / "last_checkpoint").is_file()


def _define(cell: Cell, seconds: float) -> None:
    content = {**definition(cell), "seconds": round(seconds, 3)}
    write_text(cell.folder / DEFINITION, json.dumps(content, indent=2) + "\n")


def _wait(command: Sequence[str], output: int, poll: Callable[[], object]) -> int:
    """Run a command, its output to a file descriptor, and return its exit status."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    ) as process:
        try:
            while True:
                try:
                    return process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    poll()
        finally:
            process.terminate()  # does nothing to a process that has ended
            process.wait()


def _last_line(said: str) -> str:
    """What a process said last when it failed: the first line of its error, else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1]
