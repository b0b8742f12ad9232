"""Cells of a sweep as jobs of a cluster: submitted through submitit, and watched to their end.

What becomes of a cell is in its run folder, and in the result that its job leaves. Where a job
leaves none, since it was killed, cancelled, requeued or lost, the cluster's own word decides, which
needs neither accounting nor a machine that still answers.
"""

import contextlib
import io
import logging
import math
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from roilab.engine.signals import Interrupted, stop_on_signals
from roilab.errors import UserError
from roilab.sweep import slurm
from roilab.sweep.job import run_job
from roilab.sweep.plan import Trial
from roilab.sweep.runner import (
    POLL_SECONDS,
    State,
    Told,
    checkpoint_of,
    failed,
    is_in_training,
    note_end,
    state_of,
)
from roilab.sweep.slurm import JobStatus

log = logging.getLogger(__name__)

_WARNING_SECONDS = 90  # before a time limit
_DEFAULT_MINUTES = 5  # submitit's
_FIXED = frozenset(
    ("nodes", "tasks_per_node", "slurm_nodes", "slurm_ntasks_per_node", "slurm_use_srun")
)
_END_SECONDS = 120.0  # that cancelled jobs have to save; SLURM's KillWait is 30 by default
_ASK_SECONDS = (2.0, 30.0)  # the shortest and the longest time between two questions
_TAIL = 2**14  # bytes at the end of a job's log


def run_on_cluster(
    cells: Sequence[Trial],
    train: Sequence[str],
    folder: Path,
    parameters: Mapping[str, Any],
    *,
    told: Told,
    refresh: Callable[[], object],
) -> None:
    """Submit each cell as a job and wait for them; an interrupt cancels those that are left.

    Args:
        train: the training command: the interpreter and roilab train.
        folder: of the jobs' own files, which all machines see.
        parameters: of submitit's executor, such as `slurm_partition`; `cluster=local` runs the
            jobs on this machine.
        told: is called when a job waits, begins, and with what became of its cell.
        refresh: is called about twice a second.

    Raises:
        UserError: submitit is not installed or takes no such parameter, or sbatch refuses the jobs.
        Interrupted: a signal came while the jobs were submitted.
    """
    executor = _executor(folder, parameters)
    # Jobs that are submitted, and not yet known here, could not be cancelled.
    with stop_on_signals("the jobs are cancelled as soon as they are submitted") as stop:
        jobs = dict(zip(cells, _submit(executor, cells, train, parameters), strict=True))
    watch = _Watch(jobs, _Slurm() if executor.cluster == "slurm" else _Local(), told)
    try:
        if stop.requested:
            raise Interrupted(stop.number)
        while watch.jobs:
            watch.look()
            refresh()
            time.sleep(POLL_SECONDS)
    except BaseException:
        watch.end()
        raise


class _Slurm:
    name = "SLURM job"

    def statuses(self, jobs: Mapping[Trial, Any]) -> dict[Trial, JobStatus] | None:
        found = slurm.job_statuses(job.job_id for job in jobs.values())
        if found is None:
            return None
        return {cell: found[job.job_id] for cell, job in jobs.items()}

    def cancel(self, jobs: Iterable[Any]) -> None:
        slurm.cancel(job.job_id for job in jobs)


class _Local:
    """Jobs that submitit runs on this machine, each under a process whose number names it."""

    name = "job"

    def statuses(self, jobs: Mapping[Trial, Any]) -> dict[Trial, JobStatus]:
        return {cell: self._status(cell, job) for cell, job in jobs.items()}

    def _status(self, cell: Trial, job: Any) -> JobStatus:
        # A training may outlive the process above it while it saves.
        running = job.state == "RUNNING" or is_in_training(cell)
        return JobStatus("RUNNING" if running else "CANCELLED")

    def cancel(self, jobs: Iterable[Any]) -> None:
        for job in jobs:
            if job.state == "RUNNING":
                os.kill(int(job.job_id), signal.SIGTERM)  # submitit's own way kills a second later


