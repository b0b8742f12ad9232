"""Trials with a fake training of a few lines of Python."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from roilab.engine.lock import locked
from roilab.errors import UserError
from roilab.sweep import State, Trial, run_here, run_on_cluster
from roilab.sweep.runner import TrainCommand, run_trial, training_slots
from roilab.sweep.state import iterations_of, logged_values, state_of, trial_identity

from .runs import output_of, training, trial_in, wait_for

# In place of roilab train: writes what a finished run leaves, or fails for seed 1.
FAKE = """
import json, os, pathlib, sys
options = dict(a.split("=", 1) for a in sys.argv if "=" in a)
folder = pathlib.Path(options["train.output_dir"].strip("'"))
(folder / "arguments").write_text(" ".join(sys.argv))
(folder / "slot").write_text(os.environ.get("SLOT", ""))
if options["train.seed"] == "1":
    print("much\\nerror: the disk is full\\n  key: x")
    sys.exit(2)
with (folder / "metrics.json").open("a") as log:
    print(json.dumps({"iteration": 8, "total_loss": 1.0, "time": 0.5}), file=log)
    print(json.dumps({"iteration": 9, "bbox/AP": 1.0}), file=log)
(folder / "config.yaml").write_text("")
(folder / "model_final.pth").write_text("")
(folder / "last_checkpoint").write_text("model_final.pth")
(folder / "results.json").write_text(json.dumps({"bbox": {"AP": float(options.get("ap", 1))}}))
"""
# Says its number and waits to be ended.
ENDLESS = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"


@pytest.fixture
def train(tmp_path: Path) -> TrainCommand:
    return training(tmp_path, FAKE)


@pytest.fixture
def endless(tmp_path: Path) -> TrainCommand:
    return training(tmp_path, ENDLESS)


def ended(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_trial_runs_once(tmp_path: Path, train: TrainCommand) -> None:
    one = trial_in(tmp_path, "a", "ap=12.5")
    assert state_of(one).kind == "open"
    state = run_trial(one, train)
    assert (state.kind, state.results) == ("done", {"bbox": {"AP": 12.5}})
    assert iterations_of(logged_values(one)) == 10
    assert state.seconds > 0
    assert "--resume" not in (one.folder / "arguments").read_text()
    assert state_of(one) == state


def cut(one: Trial, tag: str) -> None:
    """Leave what a trial leaves that was cut after the checkpoint `tag`."""
    one.folder.mkdir(parents=True)
    (one.folder / "cell.json").write_text(json.dumps({**trial_identity(one), "seconds": 100.0}))
    (one.folder / "metrics.json").write_text('{"iteration": 199, "total_loss": 1.0}\n')
    (one.folder / "config.yaml").write_text("")
    if tag:
        (one.folder / tag).write_text("")


@pytest.mark.parametrize("tag", ["model_0000199.pth", "model_final.pth", ""])
def test_a_cut_trial_is_resumed(tmp_path: Path, train: TrainCommand, tag: str) -> None:
    # The last evaluation can be cut too: then the final weights are there, but not their results.
    # Without a checkpoint, the training begins anew.
    one = trial_in(tmp_path)
    cut(one, tag)
    kind = "cut" if tag else "open"
    assert state_of(one) == State(kind, seconds=100.0)
    assert iterations_of(logged_values(one)) == 200
    state = run_trial(one, train)
    assert state.kind == "done"
    assert state.seconds > 100
    assert "--resume" in (one.folder / "arguments").read_text()


def test_what_is_done_stays_done(tmp_path: Path, train: TrainCommand) -> None:
    """Copied in any order, and without its weights."""
    one = trial_in(tmp_path)
    done = run_trial(one, train)
    os.utime(one.folder / "results.json", (1, 1))
    assert state_of(one) == done
    (one.folder / "model_final.pth").unlink()
    assert state_of(one) == done


def test_an_interrupt_ends_the_training(tmp_path: Path, endless: TrainCommand) -> None:
    one = trial_in(tmp_path)

    def interrupt() -> None:
        if output_of(one):
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_trial(one, endless, check=interrupt)
    assert time.monotonic() - started < 30  # ended, not waited for
    assert ended(int(output_of(one)))
    assert state_of(one).kind == "open"


def begun(one: Trial, code: str, *, tied: bool = False) -> tuple[subprocess.Popen[bytes], int]:
    """A process that trains a trial, and the number of the training, which says it first."""
    script = (
        "import sys; from pathlib import Path\n"
        "from roilab.sweep.plan import Arm, Trial\n"
        "from roilab.cli.sweep import train_command\n"
        "from roilab.sweep.runner import run_trial\n"
        f"one = Trial(Arm('a', 'base.py', (), {{}}), 0, Path({str(one.folder)!r}))\n"
        f"train = lambda *arguments: train_command([sys.executable, '-c', {code!r}], *arguments)\n"
        f"run_trial(one, train, tied={tied})"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    wait_for(lambda: output_of(one) or parent.poll() is not None)
    return parent, int(output_of(one))


def test_a_trial_is_trained_by_one_process_at_a_time(tmp_path: Path, train: TrainCommand) -> None:
    """Also by one that outlived its sweep."""
    one = trial_in(tmp_path)
    sweep, left = begun(one, ENDLESS)
    sweep.kill()
    sweep.wait()
    try:
        with pytest.raises(UserError, match=r"(?s)being trained by another process.*seed_0"):
            run_trial(one, train)
    finally:
        os.kill(left, signal.SIGKILL)
    wait_for(lambda: ended(left))
    assert run_trial(one, train).kind == "done"


@pytest.mark.parametrize("lock", [".lock", ".training.lock"])
def test_a_job_waits_for_what_is_left_of_another(
    tmp_path: Path, train: TrainCommand, lock: str
) -> None:
    one = trial_in(tmp_path)
    one.folder.mkdir(parents=True)
    with locked(one.folder / lock):
        with pytest.raises(UserError, match="being trained by another process"):
            run_trial(one, train, patience=0.1)
        # What ends a job ends its waiting, too.
        with pytest.raises(InterruptedError):
            run_trial(one, train, patience=60, check=interrupt)
    with ThreadPoolExecutor(1) as pool:
        with locked(one.folder / lock):
            waiting = pool.submit(run_trial, one, train, patience=60)
            time.sleep(1)
            assert not waiting.done()
            assert not (one.folder / "arguments").exists()
        assert waiting.result().kind == "done"


def interrupt() -> None:
    raise InterruptedError


def test_a_training_that_is_tied_ends_with_its_parent(tmp_path: Path) -> None:
    """Saved: it gets a signal that it handles."""
    one = trial_in(tmp_path)
    saving = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit('saved'))\n" + ENDLESS
    )
    parent, number = begun(one, saving, tied=True)
    assert os.getpgid(number) == os.getpgid(parent.pid)  # SLURM kills groups, too
    parent.kill()
    parent.wait()
    wait_for(lambda: ended(number))
    assert "saved" in output_of(one)


def test_how_far_a_training_is(tmp_path: Path) -> None:
    one = trial_in(tmp_path)
    assert iterations_of(logged_values(one)) == 0
    one.folder.mkdir(parents=True)
    log = one.folder / "metrics.json"
    early = [{"iteration": n, "time": 1.0, "x": "y" * 500} for n in range(400)]
    lines = [*early, {"iteration": 419, "time": 0.25}, {"iteration": 439, "segm/AP": 7.5}]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"iteration": 4')
    values = logged_values(one)
    assert (iterations_of(values), values["time"], values["segm/AP"]) == (440, 0.25, 7.5)


def test_the_weights_of_another_arm_are_taken(tmp_path: Path, train: TrainCommand) -> None:
    source, one = trial_in(tmp_path, "b"), trial_in(tmp_path, "a", "ap=2", weights_of="b")
    with pytest.raises(UserError, match=r"'b', seed 0 do not exist"):
        run_trial(one, train)
    run_trial(source, train)
    assert run_trial(one, train).results == {"bbox": {"AP": 2.0}}
    assert "--resume" in (one.folder / "arguments").read_text()
    assert (one.folder / "metrics.json").read_text().count("total_loss") == 2
    # A source that is done, and whose weights somebody has deleted.
    (source.folder / "model_final.pth").unlink()
    with pytest.raises(UserError, match=r"(?s)do not exist.*deleted"):
        run_trial(replace(one, folder=tmp_path / "c/seed_0"), train)


def test_a_failed_trial_says_why_and_is_tried_again(tmp_path: Path, train: TrainCommand) -> None:
    one = trial_in(tmp_path, seed=1)
    for _ in range(2):
        state = run_trial(one, train)
        assert (state.kind, state.error) == ("failed", "error: the disk is full")
        assert state_of(one) == state  # also for a report that is written later


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("raise RuntimeError('out of\\nmemory')", "memory"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("print('all is well')", "all is well"),  # a success without results is none
    ],
)
def test_a_crash_is_reported(tmp_path: Path, script: str, error: str) -> None:
    state = run_trial(trial_in(tmp_path), training(tmp_path, script))
    assert (state.kind, state.error) == ("failed", error)


def test_a_trial_of_another_config_is_not_taken_for_this_one(
    tmp_path: Path, train: TrainCommand
) -> None:
    one = trial_in(tmp_path)
    run_trial(one, train)
    other = replace(one, arm=replace(one.arm, config="another"))
    with pytest.raises(UserError, match=r"(?s)other settings.*delete"):
        state_of(other)
    # Where nothing was trained there is nothing to lose.
    failing = trial_in(tmp_path, seed=1)
    run_trial(failing, train)
    (failing.folder / "config.yaml").write_text("")
    mended = replace(failing, arm=replace(one.arm, config="another"))
    assert state_of(mended).kind == "failed"
    run_trial(mended, train)
    assert "--resume" not in (failing.folder / "arguments").read_text()


@pytest.mark.parametrize(
    ("record", "message"),
    [("{", r"(?s)damaged.*cell\.json"), ("[]", r"(?s)damaged.*cell\.json"), (None, "another run")],
)
def test_a_damaged_or_missing_record(
    tmp_path: Path, train: TrainCommand, record: str | None, message: str
) -> None:
    one = trial_in(tmp_path)
    run_trial(one, train)
    file = one.folder / "cell.json"
    if record is None:
        file.unlink()
    else:
        file.write_text(record)
    with pytest.raises(UserError, match=message):
        state_of(one)


class Updates:
    """Records the updates of trials."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, str]] = []
        self.states: dict[Trial, State] = {}
        self.refreshed = 0

    def __call__(self, one: Trial, state: State) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.events.append((one.arm.name, one.seed, state.kind))
        self.states[one] = state

    def refresh(self) -> None:
        self.refreshed += 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_several_at_a_time_each_in_a_slot(tmp_path: Path, train: TrainCommand, jobs: int) -> None:
    every = [trial_in(tmp_path, name, seed=seed) for seed in (0, 1, 2) for name in ("a", "b")]
    updates = Updates()
    environments = [{"SLOT": str(number)} for number in range(jobs)]
    run_here(every, train, environments, on_update=updates, refresh=updates.refresh)
    # A crash costs its own trials alone.
    kinds = {(one.arm.name, one.seed): state.kind for one, state in updates.states.items()}
    assert kinds == {(n, s): "failed" if s == 1 else "done" for n in ("a", "b") for s in (0, 1, 2)}
    assert updates.refreshed
    for one in every:
        assert updates.events.index((one.arm.name, one.seed, "training")) < updates.events.index(
            (one.arm.name, one.seed, kinds[one.arm.name, one.seed])
        )
    assert {(one.folder / "slot").read_text() for one in every} == set(map(str, range(jobs)))


