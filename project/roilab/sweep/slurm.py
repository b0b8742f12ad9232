"""Status of SLURM jobs without accounting, parsed from scontrol's output."""

import logging
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from roilab.engine.signals import signal_name

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 60
_FIELD = re.compile(
    r"(?:^|\s)(JobId|ArrayJobId|ArrayTaskId|JobState|Reason|Restarts|ExitCode)=(\S+)"
)
_FAULTS = frozenset(["BOOT_FAIL", "COMPLETED", "FAILED", "OUT_OF_MEMORY"])
_OVER = _FAULTS | {"CANCELLED", "DEADLINE", "NODE_FAIL", "PREEMPTED", "REVOKED", "TIMEOUT"}
# Why jobs wait that no passing of time lets run; limits of a job, as opposed to those of a user.
_NEVER = re.compile(
    "PartitionTimeLimit|BadConstraints|DependencyNeverSatisfied|InvalidAccount|InvalidQOS"
    "|AccountNotAllowed|QOSNotAllowed|JobHoldMaxRequeue|launch_failed_requeued_held"
    r"|\w*Max\w*PerJob\w*|\w*MaxWallDuration\w*"
)
# Reasons that add nothing to the state and to how its script ended.
_USUAL = frozenset(
    [
        "BeginTime",
        "JobArrayTaskLimit",
        "JobLaunchFailure",  # of a script that a signal ended
        "NonZeroExitCode",
        "None",
        "Priority",
        "Resources",
    ]
)


@dataclass(frozen=True)
class JobStatus:
    """The status of a cluster's job.

    Attributes:
        state: SLURM's word, such as `PENDING`; empty for a job that it no longer knows.
        reason: why the job waits, or failed, in SLURM's word.
        restarts: how often it was requeued and began again.
        exit_status: of its script.
        signal: the number of the signal that ended the script, or 0.
    """

    state: str
    reason: str = "None"
    restarts: int = 0
    exit_status: int = 0
    signal: int = 0

    @property
    def is_over(self) -> bool:
        return not self.state or self.state in _OVER

    @property
    def is_fault(self) -> bool:
        """Whether it ended by itself, where it should not have, and not since it was ended."""
        return self.state in _FAULTS

    @property
    def never_runs(self) -> bool:
        """Whether it waits for what does not come."""
        return self.state == "PENDING" and _NEVER.fullmatch(self.reason) is not None

    @property
    def text(self) -> str:
        """The state in few words, such as `CANCELLED, SIGTERM`."""
        parts = [self.state or "gone from SLURM's list"]
        if self.reason not in _USUAL:
            parts.append(self.reason)
        if self.signal:
            parts.append(signal_name(self.signal))
        elif self.exit_status:
            parts.append(f"exit status {self.exit_status}")
        return ", ".join(parts)


def job_statuses(job_ids: Iterable[str]) -> dict[str, JobStatus] | None:
    """The states of jobs, by number such as `12` or `12_3`; None where SLURM does not answer.

    A job that SLURM no longer knows is there, too, with an empty state.
    """
    job_ids = list(job_ids)
    known: dict[str, JobStatus] = {}
    for main in sorted({job_id.partition("_")[0] for job_id in job_ids}):
        command = ["scontrol", "--oneliner", "show", "job", main]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        except OSError as error:  # such as no memory for another process
            log.debug("%s", error)
            return None
        if done.returncode == 0:
            known |= parse_jobs(done.stdout)
        elif "Invalid job id" not in done.stderr:
            log.debug("%s", done.stderr)
            return None
    return {job_id: known.get(job_id, JobStatus("")) for job_id in job_ids}


def parse_jobs(text: str) -> dict[str, JobStatus]:
    """The states of the jobs in what `scontrol --oneliner show job` prints, a line each.

    A job of an array is named by both numbers, `12_3`; those that wait share a line.
    """
    statuses = {}
    for line in text.splitlines():
        # The first of a key is SLURM's own: names and comments of users come after.
        fields: dict[str, str] = {}
        for key, value in _FIELD.findall(line):
            fields.setdefault(key, value)
        if "JobId" in fields and "JobState" in fields:
            status = _status(fields)
            statuses.update(dict.fromkeys(_names(fields), status))
    return statuses


def _status(fields: Mapping[str, str]) -> JobStatus:
    status, _, number = fields.get("ExitCode", "0:0").partition(":")
    return JobStatus(
        fields["JobState"],
        fields.get("Reason", "None"),
        _whole(fields.get("Restarts", "")),
        _whole(status),
        _whole(number),
    )


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _names(fields: Mapping[str, str]) -> list[str]:
    """The numbers of the jobs of a line: of an array's, `ArrayTaskId=0-3,7%4`."""
    if "ArrayTaskId" not in fields:
        return [fields["JobId"]]
    tasks: list[int] = []
    for part in fields["ArrayTaskId"].partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            tasks += range(int(first), int(last or first) + 1)
    array = fields.get("ArrayJobId", fields["JobId"])
    return [f"{array}_{task}" for task in tasks]


def cancel(job_ids: Iterable[str]) -> None:
    """Ask SLURM to end jobs: a signal, some time to save, and then their death."""
    job_ids = list(job_ids)
    if job_ids:
        try:
            subprocess.run(["scancel", *job_ids], check=False)
        except OSError as error:
            log.warning("scancel cannot be run (%s), and these go on: %s", error, " ".join(job_ids))
