"""SLURM's jobs: parameters, status without accounting, cancelling and requeueing.

The status is parsed from scontrol's output.
"""

import logging
import math
import operator
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from roilab.engine.signals import signal_name
from roilab.errors import UserError

log = logging.getLogger(__name__)

_WARNING_SECONDS = 90  # before a time limit
_DEFAULT_MINUTES = 5  # submitit's
_FIXED = {"nodes", "tasks_per_node", "slurm_nodes", "slurm_ntasks_per_node", "slurm_use_srun"}
_ANSWER_SECONDS = 60
_KEYS = "JobId|ArrayJobId|ArrayTaskId|JobState|Reason|Restarts|ExitCode"
_FIELD = re.compile(rf"(?:^|\s)({_KEYS})=(\S+)")
# The states of jobs that ended by themselves.
FAULTS = {"BOOT_FAIL", "COMPLETED", "FAILED", "OUT_OF_MEMORY"}
_OVER = FAULTS | {"CANCELLED", "DEADLINE", "NODE_FAIL", "PREEMPTED", "REVOKED", "TIMEOUT"}
# Why jobs wait that will never run: limits of a job, as opposed to those of a user.
_NEVER = re.compile(
    "PartitionTimeLimit|BadConstraints|DependencyNeverSatisfied|InvalidAccount|InvalidQOS"
    "|AccountNotAllowed|QOSNotAllowed|JobHoldMaxRequeue|launch_failed_requeued_held"
    r"|\w*Max\w*PerJob\w*|\w*MaxWallDuration\w*"
)
# Reasons that add nothing to the state and the exit status; a signal that ends a script is a
# JobLaunchFailure.
_USUAL = re.compile(
    "BeginTime|JobArrayTaskLimit|JobLaunchFailure|NonZeroExitCode|None|Priority|Resources"
)


@dataclass(frozen=True)
class JobStatus:
    """The status of a cluster's job.

    Attributes:
        state: SLURM's word, such as `PENDING`; empty for a job that SLURM no longer knows.
        reason: why the job waits, or failed, in SLURM's word.
        restarts: how often it was requeued and began again.
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
    def never_runs(self) -> bool:
        """Whether the job waits for something that does not come."""
        return self.state == "PENDING" and _NEVER.fullmatch(self.reason) is not None

    @property
    def text(self) -> str:
        """The state in few words, such as `CANCELLED, SIGTERM`."""
        parts = [self.state or "gone from SLURM's list"]
        if not _USUAL.fullmatch(self.reason):
            parts.append(self.reason)
        if self.signal:
            parts.append(signal_name(self.signal))
        elif self.exit_status:
            parts.append(f"exit status {self.exit_status}")
        return ", ".join(parts)


def job_statuses(job_ids: Iterable[str]) -> dict[str, JobStatus] | None:
    """The status of jobs, by number such as `12` or `12_3`; None where SLURM does not answer.

    A job that SLURM no longer knows has an empty state.
    """
    known: dict[str, JobStatus] = {}
    job_ids = list(job_ids)
    for job in sorted({job_id.partition("_")[0] for job_id in job_ids}):
        command = ["scontrol", "--oneliner", "show", "job", job]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS)
        except (subprocess.TimeoutExpired, OSError) as error:  # no memory for another process, say
            log.debug("%s", error)
            return None
        if done.returncode == 0:
            known |= parse_jobs(done.stdout)
        elif "Invalid job id" not in done.stderr:
            log.debug("%s", done.stderr)
            return None
    return {job_id: known.get(job_id, JobStatus("")) for job_id in job_ids}


def parse_jobs(text: str) -> dict[str, JobStatus]:
    """The status of each job in the output of `scontrol --oneliner show job`, a line each.

    A job of an array is named by both numbers, `12_3`; those that wait share a line.
    """
    statuses = {}
    for line in text.splitlines():
        # The first value of a key is SLURM's: names and comments of users come after.
        fields = dict(reversed(_FIELD.findall(line)))
        if "JobId" not in fields or "JobState" not in fields:
            continue
        exit_status, signal = fields.get("ExitCode", "0:0").split(":")
        status = JobStatus(
            state=fields["JobState"],
            reason=fields.get("Reason", "None"),
            restarts=int(fields.get("Restarts", "0")),
            exit_status=int(exit_status),
            signal=int(signal),
        )
        if "ArrayTaskId" not in fields:
            statuses[fields["JobId"]] = status
            continue
        array = fields.get("ArrayJobId", fields["JobId"])
        tasks = fields["ArrayTaskId"]
        # An array's, such as `0-3,7%4`.
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", tasks.partition("%")[0]):
            for task in range(int(first), int(last or first) + 1):
                statuses[f"{array}_{task}"] = status
    return statuses


def cancel(job_ids: Iterable[str]) -> None:
    """Ask SLURM to end jobs: it sends a signal, and kills them after some time to save."""
    job_ids = list(job_ids)
    if job_ids:
        try:
            subprocess.run(["scancel", *job_ids], check=False)
        except OSError as error:
            log.warning("scancel cannot be run (%s), and these go on: %s", error, " ".join(job_ids))


def requeue(job_id: str) -> None:
    """Ask SLURM to begin a job again. May raise OSError or a subprocess's error."""
    subprocess.run(["scontrol", "requeue", job_id], check=True, timeout=_ANSWER_SECONDS)


