"""Processes that load images: how many, and what signals mean to them."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import TracebackType

from detectron2.utils import comm

# Ctrl-C, a scheduler's end, a closed terminal, and what a scheduler sends before its time limit.
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_LOOK_SECONDS = 0.5  # between two looks of a worker for its main process; torch's are 5 apart


def worker_count(requested: int) -> int:
    """The workers of a loader: as many as requested, but no more than the process has cores."""
    return min(requested, max(1, available_cores() // comm.get_local_size()))


def available_cores() -> int:
    """The number of processor cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


@contextmanager
def signals_blocked(numbers: Collection[int] = END_SIGNALS) -> Iterator[None]:
    """Hold signals that ask for an end back until the block is over.

    A process that begins within it keeps them blocked until it unblocks them itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals(_: int = 0) -> None:
    """In a worker, ignore the signals that ask for an end, unless the main process sends them.

    A worker that ended by one would take batches with it that the main process still needs. The
    main process ends its workers by such a signal, as the last thing that it does. When it is gone
    without that, they end by themselves, without a message.
    """
    os.setpgrp()
    sys.excepthook = _except_hook
    known = hasattr(signal, "sigtimedwait")  # not on macOS, where SIGTERM still ends a worker
    numbers = [number for number in END_SIGNALS if known or number != signal.SIGTERM]
    signal.pthread_sigmask(signal.SIG_SETMASK, numbers)
    parent = multiprocessing.parent_process()
    if known and parent is not None:
        threading.Thread(target=_obey, args=(parent.pid,), daemon=True).start()


def _except_hook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a thread, except for a connection to the main process that is cut.

    So ends the thread that hands tensors over when the main process ends, which has said why.
    """
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _obey(parent: int | None) -> None:
    begun_by = os.getppid()  # the parent, or the fork server, which ends when the parent does
    while os.getppid() == begun_by:
        received = signal.sigtimedwait(END_SIGNALS, _LOOK_SECONDS)
        if received is not None and received.si_pid == parent:
            break
    os._exit(0)
