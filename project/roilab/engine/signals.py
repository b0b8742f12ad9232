"""Ctrl-C and the signals of schedulers: work ends between two of its steps, not within one."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from roilab.data.workers import END_SIGNALS

# A signal to all processes comes a second time from those that pass it on; a user takes longer.
_REPEATED = 1.0  # seconds


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGTERM."""
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


class Interrupted(KeyboardInterrupt):
    """A signal has ended the work.

    Args:
        number: of the signal.
        text: what became of the work.
    """

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(text or f"ended by {signal.Signals(number).name}")
        self.number = number

    @property
    def status(self) -> int:
        """The exit status of a process that the signal ends, as shells have it."""
        return 128 + self.number


class Stop:
    """Whether the user, or the scheduler of a cluster, wants the work to end.

    Ctrl-C again, more than a second later, ends the process at once. Other signals do not, since
    schedulers send them again themselves: SLURM when a job is preempted, and when its grace ends.

    Args:
        then: what will happen, for the terminal.

    Attributes:
        number: of the first signal that came; 0: none has.
    """

    def __init__(self, then: str) -> None:
        self.then = then
        self.number = 0
        self._since = 0.0
        self._at_once = False

    @property
    def wanted(self) -> bool:
        return self.number != 0

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it, a signal ends the work where it is: there is nothing to be finished.

        Raises:
            Interrupted: a signal came, before or within.
        """
        self._at_once = True
        try:
            if self.number:
                raise Interrupted(self.number)
            yield
        finally:
            self._at_once = False

    def is_overdue(self, seconds: float) -> bool:
        """Whether the first signal came longer ago than this."""
        return self.wanted and time.monotonic() - self._since > seconds

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal."""
        if self.is_again(number):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.number:
            self.number, self._since = number, time.monotonic()
            _say(number, self.then + ("; again: at once" if number == signal.SIGINT else ""))
            if self._at_once:
                raise Interrupted(number)

    def is_again(self, number: int) -> bool:
        """Whether it is the user's Ctrl-C, for the second time."""
        return number == self.number == signal.SIGINT and time.monotonic() - self._since > _REPEATED


def _say(number: int, then: str) -> None:
    # A log, or a stream of Python's, may be within a line of its own when a signal comes.
    with contextlib.suppress(OSError):
        os.write(2, f"\n{signal.Signals(number).name}: {then}\n".encode())


@contextmanager
def on_signals(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle the signals that ask for an end in a block.

    Those that are ignored stay so, as SIGHUP behind `nohup`. SIGINT does not: shells ignore it for
    all that they run in the background, and who sends it to such a process means it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = {
        number: signal.signal(number, handler)
        for number in END_SIGNALS
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def stop_on_signals(
    then: str = "the training will be saved and ends after this step",
) -> Iterator[Stop]:
    """Turn signals that ask for an end into a wish for a block; see `Stop`."""
    stop = Stop(then)
    with on_signals(stop.ask):
        yield stop


def end_on_signals() -> None:
    """Let signals end this process at once, which may have been begun within `signals_blocked`."""
    for number in END_SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
