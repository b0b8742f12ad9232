"""Trials as processes of this machine, one or several at a time."""

import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from threading import Event
from typing import IO

import torch

from roilab import child_process
from roilab.data.workers import END_SIGNALS, available_cores
from roilab.engine.lock import locked, this_process, write_owner
from roilab.engine.run_folder import Run
from roilab.engine.signals import signal_name
from roilab.errors import UserError
from roilab.files import refuse_link
from roilab.sweep.plan import Trial
from roilab.sweep.state import (
    OnUpdate,
    State,
    is_of_other_trial,
    load_record,
    save_record,
    state_of,
)

# Files of a run whose weights another arm evaluates, the config last: with it, the folder is a run
# that can be resumed.
_COPIED = (
    "metrics.json model_final.pth last_checkpoint classes.json category_ids.json skeleton.json "
    "run.json config.yaml"
)
LOG = "stdout.txt"
LOCK = ".lock"
POLL_SECONDS = 0.5
# Returns the command of a training from its config file, its overrides, and whether it resumes.
TrainCommand = Callable[[str, Sequence[str], bool], Sequence[str]]


def run_here(
    trials: Sequence[Trial],
    train: TrainCommand,
    slots: Sequence[Mapping[str, str]],
    *,
    on_update: OnUpdate,
    refresh: Callable[[], object],
) -> None:
    """Run trials as processes of this machine; an interrupt ends them, so that they can resume.

    Args:
        slots: the environment variables of each training that runs at a time.
        on_update: is called in this thread when a trial begins (`training`), and when it ends.
        refresh: is called about twice a second.
    """
    free = list(slots)
    over = Event()
    begun: deque[Trial] = deque()

    def check() -> None:
        if over.is_set():
            raise CancelledError

    def run(trial: Trial) -> State:
        check()
        slot = free.pop()
        begun.append(trial)
        try:
            return run_trial(trial, train, environment=slot, check=check)
        except Exception as error:  # it costs this trial only
            return State.of_error(error)
        finally:
            free.append(slot)

    with ThreadPoolExecutor(len(slots)) as pool:
        waiting = {pool.submit(run, trial): trial for trial in trials}
        try:
            while waiting:
                ended = [future for future in waiting if future.done()]
                while begun:  # after `ended`: a trial begins before it ends
                    on_update(begun.popleft(), State("training"))
                for future in ended:
                    on_update(waiting.pop(future), future.result())
                refresh()
                time.sleep(POLL_SECONDS)
        finally:
            over.set()
            pool.shutdown(cancel_futures=True)


