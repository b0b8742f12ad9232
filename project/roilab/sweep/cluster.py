"""Trials as jobs of a cluster: submitted through submitit, and watched until they end.

The state of a trial is in its run folder, and in the result that its job leaves. A job that was
killed, cancelled, requeued or lost leaves none: then the cluster's status of the job decides, which
needs neither accounting nor a machine that still answers.

A cluster announces the end of a job by signals. SLURM sends SIGTERM when a job is cancelled or
preempted, and waits for `KillWait` seconds (30 by default) before it kills; before a time limit it
sends the signal that was asked for, see `roilab.sweep.slurm.job_parameters`.
"""

import contextlib
import io
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from roilab.data.workers import END_SIGNALS
from roilab.engine.lock import SILENT
from roilab.engine.signals import Interrupted, signal_name, stop_on_signals
from roilab.errors import UserError
from roilab.sweep import runner, slurm
from roilab.sweep.plan import Trial
from roilab.sweep.slurm import JobStatus
from roilab.sweep.state import OnUpdate, State, checkpoint_of, last_lines, record_end, state_of

log = logging.getLogger(__name__)

_END_SECONDS = 120.0  # that cancelled jobs have to save; SLURM's KillWait is 30 by default
_ASK_SECONDS = (2.0, 30.0)  # the shortest and the longest time between two questions
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
# Seconds in which the rest of a requeued job's last start saves and ends, or counts as lost.
_PATIENCE = SILENT + 60


def run_on_cluster(
    trials: Sequence[Trial],
    train: runner.TrainCommand,
    folder: Path,
    parameters: Mapping[str, Any],
    *,
    on_update: OnUpdate,
    refresh: Callable[[], object],
) -> None:
    """Submit each trial as a job and wait for them; an interrupt cancels those that are left.

    Args:
        folder: of the jobs' own files, which all machines see.
        parameters: of submitit's executor, such as `slurm_partition`; `cluster=local` runs the
            jobs on this machine.
        on_update: is called when a job waits, begins, and ends, with the state of its trial.
        refresh: is called about twice a second.

    Raises:
        UserError: submitit is not installed or takes no such parameter, or sbatch refuses the jobs.
        Interrupted: a signal came while the jobs were submitted.
    """
    # Jobs that are submitted, but not yet known here, could not be cancelled.
    with stop_on_signals("the jobs are cancelled as soon as they are submitted") as stop:
        cluster, jobs = _submit(trials, train, folder, parameters)
    watch = _Watch(dict(zip(trials, jobs, strict=True)), cluster, on_update)
    try:
        if stop.requested:
            raise Interrupted(stop.number)
        while watch.jobs:
            watch.look()
            refresh()
            time.sleep(runner.POLL_SECONDS)
    except BaseException:
        watch.end()
        raise


def _submit(
    trials: Sequence[Trial], train: runner.TrainCommand, folder: Path, parameters: Mapping[str, Any]
) -> tuple["_Slurm | _Local", list[Any]]:
    """Submit trials, to SLURM as one array, and return the cluster with their jobs."""
    try:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError as error:
        message = "submitit is not installed"
        remedy = "pip install submitit"
        raise UserError(message, key="slurm", found=error, remedy=remedy) from error

    options = dict(parameters)
    name = options.pop("cluster", "slurm")
    if name not in ("slurm", "local"):
        message = "there is no such kind of cluster"
        expected = "slurm, or local for this machine"
        raise slurm.wrong_parameter(message, f"cluster={name}", expected)
    if name == "slurm":
        options = slurm.job_parameters(options)
    try:
        # Without srun and a shell around it, the job's process gets every signal itself, and has
        # time to save: a job step of srun is killed at once when its job is cancelled.
        python = f"exec {shlex.quote(sys.executable)}"
        executor = submitit.AutoExecutor(folder, name, slurm_python=python)
        executor.update_parameters(**options)
    except (NameError, ValueError, RuntimeError, AssertionError, TypeError) as error:
        expected = "parameters of submitit's AutoExecutor: timeout_min, slurm_partition, ..."
        raise slurm.wrong_parameter("the cluster cannot be used", error, expected) from error

    try:
        # submitit prints sbatch's words, which are in the error.
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():
            jobs = [executor.submit(run_job, trial, train) for trial in trials]
    except (FailedJobError, FailedSubmissionError) as error:
        lines = [line.replace("sbatch: error: ", "").strip() for line in str(error).splitlines()]
        words = "; ".join(dict.fromkeys(filter(None, lines)))
        listed = " ".join(f"{key}={value}" for key, value in parameters.items())
        raise slurm.wrong_parameter(f"sbatch refuses the jobs: {words}", listed) from error
    return _Slurm() if name == "slurm" else _Local(), jobs


