"""Begins trainings as forks of one process that has imported everything: each costs its work alone.

A script: a line of JSON in, `[number of processes, arguments of roilab train, file of output]`;
a line of JSON out, the ids of the processes. Another line out tells when they have ended, with
their exit statuses. Each training is a session of its own, and one of several processes finds the
others as torchrun has it; as there, when one fails, the others are ended if they do not end.
"""

import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from pathlib import Path

from roilab.cli.console import set_up

GRACE = 60.0  # seconds
SCRIPTS = Path(__file__).parents[2] / "scripts"


def begin(rank: int, processes: int, port: int, arguments: list[str], output: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if processes > 1:
        os.environ |= dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
        os.environ |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(processes))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    path = SCRIPTS / "train.py"
    sys.argv = [str(path), *arguments]
    sys.orig_argv = [sys.executable, *sys.argv]
    runpy.run_path(str(path), run_name="__main__")
    raise AssertionError("it ends by sys.exit")


def wait_for(pids: list[int]) -> list[int]:
    """The exit statuses of processes."""
    states: dict[int, int] = {}
    failed = None
    while len(states) < len(pids):
        for pid in set(pids) - set(states):
            done, state = os.waitpid(pid, os.WNOHANG)
            if done:
                states[pid] = os.waitstatus_to_exitcode(state)
                if states[pid] and failed is None:
                    failed = time.monotonic()
            elif failed is not None and time.monotonic() - failed > GRACE:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return [states[pid] for pid in pids]


def main() -> None:
    set_up()
    importlib.import_module("roilab.cli.train")
    for line in iter(sys.stdin.readline, ""):
        processes, arguments, output = json.loads(line)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        pids = [begin(rank, processes, port, arguments, output) for rank in range(processes)]
        sys.stdout.write(json.dumps(pids) + "\n")
        sys.stdout.flush()
        sys.stdout.write(json.dumps(wait_for(pids)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
