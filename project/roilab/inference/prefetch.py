"""Threads beside the main one: items prefetched for it, and results written in the background.

Queues are short, so that no more is held in memory than keeps both sides busy. An exception of a
thread is raised in the main thread, and no thread outlives its block, except one that is abandoned:
work that cannot be interrupted, such as a model's, after a signal has asked for an end.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
THREAD = "prefetch"  # the name of each
_WAIT = 0.05  # seconds between two looks whether a thread has ended
_END = object()  # follows the last item of a queue


class Abandoned(Exception):
    """A thread was abandoned before its work was done; it goes on until the process ends."""


def is_any_running() -> bool:
    """Whether a thread of this module is still at work."""
    return any(thread.name == THREAD for thread in threading.enumerate())


class LargeItemGate:
    """A gate that large items pass alone: their producer waits until all others are done with.

    The producer calls `enter`, the consumer `leave`. After `close`, nobody waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._large = self._closed = False

    def enter(self, large: bool) -> None:
        """Wait until an item may be produced."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._inside or not (large or self._large)
            )
            self._inside += 1
            self._large = large

    def leave(self) -> None:
        """Note that an item is done with, or could not be produced."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Open the gate for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@contextlib.contextmanager
def prefetch(
    items: Generator[T, None, None], size: int, abandon: Callable[[], bool] = lambda: False
) -> Iterator[Iterator[T]]:
    """The items, up to `size` of them produced by a thread before they are asked for.

    They are closed in that thread when the block ends. When `abandon` says that it is abandoned,
    there are no more items.
    """
    ready: queue.Queue[Any] = queue.Queue(size)
    stop = threading.Event()
    failures: list[BaseException] = []

    def put(item: object) -> None:
        """Wait for a place in the queue, until nobody takes its items any more."""
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=_WAIT)
                return

    def work() -> None:
        try:
            with contextlib.closing(items):
                for item in items:
                    put(item)
                    if stop.is_set():
                        break
        except BaseException as error:  # raised again in the main thread
            failures.append(error)
        put(_END)

    def arriving() -> Iterator[T]:
        while not abandon():
            with contextlib.suppress(queue.Empty):
                item = ready.get(timeout=_WAIT)
                if item is not _END:
                    yield item
                elif failures:
                    raise failures[0]
                else:
                    return

    thread = threading.Thread(target=work, name=THREAD, daemon=True)
    thread.start()
    try:
        yield arriving()
    finally:
        stop.set()
        while thread.is_alive() and not abandon():
            thread.join(_WAIT)


def result_of(work: Callable[[], T], abandon: Callable[[], bool]) -> T:
    """The result of work that runs in a thread, so that signals are handled meanwhile.

    Raises Abandoned when `abandon` says that the thread is abandoned.
    """
    with prefetch((work() for _ in range(1)), 1, abandon) as results:
        for result in results:
            return result
    raise Abandoned


@contextlib.contextmanager
def in_background(
    work: Callable[[T], object], size: int, abandon: Callable[[], bool] = lambda: False
) -> Iterator[Callable[[T], None]]:
    """A function that queues up to `size` items for `work` in a thread, and waits for a place.

    An exception of `work` is raised by the next call, or at the end of the block, and no later item
    is worked on. At the end of the block all items are done; when the block raises, the queued ones
    are dropped. Raises Abandoned when `abandon` says that the thread is abandoned at work.
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pending = 0
    has_failed = False

    def outcomes() -> Generator[object, None, None]:
        nonlocal has_failed
        for item in iter(waiting.get, _END):
            try:
                outcome = work(item)
            except BaseException:
                has_failed = True
                raise
            yield outcome

    def call(item: T) -> None:
        nonlocal pending
        while has_failed or pending > size:  # one of them is worked on
            wait()
        pending += 1
        waiting.put(item)

    def wait() -> None:
        """Wait until the oldest of the pending items is done."""
        nonlocal pending
        if next(done, _END) is _END:
            raise Abandoned
        pending -= 1

    with prefetch(outcomes(), size + 1, abandon) as done:
        try:
            yield call
            while pending:
                wait()
        finally:
            waiting.put(_END)
