"""The job of a cluster: it trains a cell, and lets it save when the cluster ends the job.

A cluster tells a job of its end by signals. SLURM sends SIGTERM when a job is cancelled or
preempted, and waits for `KillWait` seconds (30 by default) before it kills; before a time limit it
sends the signal that it was asked for, see `cluster.py`.
"""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from roilab.data.workers import END_SIGNALS
from roilab.engine.lock import SILENT
from roilab.engine.signals import signal_name
from roilab.errors import UserError
from roilab.sweep.plan import Trial
from roilab.sweep.runner import (
    State,
    checkpoint_of,
    failed,
    note_end,
    run_cell,
    state_of,
)

_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
_ANSWER_SECONDS = 60
# Seconds for what is left of the job's last beginning to save and end, or to be taken for gone.
_PATIENCE = SILENT + 60


class _Signalled(Exception):
    """A signal asks the job to end."""


class _Signals:
    """The signals that have come."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.numbers.append(number)

    def check(self) -> None:
        if self.numbers:
            raise _Signalled


def run_job(cell: Trial, train: Sequence[str]) -> State:
    """Train a cell, and return what became of it: the result of a job.

    A job that a signal ends has none: its training is asked to save and waited for, and then the
    process exits with 128 and the signal's number. Whether the job is over or begins again is the
    cluster's to know. Warned of a time limit, a job that has got further requeues itself.
    """
    signals = _Signals()
    for number in END_SIGNALS:
        signal.signal(number, signals)
    before = checkpoint_of(cell)
    try:
        return run_cell(cell, train, watch=signals.check, tied=True, patience=_PATIENCE)
    except _Signalled:
        state = state_of(cell)
        return state if state.kind == "done" else _end(cell, signals.numbers[0], before)
    except (UserError, OSError) as error:
        return failed(error)
    except Exception as error:  # of ours: what it was is in the job's log
        traceback.print_exc()
        return State("failed", error=f"{type(error).__name__}: {error}")


def _end(cell: Trial, number: int, before: str) -> NoReturn:
    """Leave a job that got a signal; one that was warned begins again, if it has got further."""
    name, after = signal_name(number), checkpoint_of(cell)
    ended = f"{name}, saved in {after}" if after else f"{name}, before there was a checkpoint"
    if number in _WARNINGS and after == before:
        ended += "; the time limit is too short to get further: raise timeout_min"
    note_end(cell, ended=ended)  # first: the cluster may kill what is requeued
    if number in _WARNINGS and after != before:
        try:
            _requeue()
        except (OSError, subprocess.SubprocessError) as error:  # it may be forbidden there
            note_end(cell, ended=f"{ended}; the job cannot be requeued: {error}")
    sys.exit(128 + number)


def _requeue() -> None:
    """Have the cluster begin this job again: SLURM when asked, submitit by an exit status."""
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        from submitit.local.local import LOCAL_REQUEUE_RETURN_CODE

        sys.exit(LOCAL_REQUEUE_RETURN_CODE)
    command = ["scontrol", "requeue", os.environ["SLURM_JOB_ID"]]
    subprocess.run(command, check=True, timeout=_ANSWER_SECONDS)