class _Watch:
    """Jobs until each is over.

    Attributes:
        jobs: those that are not.
    """

    def __init__(self, jobs: Mapping[Trial, Any], cluster: _Slurm | _Local, told: Told) -> None:
        self.jobs, self.cluster, self.told = dict(jobs), cluster, told
        self.started = time.monotonic()
        self.next_question = 0.0
        self.silent = False
        self.last: dict[Trial, State] = {}
        self.ending: set[Trial] = set()
        for cell, job in self.jobs.items():
            self._tell(cell, State("queued", error=f"{cluster.name} {job.job_id}"))

    def look(self) -> None:
        """Tell of jobs that have left a result, and at times ask the cluster about the others."""
        for cell, job in list(self.jobs.items()):
            if job.paths.result_pickle.exists():
                self._close(cell, self._result(job))
        now = time.monotonic()
        if self.jobs and now >= self.next_question:
            shortest, longest = _ASK_SECONDS
            self.next_question = now + min(longest, max(shortest, (now - self.started) / 10))
            self._ask()

    def end(self) -> None:
        """Cancel what is left, and wait until it has saved, or for a time."""
        self.cluster.cancel(self.jobs.values())
        self.started, self.next_question = time.monotonic(), 0.0
        while self.jobs and time.monotonic() < self.started + _END_SECONDS:
            self.look()
            time.sleep(POLL_SECONDS)

    def _ask(self) -> None:
        statuses = self.cluster.statuses(self.jobs)
        if statuses is None:
            if not self.silent:
                log.warning("SLURM does not answer: the jobs are waited for until it does")
            self.silent = True
            return
        self.silent = False
        for cell, status in statuses.items():
            if status.never_runs:
                self.cluster.cancel([self.jobs[cell]])
                self._close(cell, State("failed", error=f"{self._name(cell)}: {status.text}"))
            elif status.state == "RUNNING":
                self.ending.discard(cell)
                self._tell(cell, State("training"))
            elif status.state == "PENDING":
                self.ending.discard(cell)
                self._tell(cell, self._queued(cell, status))
            elif not status.is_over:  # on its way from one to another
                self.ending.discard(cell)
            elif cell in self.ending:
                self._close(cell, self._outcome(cell, status))
            else:  # it may be requeued yet, and its result may be on its way here
                self.ending.add(cell)

    def _queued(self, cell: Trial, status: JobStatus) -> State:
        """The state of a cell whose job waits, perhaps to begin again."""
        parts = [self._name(cell)]
        if status.restarts:
            parts.append(f"requeued {status.restarts} times" if status.restarts > 1 else "requeued")
            with contextlib.suppress(UserError):
                parts += filter(None, [state_of(cell).error])
        if status.text != "PENDING":
            parts.append(status.text)
        return State("queued", error=", ".join(parts))

    def _outcome(self, cell: Trial, status: JobStatus) -> State:
        """The state of a cell whose job has ended without a result."""
        try:
            state = state_of(cell)
        except (UserError, OSError) as error:
            return failed(error)
        if state.kind in ("done", "failed"):
            return state
        job, saved = self.jobs[cell], checkpoint_of(cell)
        parts = [f"{self._name(cell)}: {status.text}"]
        if state.error:
            parts.append(state.error)
        elif saved:
            parts.append(f"goes on from {saved}")
        said = _last_line(job)
        why = "; ".join([*parts, *filter(None, [said]), f"log: {_log_file(job)}"])
        # A training that was asked to end has noted it; one that was killed has not.
        cut = bool(saved) and (bool(state.error) or not status.is_fault)
        with contextlib.suppress(OSError):
            note_end(cell, **{"ended" if cut else "error": why})
        return State(
            "cut" if cut else "failed",
            error=why,
            iterations=state.iterations,
            seconds=state.seconds,
        )

    def _result(self, job: Any) -> State:
        """The result of a job; if it failed outside of the training, the reason is from its log."""
        try:
            state: State = job.result()
        except Exception as error:  # of submitit, or of what it cannot read
            why = _last_line(job) or failed(error).error
            return State("failed", error=f"{why}; log: {_log_file(job)}")
        return state

    def _name(self, cell: Trial) -> str:
        return f"{self.cluster.name} {self.jobs[cell].job_id}"

    def _tell(self, cell: Trial, state: State) -> None:
        if self.last.get(cell) != state:
            self.last[cell] = state
            self.told(cell, state)

    def _close(self, cell: Trial, state: State) -> None:
        del self.jobs[cell]
        self.told(cell, state)


def _log_file(job: Any) -> Path:
    """The file with the errors of a job, whether it exists or not."""
    error, output = Path(job.paths.stderr), Path(job.paths.stdout)
    return output if output.is_file() and not error.is_file() else error


def _last_line(job: Any) -> str:
    """The last error that a job's log names, or its last line; empty where there is none."""
    try:
        with _log_file(job).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line.lower()]
    return (errors or [line for line in lines if "warn" not in line.lower()] or [""])[-1]


