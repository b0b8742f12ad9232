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
    """A signal ended the work.

    Args:
        text: the message; by default the name of the signal.
    """

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(text or f"ended by {signal_name(number)}")
        self.number = number

    @property
    def status(self) -> int:
        """The exit status of a process that the signal ends, as in a shell."""
        return 128 + self.number


class Stop:
    """Whether the user, or the scheduler of a cluster, asked the work to end.

    A second SIGINT, more than a second later, ends the process at once. Other signals do not, since
    schedulers repeat them: SLURM when it preempts a job, and when its grace time ends.

    Args:
        outcome: what the first signal leads to, for the terminal.

    Attributes:
        number: of the first signal that came; 0: none.
    """

    def __init__(self, outcome: str) -> None:
        self.outcome = outcome
        self.number = 0
        self._since = 0.0
        self._at_once = False

    @property
    def requested(self) -> bool:
        return self.number != 0

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block, a signal raises Interrupted where the work is, also one from before."""
        self._at_once = True
        try:
            if self.number:
                raise Interrupted(self.number)
            yield
        finally:
            self._at_once = False

    def is_overdue(self, seconds: float) -> bool:
        """Whether the first signal came more than these seconds ago."""
        return self.requested and time.monotonic() - self._since > seconds

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal."""
        if self.is_repeated(number):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.number:
            self.number, self._since = number, time.monotonic()
            again = "; again: at once" if number == signal.SIGINT else ""
            # Logs and streams of Python may be in the middle of a line when a signal comes.
            with contextlib.suppress(OSError):
                os.write(2, f"\n{signal_name(number)}: {self.outcome}{again}\n".encode())
            if self._at_once:
                raise Interrupted(number)

    def is_repeated(self, number: int) -> bool:
        """Whether a signal is the second SIGINT of the user."""
        return number == self.number == signal.SIGINT and self.is_overdue(_REPEATED)


def _handled_signals() -> list[signal.Signals]:
    """The signals that ask for an end and are not ignored, as SIGHUP is behind `nohup`.

    SIGINT always counts: shells ignore it for all that they run in the background, and who sends it
    to such a process means it.
    """
    ignored = [n for n in END_SIGNALS if signal.getsignal(n) is signal.SIG_IGN]
    return [n for n in END_SIGNALS if n == signal.SIGINT or n not in ignored]


@contextmanager
def on_signals(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Within the block, the handler handles the signals that ask for an end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = {number: signal.signal(number, handler) for number in _handled_signals()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def stop_on_signals(
    outcome: str = "the training will be saved and ends after this step",
) -> Iterator[Stop]:
    """Within the block, signals set `stop.requested`; a second SIGINT ends the process at once."""
    stop = Stop(outcome)
    with on_signals(stop.handle):
        yield stop


def end_on_signals() -> None:
    """Let signals end this process at once, also where it was started in `signals_blocked`."""
    for number in _handled_signals():
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
