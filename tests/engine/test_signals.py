"""Signals end a training between two steps, saved; what a machine does to it is one message."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from roilab.data.workers import END_SIGNALS, leave_signals, signals_blocked
from roilab.engine import config, signals
from roilab.engine import train as training
from roilab.engine.checkpoint import read_checkpoint
from roilab.engine.signals import Interrupted, Stop, stop_on_signals
from roilab.engine.train import Trainer, TrainingLoop
from roilab.errors import UserError, machine_failure

from .running import checkpoint, command, process, same, trained

SHORT = ("train.max_iter=4", "train.checkpoint_period=2", "train.eval_period=3", "train.ema=0.9")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trained(data, tmp_path_factory.mktemp("whole") / "run", *SHORT)


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    """The tests may themselves run where signals are ignored, behind nohup or a shell's &."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in END_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def during_step(monkeypatch: pytest.MonkeyPatch, iteration: int, act: Callable[[], None]) -> None:
    """Do something in the middle of a step."""
    step = Trainer.step

    def stepped(self: Trainer, number: int, batches: Any) -> dict[str, float]:
        if number == iteration:
            act()
        return step(self, number, batches)

    monkeypatch.setattr(Trainer, "step", stepped)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_step_is_finished_and_saved(number, data, whole, run, monkeypatch, capfd) -> None:
    with monkeypatch.context() as patched:
        during_step(patched, 1, lambda: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted) as ended:
            trained(data, run, *SHORT)
    assert ended.value.status == 128 + number
    said = capfd.readouterr()
    assert f"{number.name}: the training will be saved" in said.err
    assert "saved after iteration 1; go on with" in said.out + said.err
    assert not list(run.glob(".*"))
    assert checkpoint(run, "model_0000001.pth")["iteration"] == 1
    if number == signal.SIGTERM:
        assert same(trained(data, run, *SHORT, resume=True), whole)


def test_an_evaluation_is_not_waited_for(data: Path, whole, tmp_path, monkeypatch) -> None:
    """Not even while the averaged weights are in the place of the model's."""
    run, calls = tmp_path / "run", []
    validate = training.validate

    def asked(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)
            raise AssertionError("it goes on")
        return validate(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(training, "validate", asked)
        with pytest.raises(Interrupted):
            trained(data, run, *SHORT)
    assert checkpoint(run, "model_0000002.pth")["iteration"] == 2
    assert same(trained(data, run, *SHORT, resume=True), whole)


def test_nothing_is_saved_before_the_first_step(data: Path, run: Path, monkeypatch, capfd) -> None:
    forward = TrainingLoop.run_to_end

    def asked(self: TrainingLoop) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return forward(self)

    monkeypatch.setattr(TrainingLoop, "run_to_end", asked)
    with pytest.raises(Interrupted):
        trained(data, run, *SHORT)
    assert "nothing to save yet" in "".join(capfd.readouterr())
    assert not list(run.glob("*.pth"))


def test_again_is_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not what a scheduler sends again, what each process passes on, or another signal."""
    ended = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.append(number))
    stop = Stop("it ends")
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        stop.handle(number)
    assert stop.number == signal.SIGINT
    monkeypatch.setattr(signals, "_REPEATED", -1.0)
    stop.handle(signal.SIGTERM)
    assert not ended
    stop.handle(signal.SIGINT)
    assert ended == [signal.SIGINT]
    scheduled = Stop("it ends")
    scheduled.handle(signal.SIGTERM)
    scheduled.handle(signal.SIGTERM)
    assert ended == [signal.SIGINT]


def test_what_is_ignored_stays_so() -> None:
    """nohup ignores SIGHUP. Who sends SIGINT to what a shell has in its background means it."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_workers_leave_signals_to_the_main_process() -> None:
    with signals_blocked():
        batches = iter(DataLoader(range(100), num_workers=2, worker_init_fn=leave_signals))
    before = set(multiprocessing.active_children())
    next(batches)
    for worker in before:
        for number in END_SIGNALS:
            assert worker.pid is not None
            # Not from its parent, whose SIGTERM is obeyed.
            subprocess.run(["/bin/sh", "-c", f"kill -{number.value} {worker.pid}"], check=True)
    assert torch.cat(list(batches)).tolist() == list(range(1, 100))
    assert all(worker.exitcode == 0 for worker in before)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_end_by_their_parent(method: str) -> None:
    resource_tracker.ensure_running()  # Python before 3.13 lets signals through when it begins
    options = {"worker_init_fn": leave_signals, "multiprocessing_context": method}
    loader: Any = DataLoader(range(100), num_workers=1, **options)
    with signals_blocked():
        batches = iter(loader)
    next(batches)
    (worker,) = multiprocessing.active_children()
    worker.terminate()
    worker.join(60)
    assert worker.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch alone looks for the parent")
def test_workers_end_when_their_main_process_is_gone(tmp_path: Path) -> None:
    """Without torch's own look, which comes seconds later."""
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, os, signal\n"
        "from torch.utils.data import DataLoader\n"
        "import torch.utils.data._utils.worker as worker\n"
        "from roilab.data.workers import leave_signals\n"
        "worker.MP_STATUS_CHECK_INTERVAL = 1e6\n"
        "batches = iter(DataLoader(range(9), num_workers=1, worker_init_fn=leave_signals))\n"
        "next(batches)\n"
        "print(multiprocessing.active_children()[0].pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    output = subprocess.run(
        [sys.executable, program], capture_output=True, timeout=60, check=False
    ).stdout
    assert int(output) > 0  # the worker holds the other end of the pipe as long as it is there