class _Slurm:
    name = "SLURM job"  # what a job is called in messages

    def statuses(self, jobs: Mapping[Trial, Any]) -> dict[str, JobStatus] | None:
        return slurm.job_statuses(job.job_id for job in jobs.values())

    def cancel(self, jobs: Iterable[Any]) -> None:
        slurm.cancel(job.job_id for job in jobs)


class _Local:
    """Jobs that submitit runs on this machine, each below a process whose number names it."""

    name = "job"

    def statuses(self, jobs: Mapping[Trial, Any]) -> dict[str, JobStatus]:
        statuses = {}
        for trial, job in jobs.items():
            # A training may outlive the process above it while it saves.
            running = job.state == "RUNNING" or runner.is_running(trial)
            statuses[job.job_id] = JobStatus("RUNNING" if running else "CANCELLED")
        return statuses

    def cancel(self, jobs: Iterable[Any]) -> None:
        for job in jobs:
            if job.state == "RUNNING":
                os.kill(int(job.job_id), signal.SIGTERM)  # submitit itself kills a second later


class _Watch:
    """Jobs until each is over; `jobs` are those that are not."""

    def __init__(
        self, jobs: Mapping[Trial, Any], cluster: _Slurm | _Local, on_update: OnUpdate
    ) -> None:
        self.jobs = dict(jobs)
        self.cluster = cluster
        self.on_update = on_update
        self.names = {trial: f"{cluster.name} {job.job_id}" for trial, job in jobs.items()}
        self.started = time.monotonic()
        self.next_question = 0.0  # on the same clock
        self.answered = True
        self.last: dict[Trial, State] = {}  # the states that were reported
        self.ending: set[Trial] = set()  # whose job was over when it was last asked about
        for trial, name in self.names.items():
            self._update(trial, State("queued", error=name))

    def look(self) -> None:
        """Report jobs that have left a result, and at times ask the cluster about the others."""
        for trial, job in list(self.jobs.items()):
            if job.paths.result_pickle.exists():
                self._update(trial, _result(job))
        now = time.monotonic()
        if self.jobs and now >= self.next_question:
            # Seldom in a sweep that takes long: a tenth of the time that it has taken so far.
            shortest, longest = _ASK_SECONDS
            pause = (now - self.started) / 10
            self.next_question = now + min(longest, max(shortest, pause))
            self._ask()

    def end(self) -> None:
        """Cancel the jobs that are left, and wait until they have saved, for some time."""
        self.cluster.cancel(self.jobs.values())
        self.started = time.monotonic()
        self.next_question = 0.0
        while self.jobs and time.monotonic() < self.started + _END_SECONDS:
            self.look()
            time.sleep(runner.POLL_SECONDS)

    def _ask(self) -> None:
        """Ask the cluster about all jobs, and report what has changed."""
        statuses = self.cluster.statuses(self.jobs)
        if statuses is None and self.answered:
            log.warning("SLURM does not answer: the sweep waits until it does")
        self.answered = statuses is not None
        if statuses is None:
            return
        for trial, job in list(self.jobs.items()):
            status = statuses[job.job_id]
            if status.never_runs:
                self.cluster.cancel([job])
                error = f"{self.names[trial]}: {status.text}"
                self._update(trial, State("failed", error=error))
            elif status.is_over and trial not in self.ending:
                # It may still be requeued, and its result may be on its way here.
                self.ending.add(trial)
            elif status.is_over:
                self._update(trial, self._outcome(trial, status))
            else:  # a state between two others is no news
                self.ending.discard(trial)
                if status.state == "RUNNING":
                    self._update(trial, State("training"))
                elif status.state == "PENDING":
                    self._update(trial, self._queued(trial, status))

    def _queued(self, trial: Trial, status: JobStatus) -> State:
        """The state of a trial whose job waits, perhaps to begin again."""
        parts = [self.names[trial]]
        if status.restarts:
            parts.append(f"requeued {status.restarts} times" if status.restarts > 1 else "requeued")
            with contextlib.suppress(UserError):
                parts.append(state_of(trial).error)
        if status.text != "PENDING":
            parts.append(status.text)
        return State("queued", error=", ".join(filter(None, parts)))

    def _outcome(self, trial: Trial, status: JobStatus) -> State:
        """The state of a trial whose job has ended without a result."""
        try:
            state = state_of(trial)
        except (UserError, OSError) as error:
            return State.of_error(error)
        if state.kind in ("done", "failed"):
            return state
        line, file = _log(self.jobs[trial])
        checkpoint = checkpoint_of(trial)
        saved = state.error
        if checkpoint and not saved:
            saved = f"goes on from {checkpoint}"
        parts = [f"{self.names[trial]}: {status.text}", saved, line, f"log: {file}"]
        reason = "; ".join(filter(None, parts))
        # A training that was asked to end has recorded it; one that was killed has not.
        was_asked = bool(state.error) or status.state not in slurm.FAULTS
        if checkpoint and was_asked:
            with contextlib.suppress(OSError):
                record_end(trial, ended=reason)
            return replace(state, kind="cut", error=reason)
        with contextlib.suppress(OSError):
            record_end(trial, error=reason)
        return replace(state, kind="failed", error=reason)

    def _update(self, trial: Trial, state: State) -> None:
        """Report a state if it is new, and forget the job of a trial that is over."""
        if state.kind not in ("queued", "training"):
            del self.jobs[trial]
        if self.last.get(trial) != state:
            self.last[trial] = state
            self.on_update(trial, state)


