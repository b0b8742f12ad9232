"""Worker processes of a loader: at most one a core, and how they react to signals and end."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import TracebackType

from detectron2.utils import comm

# Of Ctrl-C, a scheduler that ends a job, a closed terminal, and a scheduler's time limit.
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_LOOK_SECONDS = 0.5  # how often a worker checks that its main process runs; torch's checks every 5


def worker_count(requested: int) -> int:
    """The number of a loader's workers: as requested, but at most the cores of the process."""
    return min(requested, max(1, available_cores() // comm.get_local_size()))


def available_cores() -> int:
    """The number of processor cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


@contextmanager
def signals_blocked(numbers: Collection[int] = END_SIGNALS) -> Iterator[None]:
    """Within the block, signals that ask a process to end wait.

    A process that begins within it keeps them blocked until it unblocks them itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals(_: int = 0) -> None:
    """In a worker, ignore signals that ask it to end, unless its main process sends them.

    A worker that such a signal ends would lose batches that the main process still needs. The main
    process ends its workers by such a signal at its own end; when it ends without sending one, they
    notice, and end without a message.
    """
    os.setpgrp()
    sys.excepthook = _except_hook
    can_wait = hasattr(signal, "sigtimedwait")  # not on macOS, where SIGTERM still ends a worker
    numbers = [number for number in END_SIGNALS if can_wait or number != signal.SIGTERM]
    signal.pthread_sigmask(signal.SIG_SETMASK, numbers)
    parent = multiprocessing.parent_process()
    if can_wait and parent is not None:
        threading.Thread(target=_obey, args=(parent.pid,), daemon=True).start()


def _except_hook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback, except of a connection that breaks when the main process ends.

    The thread that hands tensors over meets that error, and the main process has named its cause.
    """
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _obey(parent: int | None) -> None:
    """End the worker once its main process sends a signal to it, or has ended."""
    begun_by = os.getppid()  # the parent, or the fork server, which ends when the parent does
    while os.getppid() == begun_by:
        received = signal.sigtimedwait(END_SIGNALS, _LOOK_SECONDS)
        if received is not None and received.si_pid == parent:
            break
    os._exit(0)