def test_an_interrupt_ends_all_that_run_and_begins_no_other(
    tmp_path: Path, endless: TrainCommand
) -> None:
    every = [trial_in(tmp_path, name) for name in ("a", "b", "c")]
    updates = Updates()

    def interrupt() -> None:
        if all(map(output_of, every[:2])):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_here(every, endless, [{}, {}], on_update=updates, refresh=interrupt)
    assert all(ended(int(output_of(one))) for one in every[:2])
    assert not every[2].folder.exists()


def test_training_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("roilab.sweep.runner.available_cores", lambda: 6)
    assert training_slots(None) == [{}]
    assert training_slots(2) == 2 * [{"OMP_NUM_THREADS": "3"}]
    assert training_slots(9) == 9 * [{"OMP_NUM_THREADS": "1"}]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert training_slots(None) == [{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7"}]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in training_slots(3)] == ["4", "7", "4"]


def test_jobs_of_a_cluster(tmp_path: Path, train: TrainCommand) -> None:
    every = [trial_in(tmp_path, seed=seed) for seed in (0, 1, 2)]
    every[2].folder.mkdir(parents=True)
    (every[2].folder / "config.yaml").write_text("")
    updates, jobs = Updates(), tmp_path / "jobs"
    parameters = {"cluster": "local", "timeout_min": 5}
    run_on_cluster(every, train, jobs, parameters, on_update=updates, refresh=updates.refresh)
    assert [updates.states[one].kind for one in every] == ["done", "failed", "failed"]
    assert updates.states[every[1]].error == "error: the disk is full"
    assert "holds another run" in updates.states[every[2]].error
    assert updates.states[every[0]].results == {"bbox": {"AP": 1.0}}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes inherit that SIGINT is ignored, as a shell's & has it; jobs are cancelled by it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_jobs_are_cancelled(tmp_path: Path, endless: TrainCommand, interruptible: None) -> None:
    one = trial_in(tmp_path)

    def interrupt() -> None:
        if output_of(one):
            raise KeyboardInterrupt

    jobs, parameters = tmp_path / "jobs", {"cluster": "local"}
    with pytest.raises(KeyboardInterrupt):
        run_on_cluster([one], endless, jobs, parameters, on_update=Updates(), refresh=interrupt)
    wait_for(lambda: ended(int(output_of(one))), 30)
