"""Several processes train what one would, evaluate each image once, and leave one run folder."""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from roilab.cli.console import print_error
from roilab.engine import distributed
from roilab.engine.run_record import read_record
from roilab.engine.signals import Interrupted, end_on_signals, stop_on_signals
from roilab.errors import UserError

from .running import checkpoint, command, lines, output, process, trained
from .test_train import EVEN, assert_close

MORE = (*EVEN, "dataloader.train.total_batch_size=4", "train.checkpoint_period=1")
cut_off = partial(os._exit, distributed._CUT_OFF)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("alone") / "run"
    trained(data, run, *MORE)
    return run


def assert_as_alone(run: Path, alone: Path, begun: Path) -> None:
    assert_close(checkpoint(run)["model"], checkpoint(alone)["model"], checkpoint(begun)["model"])
    assert checkpoint(run)["iteration"] == 2
    ours, theirs = lines(run), lines(alone)
    assert [line["iteration"] for line in ours] == [0, 1, 2]
    for a, b in zip(ours, theirs, strict=True):
        assert a["total_loss"] == pytest.approx(b["total_loss"], rel=1e-3)
    # A mean over images: with one of them twice, or left out, it would be another.
    assert ours[-1]["val_total_loss"] == pytest.approx(theirs[-1]["val_total_loss"], rel=1e-3)
    results = [json.loads((folder / "results.json").read_text()) for folder in (run, alone)]
    assert results[0].keys() == results[1].keys()
    assert results[0]["bbox"]["AP"] == pytest.approx(results[1]["bbox"]["AP"], abs=1)
    assert len(list(run.glob("events.out.tfevents*"))) == 1
    assert len(list(run.glob("model_final.pth"))) == 1


