"""scontrol's text, as SLURM 22.05 prints it."""

import errno
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest

from roilab.sweep.slurm import JobStatus, cancel, job_statuses, parse_jobs

LINE = (
    "JobId={id} {array}JobName=submitit UserId=root(0) GroupId=root(0) MCS_label=N/A Nice=0 "
    "Account=(null) QOS=(null) JobState={state} Reason={reason} Dependency=(null) Requeue=1 "
    "Restarts={restarts} BatchFlag=1 Reboot=0 ExitCode={code} RunTime=00:01:25 "
    "TimeLimit=00:10:00 Partition=cpu NodeList=vm BatchHost=vm Command=/jobs/a b.sh Power= \n"
)


def line(state: str, number: int = 7, *, array: str = "", **fields: object) -> str:
    """What scontrol prints of a job."""
    task = f"ArrayJobId=7 ArrayTaskId={array} " if array else ""
    fields = {"reason": "None", "restarts": 0, "code": "0:0", **fields}
    return LINE.format(id=number, array=task, state=state, **fields)


def status(state: str, **fields: object) -> JobStatus:
    return parse_jobs(line(state, **fields))["7"]


def test_a_job() -> None:
    assert parse_jobs(line("CANCELLED", code="0:15", restarts=2)) == {
        "7": JobStatus("CANCELLED", "None", 2, 0, 15)
    }
    assert parse_jobs("") == {}
    assert parse_jobs("No jobs in the system\n") == {}


def test_the_jobs_of_an_array() -> None:
    text = (
        line("PENDING", 7, array="2-4,7%2", reason="Resources")
        + line("RUNNING", 9, array="1")
        + line("FAILED", 8, array="0", code="1:0", reason="NonZeroExitCode")
    )
    statuses = parse_jobs(text)
    assert sorted(statuses) == ["7_0", "7_1", "7_2", "7_3", "7_4", "7_7"]
    states = [statuses[f"7_{task}"].state for task in (0, 1, 2, 7)]
    assert states == ["FAILED", "RUNNING", "PENDING", "PENDING"]
    assert statuses["7_0"].exit_status == 1


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (status("CANCELLED", code="0:15"), "CANCELLED, SIGTERM"),
        (status("FAILED", code="2:0", reason="NonZeroExitCode"), "FAILED, exit status 2"),
        (status("OUT_OF_MEMORY", code="0:125", reason="OutOfMemory"), "OUT_OF_MEMORY, OutOfMemory"),
        (status("PENDING", reason="Priority"), "PENDING"),
        (status("PENDING", reason="JobHeldUser"), "PENDING, JobHeldUser"),
        (JobStatus(""), "gone from SLURM's list"),
    ],
)
def test_the_state_in_few_words(state: JobStatus, text: str) -> None:
    assert state.text.startswith(text)


def test_what_is_over() -> None:
    over = ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"]
    live = ["PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED", "A_NEW_ONE"]
    assert all(status(state).is_over for state in over)
    assert not any(status(state).is_over for state in live)
    assert JobStatus("").is_over


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        ("PartitionTimeLimit", True),
        ("QOSMaxCpuPerJobLimit", True),
        ("AssocMaxWallDurationPerJobLimit", True),
        ("launch_failed_requeued_held", True),
        ("Resources", False),
        ("ReqNodeNotAvail,", False),
        ("QOSMaxJobsPerUserLimit", False),
        ("JobHeldUser", False),
    ],
)
def test_what_never_runs(reason: str, never: bool) -> None:
    assert status("PENDING", reason=reason).never_runs == never
    assert not status("RUNNING", reason=reason).never_runs


def fake_scontrol(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in place of scontrol."""
    path = folder / "scontrol"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_jobs_are_asked_about_by_their_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").write_text(line("RUNNING", 9, array="1"))
    script = f'echo "$@" >> {tmp_path}/calls; /bin/cat {tmp_path}/text'
    fake_scontrol(tmp_path, monkeypatch, script)
    assert job_statuses(["7_0", "7_1"]) == {"7_0": JobStatus(""), "7_1": JobStatus("RUNNING")}
    assert (tmp_path / "calls").read_text() == "--oneliner show job 7\n"


@pytest.mark.parametrize(
    ("message", "statuses"),
    [
        # A job that SLURM has forgotten is over; a controller that does not answer ends none.
        ("Invalid job id specified", {"7": JobStatus("")}),
        ("Unable to contact slurm controller (connect failure)", None),
    ],
)
def test_errors_of_scontrol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, statuses: object
) -> None:
    text = f"slurm_load_jobs error: {message}"
    fake_scontrol(tmp_path, monkeypatch, f"echo {text!r} >&2; exit 1")
    assert job_statuses(["7"]) == statuses


def test_programs_that_cannot_be_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (subprocess.TimeoutExpired("scontrol", 60), OSError(errno.ENOMEM, "no memory")):
        monkeypatch.setattr(subprocess, "run", Mock(side_effect=error))
        assert job_statuses(["7"]) is None
    cancel(["7"])
    assert "these go on: 7" in caplog.text
