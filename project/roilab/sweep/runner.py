"""Running one cell of a sweep as a process of its own."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from roilab import child_process
from roilab.data.workers import END_SIGNALS
from roilab.engine.lock import Lock, locked, this_process
from roilab.engine.run_folder import Run
from roilab.engine.signals import signal_name
from roilab.engine.stored_results import is_number
from roilab.errors import UserError
from roilab.evaluation.ap import Results
from roilab.files import read_json, refuse_link, write_whole
from roilab.sweep.plan import Trial

_MEANING = ("classes.json", "category_ids.json", "skeleton.json", "run.json", "config.yaml")
LOG, DEFINITION, LOCK = "stdout.txt", "cell.json", ".lock"
POLL_SECONDS = 0.5
_CENTURY = 3.2e9  # seconds
# Exit statuses of a training that a signal has asked to end, and that is saved.
_INTERRUPTED = tuple(128 + number for number in END_SIGNALS)
_TAIL = 2**16  # bytes at the end of a log that are looked at while it grows


@dataclass(frozen=True)
class State:
    """The state of a cell.

    Attributes:
        kind: `open` has to begin, `cut` goes on from a checkpoint, `queued` waits for a machine of
            a cluster, `training` runs, `failed` did the last time, `done` has results.
        results: AP in percent by task and metric, of a cell that is done.
        error: why a cell failed, was cut, or waits: a line, empty where it is not known.
        iterations: how many are in its log.
        seconds: for how long its process ran, over all calls, but for those that were killed.
    """

    kind: Literal["open", "cut", "queued", "training", "failed", "done"]
    results: Results | None = None
    error: str = ""
    iterations: int = 0
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The state in few words, with its reason."""
        if not self.error:
            return self.kind
        return f"{'saved' if self.kind == 'cut' else self.kind}: {self.error}"


Told = Callable[[Trial, State], object]


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a training.

    Attributes:
        iterations: how many are in its log.
        seconds: that one of them takes, lately; None: not known yet.
        latest: the last value of everything that is logged.
    """

    iterations: int
    seconds: float | None
    latest: Mapping[str, float]


def definition(cell: Trial) -> dict[str, object]:
    """The identity of a cell, independent of where it and its config are stored."""
    return {"arm": cell.arm.name, "seed": cell.seed, "config": cell.arm.config}


def state_of(cell: Trial) -> State:
    """The state that a cell's run folder shows.

    Raises:
        UserError: the folder holds another cell, or a run that is not of a sweep.
    """
    run = Run(cell.folder)
    record = _record(cell)
    if record is None:
        if run.config_file.is_file():
            raise UserError(
                f"the folder of arm '{cell.arm.name}', seed {cell.seed} holds another run",
                file=cell.folder,
                remedy=f"delete {cell.folder}, or choose another --output",
            )
        return State("open")
    trained = run.results_file.is_file() or run.weights.is_file()
    if trained and any(record.get(key) != value for key, value in definition(cell).items()):
        arm = [cell.arm.config_file, *cell.arm.overrides]
        compare = shlex.join(["roilab", "config", "diff", str(cell.folder), *arm])
        raise UserError(
            f"arm '{cell.arm.name}', seed {cell.seed} was run with other settings",
            file=run.config_file,
            found="a config that differs from the arm's",
            remedy=f"choose another --output, or delete {cell.folder}; to see what differs: "
            f"{compare}",
        )
    iterations, seconds = progress_of(cell).iterations, record.get("seconds", 0.0)
    if run.results_file.is_file():
        return State("done", run.results(), iterations=iterations, seconds=seconds)
    if record.get("error"):
        return State("failed", error=record["error"], iterations=iterations, seconds=seconds)
    ended = record.get("ended", "")
    return State("cut" if trained else "open", error=ended, iterations=iterations, seconds=seconds)


def _record(cell: Trial) -> dict[str, Any] | None:
    """The content of cell.json; None without one."""
    path = cell.folder / DEFINITION
    if not path.exists():
        return None
    what, remedy = "the record of a cell", f"delete {cell.folder}, which trains it anew"
    record = read_json(path, what=what, remedy=remedy)
    sound = (
        isinstance(record, dict)
        and is_number(record.get("seconds", 0.0))
        and abs(record.get("seconds", 0.0)) < _CENTURY
        and isinstance(record.get("error", ""), str)
        and isinstance(record.get("ended", ""), str)
    )
    if not sound:
        raise UserError(
            f"{what} is damaged",
            file=path,
            found=record,
            expected='{"arm": ..., "seed": ..., "config": ..., "seconds": 1.5, "error": ""}',
            remedy=remedy,
        )
    return record


def progress_of(cell: Trial) -> TrainingProgress:
    """The progress of a cell, from the end of its training's log."""
    latest: dict[str, float] = {}
    try:
        with Run(cell.folder).metrics_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
    except OSError:  # not there yet
        lines = []
    for line in lines:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):  # half of it was read, or written
            continue
        if isinstance(found, dict) and all(map(is_number, found.values())):
            latest |= found
    iterations = int(latest["iteration"]) + 1 if "iteration" in latest else 0
    return TrainingProgress(iterations, latest.get("time"), latest)