def _submit(
    executor: Any, cells: Sequence[Trial], train: Sequence[str], parameters: Mapping[str, Any]
) -> list[Any]:
    """The jobs of cells, of SLURM's in one array."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        # submitit prints what sbatch says, which the error says again.
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():
            return [executor.submit(run_job, cell, train) for cell in cells]
    except (FailedJobError, FailedSubmissionError) as error:
        lines = [line.replace("sbatch: error: ", "").strip() for line in str(error).splitlines()]
        words = "; ".join(dict.fromkeys(filter(None, lines)))
        given = " ".join(f"{key}={value}" for key, value in parameters.items())
        raise UserError(f"sbatch refuses the jobs: {words}", key="--slurm", found=given) from error


def _executor(folder: Path, parameters: Mapping[str, Any]) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "submitit is not installed",
            key="--slurm",
            found=error,
            remedy="pip install submitit",
        ) from error
    options = {"cluster": "slurm", **parameters}
    cluster = options.pop("cluster")
    if cluster not in ("slurm", "local"):
        raise UserError(
            "there is no such kind of cluster",
            key="--slurm",
            found=f"cluster={cluster}",
            expected="slurm, or local for this machine",
        )
    if cluster == "slurm":
        options |= _slurm_options(options)
        options.pop("slurm_time", None)
    try:
        # Without srun and a shell around it, the job's process gets every signal itself, and has
        # time to save: a job step of srun is killed at once when its job is cancelled.
        python = f"exec {shlex.quote(sys.executable)}"
        executor = submitit.AutoExecutor(folder, cluster, slurm_python=python)
        executor.update_parameters(**options)
    except (NameError, ValueError, RuntimeError, AssertionError, TypeError) as error:
        raise UserError(
            "the cluster cannot be used",
            key="--slurm",
            found=error,
            expected="parameters of submitit's AutoExecutor: timeout_min, slurm_partition, ...",
        ) from error
    return executor


def _minutes(limit: object) -> int | None:
    """The minutes of a time limit, rounded up; None: it is none.

    Args:
        limit: minutes, or one of sbatch's other forms: [hours:]minutes:seconds, or
            days-hours[:minutes[:seconds]].
    """
    match = re.fullmatch(r"(\d+-)?(\d+)(?::(\d+))?(?::(\d+))?", str(limit), re.ASCII)
    if match is None:
        return None
    first, second, third = (int(each or 0) for each in match.groups()[1:])
    if match[1]:
        seconds = 86400 * int(match[1][:-1]) + 3600 * first + 60 * second + third
    elif match[4]:
        seconds = 3600 * first + 60 * second + third
    else:
        seconds = 60 * first + second
    return math.ceil(seconds / 60) or None


def _slurm_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of SLURM's jobs that are not the user's to choose, or that follow from his."""
    for key in _FIXED & set(given):
        raise UserError(
            "a training of a sweep is one process of one machine, without srun",
            key="--slurm",
            found=f"{key}={given[key]}",
        )
    limit = "slurm_time" if "slurm_time" in given else "timeout_min"
    minutes = _minutes(given.get(limit, _DEFAULT_MINUTES))
    if minutes is None:
        raise UserError(
            "the time limit is no time",
            key="--slurm",
            found=f"{limit}={given[limit]}",
            expected="minutes, 1 or more, or as sbatch has it: 2:30:00 or 1-12:00",
        )
    warning = given.get("slurm_signal_delay_s", min(_WARNING_SECONDS, int(30 * minutes)))
    setup = given.get("slurm_setup", [])
    if not isinstance(setup, list):
        raise UserError(
            "the commands before a job are no list",
            key="--slurm",
            found=f"slurm_setup={setup}",
            expected="slurm_setup=[command, command]",
        )
    own = given.get("slurm_additional_parameters", {})
    if not isinstance(own, dict):
        raise UserError(
            "sbatch's other options are not options with values",
            key="--slurm",
            found=f"slurm_additional_parameters={own}",
            expected="slurm_additional_parameters={option: value}",
        )
    # To the job's process alone, which passes it on; and a job whose machine is lost begins again.
    ours: dict[str, Any] = {"signal": f"B:USR2@{warning}"}
    if "no-requeue" not in own:
        ours["requeue"] = True
    return {
        "timeout_min": minutes,
        "slurm_use_srun": False,
        # A warning that comes while the job still starts would kill it.
        "slurm_setup": ["trap '' USR2", *setup],
        "slurm_additional_parameters": {**ours, **own},
    }