def _result(job: Any) -> State:
    """The result of a job; if it failed outside of the training, the reason from its log."""
    try:
        state: State = job.result()
        return state
    except Exception as error:  # of submitit, or of a result that it cannot read
        line, file = _log(job)
        return State("failed", error=f"{line or State.of_error(error).error}; log: {file}")


def _log(job: Any) -> tuple[str, Path]:
    """The last error in a job's log, or its last line, if it has one; and the log's file."""
    file = Path(job.paths.stderr)
    output = Path(job.paths.stdout)
    if output.is_file() and not file.is_file():
        file = output
    lines = [line.strip() for line in last_lines(file) if line.strip()]
    errors = [line for line in lines if "error: " in line.lower()]
    others = [line for line in lines if "warn" not in line.lower()]
    return (errors or others or [""])[-1], file


def run_job(trial: Trial, train: runner.TrainCommand) -> State:
    """Train a trial, and return its state as the result of the job.

    A job that a signal ends has no result: its training is asked to save and waited for, then the
    process exits with 128 and the signal's number. Only the cluster knows whether the job is over
    or begins again. After a warning of its time limit, a job that has made progress requeues
    itself.
    """
    signals: list[int] = []  # that came

    def check() -> None:
        if signals:
            raise Interrupted(signals[0])

    for number in END_SIGNALS:
        signal.signal(number, lambda number, frame: signals.append(number))
    before = checkpoint_of(trial)
    try:
        return runner.run_trial(trial, train, check=check, tied=True, patience=_PATIENCE)
    except Interrupted as interrupted:
        state = state_of(trial)
        return state if state.kind == "done" else _end(trial, interrupted, before)
    except (UserError, OSError) as error:
        return State.of_error(error)
    except Exception as error:  # a bug: its traceback is in the job's log
        traceback.print_exc()
        return State("failed", error=f"{type(error).__name__}: {error}")


def _end(trial: Trial, interrupted: Interrupted, before: str) -> NoReturn:
    """Exit after a signal; after a warning, requeue the job if it has a new checkpoint."""
    name = signal_name(interrupted.number)
    after = checkpoint_of(trial)
    warned = interrupted.number in _WARNINGS
    progress = after != before
    ended = f"{name}, saved in {after}" if after else f"{name}, before there was a checkpoint"
    if warned and not progress:
        ended += "; the time limit is too short for another checkpoint: raise timeout_min"
    record_end(trial, ended=ended)  # first: the cluster may kill a requeued job
    if warned and progress:
        if os.environ.get("SUBMITIT_EXECUTOR") == "local":
            from submitit.local.local import LOCAL_REQUEUE_RETURN_CODE

            raise SystemExit(LOCAL_REQUEUE_RETURN_CODE)
        try:
            slurm.requeue(os.environ["SLURM_JOB_ID"])
        except (OSError, subprocess.SubprocessError) as error:  # a cluster may forbid it
            record_end(trial, ended=f"{ended}; the job cannot be requeued: {error}")
    raise SystemExit(interrupted.status)
