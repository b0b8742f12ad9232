"""Running one cell of a sweep as a process of its own."""

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal

from roilab.engine.config import write_text
from roilab.engine.run import Run
from roilab.errors import UserError
from roilab.evaluation.ap import Results
from roilab.sweep.plan import Cell

_MEANING = ("config.yaml", "classes.json", "skeleton.json", "run.json")
LOG, DEFINITION, LOCK = "stdout.txt", "cell.json", ".lock"
POLL_SECONDS = 0.5
_TAIL = 2**16  # bytes at the end of a log that are looked at while it grows


@dataclass(frozen=True)
class State:
    """How far a cell is.

    Attributes:
        kind: `open` has to begin, `cut` goes on from a checkpoint, `training` runs, `failed` has
            just failed, `done` has results.
        results: AP in percent by task and metric, of a cell that is done.
        error: the last line that the process of a failed cell said.
        iterations: how many are in its log.
        seconds: for how long its process ran, over all calls that led to this state.
    """

    kind: Literal["open", "cut", "training", "failed", "done"]
    results: Results | None = None
    error: str = ""
    iterations: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        iterations: how many are in its log.
        seconds: that one of them takes, lately; None: not known yet.
        latest: the last value of everything that is logged.
    """

    iterations: int
    seconds: float | None
    latest: Mapping[str, float]


def definition(cell: Cell) -> dict[str, object]:
    """What makes the cell what it is, wherever it is."""
    return {
        "arm": cell.arm.name,
        "seed": cell.seed,
        "base": cell.arm.config_file,
        "overrides": list(cell.arm.overrides),
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
    iterations = progress_of(cell).iterations
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


def progress_of(cell: Cell) -> Progress:
    """How far a cell is, from the end of the log of its training."""
    latest: dict[str, float] = {}
    try:
        with Run(cell.folder).metrics_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
    except OSError:  # not there yet
        lines = []
    for line in lines:
        try:
            latest |= json.loads(line)
        except (ValueError, TypeError):  # half of it was read, or written
            continue
    iterations = int(latest["iteration"]) + 1 if "iteration" in latest else 0
    return Progress(iterations, latest.get("time"), latest)


def run_cell(
    cell: Cell,
    train: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[], object] = lambda: None,
) -> State:
    """Train a cell, from its last checkpoint if it has one, and return what became of it.

    An interrupt ends the process, too, and leaves a cell that the next call continues.

    Args:
        train: the training command: the interpreter and scripts/train.py.
        environment: what is set for the training beside what this process has.
        watch: is called every now and then, and ends the training by an exception.

    Raises:
        UserError: another process trains this cell, or the folder holds something else.
    """
    with _alone(cell) as lock:
        before = state_of(cell)
        if before.kind == "done":
            return before
        _define(cell, before.seconds)  # first: a run folder without it is another's
        if not _has_checkpoint(cell):
            _take_weights(cell)
        resume = _has_checkpoint(cell)
        if not resume:
            # What a start without a checkpoint left would stand before what this one logs.
            Run(cell.folder).metrics_file.unlink(missing_ok=True)
        options = ["--resume"] if resume else []
        command = [*train, "--config-file", cell.arm.config_file, *options, *cell.overrides]
        started = time.perf_counter()
        try:
            with (cell.folder / LOG).open("a" if resume else "w", encoding="utf-8") as log:
                begin = log.tell()
                status = _wait(command, log, lock, {**os.environ, **(environment or {})}, watch)
        finally:
            _define(cell, before.seconds + time.perf_counter() - started)
    after = state_of(cell)
    if after.kind == "done":
        return after
    said = (cell.folder / LOG).read_bytes()[begin:].decode("utf-8", errors="replace")
    error = _last_line(said) or f"exit status {status} without a word"
    return State("failed", error=error, iterations=after.iterations, seconds=after.seconds)


@contextmanager
def _alone(cell: Cell) -> Iterator[int]:
    """Keep other processes from a cell's folder; gives the descriptor that does."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    with (cell.folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"arm '{cell.arm.name}', seed {cell.seed} is being trained by another process",
                file=cell.folder,
                remedy="wait for it, or end it",
            ) from error
        yield file.fileno()


def _has_checkpoint(cell: Cell) -> bool:
    return (cell.folder / "last_checkpoint").is_file()


def _take_weights(cell: Cell) -> None:
    """Leave the training of the cell's source, where it is finished, as one that was just cut."""
    if cell.source is None or not Run(cell.source).results_file.is_file():
        return  # it trains itself, to the same weights
    # The last makes it a run that can be resumed, which refuses what was trained in another way.
    for name in (*_MEANING, "metrics.json", "model_final.pth", "last_checkpoint"):
        if (cell.source / name).is_file():
            shutil.copy(cell.source / name, cell.folder / name)


def _define(cell: Cell, seconds: float) -> None:
    content = {**definition(cell), "seconds": round(seconds, 3)}
    write_text(cell.folder / DEFINITION, json.dumps(content, indent=2) + "\n")


def _wait(
    command: Sequence[str],
    output: IO[str],
    lock: int,
    environment: Mapping[str, str],
    watch: Callable[[], object],
) -> int:
    """Run a command and return its exit status."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        process_group=0,  # a terminal's Ctrl-C is this process's to pass on, once
        pass_fds=[lock],  # a training that outlives this process still has its folder alone
    ) as process:
        try:
            # `wait` passes an interrupt on a quarter of a second later; clusters are impatient.
            while (status := process.poll()) is None:
                watch()
                time.sleep(POLL_SECONDS)
            return status
        finally:
            process.terminate()  # does nothing to a process that has ended
            process.wait()


def _last_line(said: str) -> str:
    """What a process said last when it failed: the first line of its error, else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1]