def test_two_processes(data: Path, alone: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    trained(data, begun, *MORE, "optimizer.lr=1e-30")
    run = tmp_path / "run"
    typed = command(data, run, *MORE, "--num-gpus=2")
    out, _ = output(process(typed))
    assert out.count("run folder:") == 1
    assert_as_alone(run, alone, begun)
    assert read_record(run)["starts"][-1]["command"] == typed
    # Resumed by two, it goes on; by one as well.
    output(process(command(data, run, *MORE, "--num-gpus=2", "--resume", "train.max_iter=4")))
    assert [line["iteration"] for line in lines(run)] == [0, 1, 2, 3]

    launched = tmp_path / "torchrun"
    words = command(data, launched, *MORE)[1:]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    out, _ = output(process([*torchrun, "--nproc-per-node=2", *words]))
    assert out.count("run folder:") == 1
    assert_as_alone(launched, alone, begun)


def test_a_process_ends_without_the_end_of_the_interpreter() -> None:
    """A thread of gloo that needs the interpreter while it ends aborts the process."""
    code = """
import atexit, os, sys
from torch import distributed as torch_distributed
from roilab.engine import distributed
from roilab.engine.run_record import read_record

def work(status):
    atexit.register(os.abort)
    print("said")
    if status:
        sys.stderr.write("and why")
        raise KeyboardInterrupt


os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
os.environ["MASTER_PORT"] = "0"
distributed.launch(work, int(sys.argv[1]), print, num_gpus=1)
"""
    for status, said in ((0, ("said\n", "")), (130, ("said\n", "and why"))):
        begun = process([sys.executable, "-W", "ignore", "-c", code, str(status)])
        assert begun.communicate() == said
        assert begun.returncode == status


def test_a_mistake_is_said_once(data: Path, tmp_path: Path) -> None:
    odd = "dataloader.train.total_batch_size=3"
    _, err = output(process(command(data, tmp_path / "run", "--num-gpus=2", odd)), 2)
    assert err.count("error: ") == 1
    assert "a multiple of 2" in err


def forks(*targets: Callable[[], object]) -> list[BaseProcess]:
    """Processes that take no time to begin; they do not handle signals as the one here does."""

    def run(target: Callable[[], object]) -> None:
        end_on_signals()
        target()

    context = multiprocessing.get_context("fork")
    return [context.Process(target=run, args=(target,)) for target in targets]


def wait() -> None:
    time.sleep(60)


def end_by(number: int) -> Callable[[], None]:
    def end() -> None:
        os.kill(os.getpid(), number)

    return end


def end_after(number: int, file: Path, *, ready: Path | None = None) -> Callable[[], None]:
    """Take time for a checkpoint when a signal comes, and end with the status of a training."""

    def end() -> None:
        with stop_on_signals() as stop:
            if ready is not None:
                ready.touch()
            while not stop.requested:
                time.sleep(0.01)
            time.sleep(0.1)
            file.touch()
            os._exit(128 + number)

    return end


class NoRoom(multiprocessing.Process):
    def start(self) -> None:
        raise OSError("no room")


def test_all_end_well() -> None:
    ranks = forks(int, int)
    distributed._run_all(ranks, str)
    assert [rank.exitcode for rank in ranks] == [0, 0]


@pytest.mark.parametrize("other", [wait, cut_off])
def test_a_lost_process_is_one_message(other: Callable[[], object]) -> None:
    with pytest.raises(UserError, match="ended by SIGKILL") as error:
        distributed._run_all(forks(other, end_by(signal.SIGKILL)), lambda: "all is saved")
    assert "process 1 of 2" in str(error.value)
    assert "all is saved" in str(error.value)


def test_where_one_cannot_begin_none_is_left() -> None:
    first, second = multiprocessing.Process(target=time.sleep, args=(60,)), NoRoom()
    with pytest.raises(OSError, match="no room"):
        distributed._run_all([first, second], str)
    first.join(30)
    assert first.exitcode == -signal.SIGKILL


def test_who_has_lost_another_may_not_know_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as ended:  # which has said what its mistake is
        distributed._run_all(forks(cut_off, partial(os._exit, 2)), str)
    assert ended.value.code == 2
    monkeypatch.setattr(distributed, "_GRACE", 0.0)
    with pytest.raises(UserError, match=distributed.LOST_PEER):  # on another machine
        distributed._run_all(forks(cut_off, wait), str)


def test_processes_that_do_not_meet(capfd: pytest.CaptureFixture[str]) -> None:
    """As where a machine does not come, or an address is none."""
    group = {"rank": 0, "world_size": 2, "timeout": timedelta(seconds=1)}
    for url in ("none://", "tcp://127.0.0.1:0"):
        join = partial(distributed._join_group, 0, 1, init_method=url, **group)
        work = partial(distributed._run_process, join, print, "work", print_error)
        with pytest.raises(SystemExit) as ended:
            distributed._run_all(forks(work), str)
        said = capfd.readouterr()
        assert ended.value.code == 2
        assert said.err.count("error: the processes of the training do not meet") == 1
        assert "--dist-url" in said.err
        assert "Traceback" not in said.err
        assert "work" not in said.out


def test_a_mistake_that_is_said_is_not_said_again() -> None:
    """The others may be waiting for the first process to say it."""
    started = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        distributed._run_all(forks(partial(os._exit, 2), wait), str)
    assert ended.value.code == 2
    assert time.monotonic() - started < 50


def test_a_signal_to_one_is_for_all(tmp_path: Path) -> None:
    """Those that have to save something are waited for."""
    ranks = forks(end_after(15, tmp_path / "saved"), end_by(signal.SIGTERM))
    with pytest.raises(Interrupted, match="SIGTERM"):
        distributed._run_all(ranks, str)
    assert (tmp_path / "saved").exists()


def test_a_signal_is_passed_on(tmp_path: Path) -> None:
    ready = tmp_path / "ready"

    def ask() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getppid(), signal.SIGUSR1)

    ranks = forks(end_after(10, tmp_path / "saved", ready=ready), ask)
    with pytest.raises(Interrupted) as ended:
        distributed._run_all(ranks, str)
    assert ended.value.status == 138
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("num_gpus", "num_machines", "machine_rank", "dist_url", "named"),
    [
        (0, 1, 0, "auto", "num_gpus"),
        (1, 0, 0, "auto", "num_machines"),
        (1, 2, 2, "tcp://h:1", "machine_rank"),
        (1, 2, 0, "auto", "tcp://HOST:PORT"),
    ],
)
def test_numbers_that_make_no_sense(num_gpus, num_machines, machine_rank, dist_url, named) -> None:
    group = {"num_machines": num_machines, "machine_rank": machine_rank, "dist_url": dist_url}
    with pytest.raises(UserError, match=named):
        distributed.launch(print, None, print, num_gpus=num_gpus, **group)


def test_gpus_that_are_not_visible_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="4 GPUs were requested and 2 are visible"):
        distributed.launch(print, None, print, num_gpus=4)
