"""Ctrl-C and a scheduler's SIGTERM: work ends between two of its steps, not within one."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


class Stop:
    """Whether the user, or the scheduler of a cluster, wants the work to end.

    Args:
        then: what they are told will happen.
    """

    def __init__(self, then: str) -> None:
        self.then = then
        self.wanted = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice: at once
        self.wanted = True
        log.warning("%s: %s", signal.Signals(number).name, self.then)


@contextmanager
def stop_on_signals(
    then: str = "the training will be saved and ends after this step",
) -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a wish for a block; a second SIGINT interrupts at once."""
    stop = Stop(then)
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop._ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