def run_cell(
    cell: Trial,
    train: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[], object] = lambda: None,
    tied: bool = False,
    patience: float = 0.0,
) -> State:
    """Train a cell, from its last checkpoint if it has one, and return what became of it.

    An interrupt ends the process, too, and leaves a cell that the next call continues.

    Args:
        train: the training command: the interpreter and roilab train.
        environment: what is set for the training beside what this process has.
        watch: is called every now and then, and ends the training by an exception.
        tied: whether the training is of this process's group, and is asked to end when this
            process dies, as nothing of a cluster's job may outlive it.
        patience: seconds to wait for another process that trains the cell.

    Raises:
        UserError: another process trains this cell, or the folder holds something else.
    """
    with _alone(cell, patience, watch) as lock:
        before = state_of(cell)
        if before.kind == "done":
            return before
        run, record = Run(cell.folder), _record(cell)
        if record is not None and record.get("config") != cell.arm.config:
            # It was begun with another config, and has trained nothing.
            run.config_file.unlink(missing_ok=True)
        _define(cell, before.seconds)  # first: a run folder without it is another's
        if cell.source is not None and not run.config_file.is_file():
            _take_weights(cell, cell.source)
        # The training finds out itself whether there is a checkpoint.
        resume = run.config_file.is_file()
        options = ["--resume"] if resume else []
        command = [*train, "--config-file", cell.arm.config_file, *options, *cell.overrides]
        started = time.perf_counter()
        refuse_link(cell.folder / LOG)
        try:
            with (cell.folder / LOG).open("a" if resume else "w", encoding="utf-8") as log:
                begin = log.tell()
                variables = {**os.environ, **(environment or {})}
                status = _wait(command, log, lock, variables, watch, tied=tied)
        finally:
            seconds = before.seconds + time.perf_counter() - started
            _define(cell, seconds)
        said = (cell.folder / LOG).read_bytes()[begin:].decode("utf-8", errors="replace")
        if not run.results_file.is_file():
            why = _failure(said, status)
            ended = status in _INTERRUPTED
            _define(cell, seconds, error="" if ended else why, ended=why if ended else "")
        return state_of(cell)


def note_end(cell: Trial, *, error: str = "", ended: str = "") -> None:
    """Note in a cell's record why its training failed or was cut, where it has been begun."""
    record = _record(cell)
    if record is not None:
        _define(cell, record.get("seconds", 0.0), error=error, ended=ended)


def checkpoint_of(cell: Trial) -> str:
    """The name of the file that a cell goes on from; empty where it has none."""
    weights = Run(cell.folder).weights
    return weights.name if weights.is_file() else ""


def is_in_training(cell: Trial) -> bool:
    """Whether a process of this machine trains a cell."""
    try:
        with _alone(cell):
            return False
    except UserError:
        return True


def failed(error: BaseException) -> State:
    """The state of a cell that an exception ended."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return State("failed", error=lines[0])


@contextmanager
def _alone(
    cell: Trial, patience: float = 0.0, watch: Callable[[], object] = lambda: None
) -> Iterator[Lock]:
    """Keep other processes from a cell's folder, after some patience with one that is there.

    With patience the training's own lock is waited for, too: when a machine is lost, it may be
    younger than this one.
    """
    cell.folder.mkdir(parents=True, exist_ok=True)
    message = f"arm '{cell.arm.name}', seed {cell.seed} is being trained by another process"
    until = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                if patience:
                    with locked(Run(cell.folder).lock_file, message):
                        pass
                lock = stack.enter_context(locked(cell.folder / LOCK, message))
                break
            except UserError as error:
                if error.message != message or time.monotonic() >= until:
                    raise
            watch()
            time.sleep(POLL_SECONDS)
        yield lock


def _take_weights(cell: Trial, source: Path) -> None:
    """Leave the training of the cell's source as one that was cut before its evaluation."""
    run = Run(source)
    if not (run.results_file.is_file() and run.weights.is_file()):
        raise UserError(
            f"the weights of '{cell.arm.weights_of}', seed {cell.seed} are not there",
            file=run.weights,
            remedy="train that arm first, as the same command does; if they were deleted, delete "
            f"{source}",
        )
    # The config is the last: with it, the folder is a run that can be resumed.
    for name in ("metrics.json", "model_final.pth", "last_checkpoint", *_MEANING):
        if (source / name).is_file():
            shutil.copy(source / name, cell.folder / name)


def _define(cell: Trial, seconds: float, *, error: str = "", ended: str = "") -> None:
    why = {"error": error, "ended": ended}
    content = {**definition(cell), "seconds": round(seconds, 3), **why}
    write_whole(cell.folder / DEFINITION, json.dumps(content, indent=2) + "\n")


def _wait(
    command: Sequence[str],
    output: IO[str],
    lock: Lock,
    environment: Mapping[str, str],
    watch: Callable[[], object],
    *,
    tied: bool,
) -> int:
    """Run a command and return its exit status."""
    # A cluster may send SIGTERM to all processes of a job, and again after a time of grace: what
    # comes from here is another signal, which nobody takes for impatience.
    asks = signal.SIGUSR1 if tied else signal.SIGTERM
    with subprocess.Popen(
        child_process.tied(command, asks) if tied else command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        # A terminal's Ctrl-C is this process's to pass on, once.
        process_group=None if tied else 0,
        # A training that outlives this process still has its folder alone.
        pass_fds=[lock.descriptor],
    ) as process:
        try:
            lock.name(this_process(process.pid))
            # `wait` passes an interrupt on a quarter of a second later; clusters are impatient.
            while (status := process.poll()) is None:
                watch()
                time.sleep(POLL_SECONDS)
            return status
        finally:
            process.send_signal(asks)  # does nothing to a process that has ended
            process.wait()


def _failure(said: str, status: int) -> str:
    """The reason of a failed process: the first line of its error, else its signal or last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[0]
    if status < 0:
        last = f"; its last line: {lines[-1]}" if lines else ""
        return f"killed by {signal_name(-status)}{last}"
    return lines[-1] if lines else f"exit status {status} without a word"