def job_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Submitit's parameters of SLURM jobs: the user's, and those that a sweep sets.

    Raises:
        UserError: a parameter is not the user's to set, or has a value that it cannot have.
    """
    for key in _FIXED & set(parameters):
        message = "a training of a sweep is one process of one machine, without srun"
        raise wrong_parameter(message, f"{key}={parameters[key]}")
    limit = "slurm_time" if "slurm_time" in parameters else "timeout_min"
    minutes = parse_minutes(parameters.get(limit, _DEFAULT_MINUTES))
    if minutes is None:
        expected = "minutes, 1 or more, or as sbatch has it: 2:30:00 or 1-12:00"
        value = f"{limit}={parameters[limit]}"
        raise wrong_parameter("the time limit is no time", value, expected)
    setup = _typed(parameters, "slurm_setup", [], "[command, command]")
    more = _typed(parameters, "slurm_additional_parameters", {}, "{option: value}")
    warning = parameters.get("slurm_signal_delay_s", min(_WARNING_SECONDS, int(30 * minutes)))
    # The signal goes to the job's process alone, which passes it on.
    ours: dict[str, Any] = {"signal": f"B:USR2@{warning}"}
    if "no-requeue" not in more:
        ours["requeue"] = True  # a job whose machine is lost begins again
    return {
        **{key: value for key, value in parameters.items() if key != "slurm_time"},
        "timeout_min": minutes,
        "slurm_use_srun": False,
        # A warning that comes while the job still starts would kill it.
        "slurm_setup": ["trap '' USR2", *setup],
        "slurm_additional_parameters": {**ours, **more},
    }


def _typed(parameters: Mapping[str, Any], key: str, default: Any, example: str) -> Any:
    """A parameter, which has to be of its default's type."""
    value = parameters.get(key, default)
    kind = type(default)
    if not isinstance(value, kind):
        message = f"the parameter is no {kind.__name__}"
        raise wrong_parameter(message, f"{key}={value}", f"{key}={example}")
    return value


def wrong_parameter(message: str, value: object, expected: str | None = None) -> UserError:
    """A mistake in the parameters of a cluster."""
    return UserError(message, key="slurm", found=value, expected=expected)


def parse_minutes(limit: object) -> int | None:
    """The minutes of a time limit, rounded up; None where it is no time.

    sbatch's forms are minutes, [hours:]minutes:seconds, and days-hours[:minutes[:seconds]].
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(limit), re.ASCII)
    if match is None:
        return None
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    begins_with_hours = bool(days) or len(numbers) == 3
    units = (3600, 60, 1) if begins_with_hours else (60, 1)  # in seconds
    seconds = 86400 * int(days or 0) + sum(map(operator.mul, numbers, units))
    return math.ceil(seconds / 60) or None
