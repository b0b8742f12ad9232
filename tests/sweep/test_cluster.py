"""Jobs of a fake cluster: a program in place of scontrol, and files in place of jobs."""

import json
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import submitit

from roilab.engine.signals import Interrupted
from roilab.errors import UserError
from roilab.sweep import State, cluster, run_on_cluster
from roilab.sweep.cluster import _Slurm, _Watch, run_job
from roilab.sweep.runner import run_trial
from roilab.sweep.slurm import JobStatus, job_parameters, parse_minutes
from roilab.sweep.state import checkpoint_of, record_end, state_of, trial_identity

from .runs import output_of, training, trial_in, wait_for

RUNNING, PENDING = JobStatus("RUNNING"), JobStatus("PENDING")


class Job(submitit.core.core.Job[State]):
    """A job of submitit whose result is a file that the tests write."""

    def _register_in_watcher(self) -> None:
        pass

    def leave(self, outcome: str, result: object) -> None:
        self.paths.folder.mkdir(parents=True, exist_ok=True)
        self.paths.result_pickle.write_bytes(pickle.dumps((outcome, result)))

    def say(self, text: str) -> None:
        self.paths.folder.mkdir(parents=True, exist_ok=True)
        self.paths.stderr.write_text(text)


class Cluster(_Slurm):
    """Returns the listed answers, and the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[JobStatus | None] = []
        self.cancelled: list[Any] = []

    def statuses(self, jobs: Any) -> dict[str, JobStatus] | None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return None if answer is None else {job.job_id: answer for job in jobs.values()}

    def cancel(self, jobs: Any) -> None:
        self.cancelled += jobs
        self.answers = [JobStatus("CANCELLED")]


class Watched:
    """A trial with its job, and its updates."""

    def __init__(self, folder: Path) -> None:
        self.trial = trial_in(folder)
        self.job = Job(folder / "jobs", "7")
        self.cluster = Cluster()
        self.updates: list[State] = []
        self.watch = _Watch(
            {self.trial: self.job}, self.cluster, lambda _, state: self.updates.append(state)
        )

    def look(self, *answers: JobStatus | None) -> list[State]:
        """The updates after these answers of the cluster, one answer a look."""
        self.updates.clear()
        self.cluster.answers = list(answers) or [RUNNING]
        for _ in range(max(1, len(answers))):
            self.watch.next_question = 0.0
            self.watch.look()
        return self.updates

    def begin(self, checkpoint: str = "") -> None:
        """Write the files of a training that has begun."""
        self.trial.folder.mkdir(parents=True, exist_ok=True)
        (self.trial.folder / "cell.json").write_text(json.dumps(trial_identity(self.trial)))
        if checkpoint:
            (self.trial.folder / checkpoint).write_text("")


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_job_waits_runs_and_leaves_its_result(watched: Watched) -> None:
    assert watched.updates == [State("queued", error="SLURM job 7")]
    assert watched.look(PENDING, PENDING) == []
    assert watched.look(RUNNING, RUNNING) == [State("training")]
    watched.job.leave("success", State("done", {"bbox": {"AP": 1.0}}))
    assert watched.look() == [State("done", {"bbox": {"AP": 1.0}})]
    assert not watched.watch.jobs


def test_a_requeued_job_is_waited_for(watched: Watched) -> None:
    watched.begin("model_0000099.pth")
    watched.look(RUNNING)
    record_end(watched.trial, ended="SIGTERM, saved in model_0000099.pth")
    # Between the two a job may look as if it were over.
    for between in ("COMPLETING", "PREEMPTED", "NODE_FAIL"):
        again = JobStatus("PENDING", "BeginTime", restarts=1)
        updates = watched.look(JobStatus(between), again)
        assert watched.watch.jobs
    assert updates == []
    watched.look(RUNNING)
    assert watched.updates == [State("training")]
    (queued,) = watched.look(again)
    assert queued.error == "SLURM job 7, requeued, SIGTERM, saved in model_0000099.pth"


@pytest.mark.parametrize("state", ["CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", ""])
def test_a_trial_with_a_checkpoint_is_saved(watched: Watched, state: str) -> None:
    watched.begin("model_0000099.pth")
    watched.job.say("all is well\nslurmstepd: error: *** JOB 7 DUE TO TIME LIMIT ***\nbye\n")
    over = JobStatus(state, signal=15)
    assert watched.look(over) == []
    (last,) = watched.look(over)
    assert last.kind == "cut"
    assert last.text.startswith(f"saved: SLURM job 7: {state or 'gone'}")
    log = str(watched.job.paths.stderr)
    for words in ("SIGTERM", "model_0000099.pth", "DUE TO TIME LIMIT", log):
        assert words in last.error
    # The state is also in the folder, for reports.
    assert state_of(watched.trial) == last


@pytest.mark.parametrize(
    ("status", "checkpoint", "words"),
    [
        (JobStatus("CANCELLED"), "", "CANCELLED"),
        (JobStatus("OUT_OF_MEMORY", signal=9), "model_0000099.pth", "OUT_OF_MEMORY, SIGKILL"),
        (JobStatus("FAILED", exit_status=127), "", "FAILED, exit status 127"),
        (JobStatus(""), "", "gone from SLURM's list"),
    ],
)
def test_a_trial_without_what_was_to_be_saved_fails(
    watched: Watched, status: JobStatus, checkpoint: str, words: str
) -> None:
    watched.begin(checkpoint)
    watched.look(status)
    (last,) = watched.look(status)
    assert last.kind == "failed"
    assert words in last.error
    assert checkpoint in last.error
    assert state_of(watched.trial) == last


def test_a_job_that_ended_before_its_trial_began_leaves_no_folder(watched: Watched) -> None:
    watched.look(JobStatus("CANCELLED"))
    (last,) = watched.look(JobStatus("CANCELLED"))
    assert (last.kind, state_of(watched.trial).kind) == ("failed", "open")
    assert not watched.trial.folder.exists()


def test_a_job_that_was_killed_after_its_results_is_done(watched: Watched) -> None:
    watched.begin("model_final.pth")
    (watched.trial.folder / "results.json").write_text('{"bbox": {"AP": 1.0}}')
    watched.look(JobStatus("TIMEOUT"))
    assert [state.kind for state in watched.look(JobStatus("TIMEOUT"))] == ["done"]


def test_a_job_that_never_runs_is_not_waited_for(watched: Watched) -> None:
    (last,) = watched.look(JobStatus("PENDING", "PartitionTimeLimit"))
    assert last.text == "failed: SLURM job 7: PENDING, PartitionTimeLimit"
    assert watched.cluster.cancelled == [watched.job]
    assert not watched.watch.jobs


def test_a_silent_controller_is_waited_for(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    assert watched.look(None, None) == []
    assert caplog.text.count("SLURM does not answer") == 1
    assert watched.watch.jobs
    assert watched.look(RUNNING) == [State("training")]


def test_a_result_that_is_an_error_is_that_of_the_log(watched: Watched) -> None:
    watched.job.say("Traceback\n  a line\nModuleNotFoundError: No module named 'roilab'\n")
    watched.job.leave("error", "Traceback ...")
    (last,) = watched.look()
    assert last.error.startswith("ModuleNotFoundError: No module named 'roilab'; log: ")


def test_an_interrupt_waits_until_the_jobs_have_saved(watched: Watched) -> None:
    watched.begin("model_0000099.pth")
    watched.watch.end()
    assert watched.cluster.cancelled == [watched.job]
    assert watched.updates[-1].kind == "cut"


def test_jobs_that_were_just_submitted_are_cancelled(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(*_: object) -> tuple[Cluster, list[Job]]:
        os.kill(os.getpid(), signal.SIGTERM)
        return watched.cluster, [watched.job]

    monkeypatch.setattr(cluster, "_submit", submit)
    train = training(tmp_path, "")
    with pytest.raises(Interrupted, match="SIGTERM"):
        run_on_cluster([watched.trial], train, tmp_path, {}, on_update=print, refresh=print)
    assert watched.cluster.cancelled == [watched.job]


# Saves when it is asked to, and is done when it goes on. It says when it can be asked.
TRAINING = """
import pathlib, signal, sys, time
options = dict(part.split("=", 1) for part in sys.argv if "=" in part)
folder = pathlib.Path(options["train.output_dir"].strip("'"))
def save(number, frame):
    if "nothing" not in options:
        (folder / "model_0000009.pth").write_text("")
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, save)
print("begun", flush=True)
time.sleep(60)
"""


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "overrides", "requeue", "ended"),
    [
        (signal.SIGTERM, (), 0, "SIGTERM, saved in model_0000009.pth"),
        (signal.SIGUSR2, (), 0, "SIGUSR2, saved in model_0000009.pth"),
        (signal.SIGUSR2, (), 1, "cannot be requeued"),
        (signal.SIGUSR2, ("nothing=1",), 0, "raise timeout_min"),
    ],
)
def test_a_signal_to_a_job_has_its_trial_saved(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    handlers: None,
    number: signal.Signals,
    overrides: tuple[str, ...],
    requeue: int,
    ended: str,
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nexit {requeue}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    trial = trial_in(tmp_path, "a", *overrides)

    def send() -> None:
        wait_for(lambda: output_of(trial))
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(SystemExit) as left:
        run_job(trial, training(tmp_path, TRAINING))
    sender.join()
    assert left.value.code == 128 + number
    assert ended in state_of(trial).error
    assert bool(checkpoint_of(trial)) == (not overrides)
    called = tmp_path / "called"
    if number == signal.SIGUSR2 and not overrides:
        assert called.read_text() == "requeue 12\n"
    else:
        assert not called.exists()


def test_a_training_that_is_ended_by_itself_is_saved(tmp_path: Path) -> None:
    code = TRAINING.replace("time.sleep(60)", "save(signal.SIGTERM, None)")
    state = run_trial(trial_in(tmp_path), training(tmp_path, code))
    assert (state.kind, state.error) == ("cut", "begun")


@pytest.mark.parametrize(
    ("parameters", "signal_and_delay"),
    [
        ({}, "B:USR2@90"),
        ({"timeout_min": 600}, "B:USR2@90"),
        ({"timeout_min": 2}, "B:USR2@60"),  # or a job would be warned as soon as it begins
        ({"timeout_min": 600, "slurm_signal_delay_s": 300}, "B:USR2@300"),
        ({"slurm_additional_parameters": {"signal": "B:USR1@9"}}, "B:USR1@9"),
        ({"slurm_additional_parameters": {"no-requeue": True}}, "B:USR2@90"),
    ],
)
def test_a_job_is_warned_of_its_time_limit_and_may_be_requeued(
    parameters: dict[str, Any], signal_and_delay: str
) -> None:
    options = job_parameters(parameters)
    more = options["slurm_additional_parameters"]
    assert more["signal"] == signal_and_delay
    assert more.get("requeue") == (None if "no-requeue" in more else True)
    assert options["slurm_use_srun"] is False
    assert job_parameters({"slurm_setup": ["a"]})["slurm_setup"] == [*options["slurm_setup"], "a"]


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [
        (30, 30),
        ("30", 30),
        ("30:01", 31),
        ("2:30:00", 150),
        ("1-0", 1440),
        ("1-2:30", 1590),
        ("2-00:00:30", 2881),
        (0.5, None),
        ("1-2-3", None),
    ],
)
def test_time_limits_are_those_of_sbatch(limit: object, minutes: int | None) -> None:
    assert parse_minutes(limit) == minutes
    if minutes is not None:
        assert job_parameters({"slurm_time": limit})["timeout_min"] == minutes


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cluster": "debug"}, "cluster=debug"),
        ({"cluster": "local", "no_such": "x"}, "no_such"),
        ({"cluster": "local", "timeout_min": 1.5}, "1.5"),
        ({"nodes": 2}, "nodes=2"),
        ({"slurm_use_srun": True}, "one process"),
        ({"timeout_min": -5}, "timeout_min=-5"),
        ({"slurm_setup": "module load cuda"}, "slurm_setup=module load cuda"),
        ({"timeout_min": "x"}, "timeout_min=x"),
        ({"slurm_time": "1-"}, "slurm_time=1-"),
        ({"slurm_time": "0:0"}, "slurm_time=0:0"),
        ({"slurm_additional_parameters": "nice"}, "slurm_additional_parameters=nice"),
    ],
)
def test_parameters_that_cannot_be(
    tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    train, trials = training(tmp_path, ""), [trial_in(tmp_path)]
    with pytest.raises(UserError, match=f"(?s)slurm.*{message}|{message}.*slurm"):
        run_on_cluster(trials, train, tmp_path, parameters, on_update=print, refresh=print)