def training_slots(jobs: int | None) -> list[dict[str, str]]:
    """The environment variables of each training that runs at a time.

    Args:
        jobs: how many run at a time; None: one on each GPU, or one on the CPU.
    """
    if torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
        used = islice(cycle(gpus), jobs or len(gpus))
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in used]
    count = jobs or 1
    if count == 1 or "OMP_NUM_THREADS" in os.environ:
        return [{}] * count
    threads = max(1, available_cores() // count)
    return [{"OMP_NUM_THREADS": str(threads)}] * count


def run_trial(
    trial: Trial,
    train: TrainCommand,
    *,
    environment: Mapping[str, str] | None = None,
    check: Callable[[], object] = lambda: None,
    tied: bool = False,
    patience: float = 0.0,
) -> State:
    """Train a trial, from its last checkpoint if it has one, and return its state.

    An interrupt also ends the process, and leaves a trial that the next call continues.

    Args:
        check: is called about twice a second, and may end the training by an exception.
        tied: whether the training is in this process's group, and is asked to end when this process
            dies, since nothing of a cluster's job may outlive it.
        patience: seconds to wait for another process that trains the trial.

    Raises:
        UserError: another process trains this trial, or the folder holds something else.
    """
    with _locked(trial, patience, check) as lock:
        before = state_of(trial)
        if before.kind == "done":
            return before
        run = Run(trial.folder)
        record = load_record(trial)
        if record is not None and is_of_other_trial(record, trial):
            # It began with another config, and has trained nothing.
            run.config_file.unlink(missing_ok=True)
        save_record(trial, before.seconds)  # first: a run folder without it is not of a sweep
        if trial.source is not None and not run.config_file.is_file():
            _copy_weights(trial, trial.source)
        # The training itself looks for a checkpoint.
        resume = run.config_file.is_file()
        command = train(trial.arm.config_file, trial.overrides, resume)
        variables = {**os.environ, **(environment or {})}

        started = time.perf_counter()
        log_file = trial.folder / LOG
        refuse_link(log_file)
        try:
            with log_file.open("a" if resume else "w", encoding="utf-8") as log:
                begin = log.tell()
                status = _wait(command, log, lock, variables, check, tied)
        finally:
            seconds = before.seconds + time.perf_counter() - started
            save_record(trial, seconds)

        if not run.results_file.is_file():
            output = log_file.read_bytes()[begin:].decode("utf-8", errors="replace")
            # A training that a signal ends has saved, and exits with 128 and the signal's number.
            reason = _failure(output, status)
            if status - 128 in END_SIGNALS:
                save_record(trial, seconds, ended=reason)
            else:
                save_record(trial, seconds, error=reason)
        return state_of(trial)


def is_running(trial: Trial) -> bool:
    """Whether a process of this machine trains a trial."""
    try:
        with _locked(trial):
            return False
    except UserError:
        return True


@contextmanager
def _locked(
    trial: Trial, patience: float = 0.0, check: Callable[[], object] = lambda: None
) -> Iterator[IO[str]]:
    """Keep other processes from a trial's folder, after waiting for one with some patience.

    Patience also waits for the training's own lock: when a machine is lost, that lock may be
    younger than this one.
    """
    trial.folder.mkdir(parents=True, exist_ok=True)
    message = f"{trial.title} is being trained by another process"
    until = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                if patience:
                    with locked(Run(trial.folder).lock_file, message):
                        pass
                lock = stack.enter_context(locked(trial.folder / LOCK, message))
                break
            except UserError as error:
                if error.message != message or time.monotonic() >= until:
                    raise
            check()
            time.sleep(POLL_SECONDS)
        yield lock


def _copy_weights(trial: Trial, source: Path) -> None:
    """Copy the training of a trial's source, as one that was cut before its evaluation."""
    run = Run(source)
    if not (run.results_file.is_file() and run.weights.is_file()):
        raise UserError(
            f"the weights of '{trial.arm.weights_of}', {trial.place} do not exist",
            file=run.weights,
            remedy="train that arm first, as the same command does; if its weights were deleted, "
            f"delete {source}",
        )
    for name in _COPIED.split():
        if (source / name).is_file():
            shutil.copy(source / name, trial.folder / name)


def _wait(
    command: Sequence[str],
    output: IO[str],
    lock: IO[str],
    environment: Mapping[str, str],
    check: Callable[[], object],
    tied: bool,
) -> int:
    """Run a command and return its exit status; arguments are as for `run_trial`.

    Args:
        lock: the file that names the process that trains, see `roilab.engine.lock.locked`.
    """
    # A cluster may send SIGTERM to all processes of a job, and again after a time of grace: this
    # process sends another signal, which the training does not count as a second SIGTERM.
    end_signal = signal.SIGUSR1 if tied else signal.SIGTERM
    with subprocess.Popen(
        child_process.tied(command, end_signal) if tied else command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        # A terminal's Ctrl-C reaches only this process, which passes it on once.
        process_group=None if tied else 0,
        # A training that outlives this process keeps the lock of its folder.
        pass_fds=[lock.fileno()],
    ) as process:
        try:
            write_owner(lock, this_process(process.pid))
            # `wait` passes an interrupt on a quarter of a second later; clusters are impatient.
            while (status := process.poll()) is None:
                check()
                time.sleep(POLL_SECONDS)
            return status
        finally:
            process.send_signal(end_signal)  # does nothing to a process that has ended
            process.wait()


def _failure(output: str, status: int) -> str:
    """The reason of a failed process: the first line of its error, else its signal or last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[0]
    if status < 0:
        last = f"; its last line: {lines[-1]}" if lines else ""
        return f"killed by {signal_name(-status)}{last}"
    return lines[-1] if lines else f"exit status {status} without output"
