"""A training that is killed at any moment, and resumed, is one that was not, to the last bit.

`make fuzz` kills a hundred times: at random moments, while files are written, while it evaluates
and while it starts; one process and two, with workers, an average of the weights and accumulated
batches; the main process, a loader's worker, one of two, or all.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .running import command, descendants, lines, send
from .test_resume import EVERYTHING, assert_as_whole

KILLS = int(os.environ.get("ROILAB_FUZZ_KILLS", "1"))
PROCESSES = (1, 2) if "ROILAB_FUZZ_KILLS" in os.environ else (1,)
SEED = int(os.environ.get("ROILAB_FUZZ_SEED", "0"))
MOMENTS = ("any", "write", "evaluation", "start")
VICTIMS = ("all", "main", "last", "asked")  # the last asks all to end, as a scheduler does
# What it may be ended by without being killed: a signal, or a process that is gone.
ENDS = {0, 2, 130, 143, -signal.SIGKILL, -signal.SIGTERM}


class Nursery:
    """The process that begins trainings."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def _read(self) -> list[int]:
        assert self.process.stdout is not None
        answer: list[int] = json.loads(self.process.stdout.readline())
        return answer

    def begin(self, processes: int, arguments: list[str], output: Path) -> list[int]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([processes, arguments, str(output)]) + "\n")
        self.process.stdin.flush()
        return self._read()

    wait = _read


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    program = [sys.executable, Path(__file__).with_name("nursery.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes) as process:
        yield Nursery(process)
        process.kill()


def arguments(data: Path, run: Path, workers: int, *more: str) -> list[str]:
    workers_too = (f"dataloader.{loader}.num_workers={workers}" for loader in ("train", "test"))
    return command(data, run, *EVERYTHING, *workers_too, *more)[2:]


@contextmanager
def all_ended(pids: list[int]) -> Iterator[None]:
    """Whatever happens in the block, the processes are gone after it."""
    try:
        yield
    finally:
        send([process for pid in pids for process in descendants(pid)], signal.SIGKILL)


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def await_moment(moment: str, chance: random.Random, run: Path, seconds: float, pid: int) -> None:
    """Return at a random moment of a kind, or at its end; a whole training takes `seconds`."""
    seen = len(lines(run))
    wait = chance.random() * seconds / {"any": 1, "start": 4, "evaluation": 8, "write": 100}[moment]
    writes, parts = chance.randrange(8), set[str]()
    # What follows the fifth and the tenth step is an evaluation, and the end is one.
    steps = next(count for count in (4, 9, 11) if seen <= count or count == 11)
    while is_running(pid):
        if moment == "write":
            now = {file.name for file in run.glob(".*.part")} if run.is_dir() else set()
            writes -= len(now - parts)
            parts = now
        if (moment != "write" or writes < 0) and (
            moment != "evaluation" or len(lines(run)) >= steps
        ):
            break
        time.sleep(0.002)
    end = time.monotonic() + wait
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.002)


def kill(nursery: Nursery, pids: list[int], victim: str, chance: random.Random) -> None:
    """End the processes of a training one way or another."""
    everyone = [process for pid in pids for process in descendants(pid)]
    if victim == "asked":
        send(everyone, chance.choice((signal.SIGTERM, signal.SIGINT)))
    elif victim == "all":
        send(everyone, signal.SIGKILL)
    else:
        send(everyone[:1] if victim == "main" else everyone[-1:], signal.SIGKILL)


def read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


@pytest.fixture(scope="module")
def whole(
    nursery: Nursery, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, tuple[Path, float]]:
    """Runs that nothing interrupts, and their seconds, by the number of processes."""
    runs = {}
    for processes in PROCESSES:
        run, start = tmp_path_factory.mktemp(f"whole{processes}") / "run", time.monotonic()
        out = run.with_name("out")
        nursery.begin(processes, arguments(data, run, 0), out)
        assert nursery.wait() == [0] * processes, read(out)
        runs[processes] = run, time.monotonic() - start
    return runs


def test_killed_at_any_moment(nursery: Nursery, data: Path, whole, tmp_path) -> None:
    chance, counted, number, kills = random.Random(SEED), Counter[str](), 0, 0
    while kills < KILLS:
        processes, workers = chance.choice(PROCESSES), chance.choice((0, 1, 2))
        run, out = tmp_path / str(number) / "run", tmp_path / f"{number}.txt"
        number += 1
        seconds = whole[processes][1]
        history = []
        for _ in range(chance.randrange(2, 5)):
            resume = ["--resume"] if (run / "config.yaml").exists() else []
            pids = nursery.begin(processes, arguments(data, run, workers, *resume), out)
            with all_ended(pids):
                moment, victim = chance.choice(MOMENTS), chance.choice(VICTIMS)
                await_moment(moment, chance, run, seconds, pids[0])
                kill(nursery, pids, victim, chance)
                history.append((processes, workers, moment, victim))
                states = nursery.wait()
            assert set(states) <= ENDS, (history, states, read(out))
            kills += 1
            counted[moment] += 1
            counted[victim] += 1
            counted[f"{processes} processes, {workers} workers"] += 1
            counted["ended before it was killed"] += states == [0] * processes
        resume = ["--resume"] if (run / "config.yaml").exists() else []
        nursery.begin(processes, arguments(data, run, 0, *resume), out)
        said = read(out)
        assert nursery.wait() == [0] * processes, (history, read(out))
        assert "Traceback" not in said, (history, said)
        assert_as_whole(run, whole[processes][0])
        assert not list(run.glob(".*")), history
        shutil.rmtree(run.parent)
    counts = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
    sys.stdout.write(f"\n{kills} kills of {number} trainings, seed {SEED}: {counts}\n")