def test_a_lost_worker(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill() -> None:
        multiprocessing.active_children()[0].kill()

    during_step(monkeypatch, 2, kill)
    with pytest.raises(UserError, match="process that loads images is gone") as error:
        trained(data, tmp_path, *SHORT, "dataloader.train.num_workers=1")
    assert f"resume=true, from {tmp_path / 'model_0000001.pth'}" in str(error.value)


def test_too_little_memory(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MemoryError

    during_step(monkeypatch, 0, fail)
    with pytest.raises(UserError, match="too little memory") as error:
        trained(data, tmp_path / "run", *SHORT)
    assert "nothing was saved yet: start again" in str(error.value)


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        MemoryError("Caught MemoryError in DataLoader worker process 0.\nOriginal Traceback"),
    ],
)
def test_words_for_too_little_memory(failure: Exception) -> None:
    assert "there is too little memory" in str(machine_failure(failure, "it is saved"))
    assert "; it is saved" in str(machine_failure(failure, "it is saved"))


def test_what_fails_in_the_words_of_another() -> None:
    """torch's writer of files says of whatever cuts it that it is at an unexpected place."""
    error = RuntimeError("unexpected pos 64 vs 32")
    assert machine_failure(error) is None
    error.__context__ = RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed. ")
    assert "worker (pid 17) is killed by signal: Killed" in str(machine_failure(error))


def test_a_lost_worker_is_no_fault_of_what_is_done_just_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch says it from a signal, whatever the main process does just then."""

    def lost(*_: object, **__: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    file, node = tmp_path / "weights.pth", OmegaConf.create({"_target_": "builtins.dict"})
    torch.save({"weights": torch.zeros(3)}, file)
    work = {
        "config.instantiate": lambda: config.build(node, "model"),
        "checkpoint.torch.load": lambda: read_checkpoint(file),
        "checkpoint.zipfile.ZipFile": lambda: read_checkpoint(file),
    }
    for place, do in work.items():
        with monkeypatch.context() as patch:
            patch.setattr(f"roilab.engine.{place}", lost)
            with pytest.raises(RuntimeError, match="pid 7"):
                do()


def test_no_room_for_the_libraries(data: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))

    begun = process(command(data, tmp_path), preexec_fn=limit)
    _, err = begun.communicate()
    assert begun.returncode != 0
    assert err.startswith("error: there is too little memory\n")
    assert "Traceback" not in err


def test_a_handler_is_put_back() -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        raise AssertionError

    signal.signal(signal.SIGUSR1, handler)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.requested
    assert signal.getsignal(signal.SIGUSR1) is handler
