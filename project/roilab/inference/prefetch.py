"""Work beside the main thread: items made ahead of it, and results put away behind it.

Queues are short, so that no more is held in memory than keeps both sides busy. What a thread raises
is raised in the main thread, and no thread outlives its block, however that ends, but one that is
left: work that cannot be interrupted, such as a model's, when a signal has asked for an end.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_NAMES = ("ahead", "behind")  # of the threads
_WAIT = 0.05  # seconds between two looks whether a thread has ended


def never() -> bool:
    """No thread is left."""
    return False


class Left(Exception):
    """A thread was left before its work was done; it goes on until the process ends."""


def is_any_left() -> bool:
    """Whether a thread of this module still works."""
    return any(thread.name in _NAMES for thread in threading.enumerate())


class OneAtATime:
    """Large items go by themselves: the maker of items waits until all others are put away.

    `enter` is for the maker, `leave` for who puts away. When it is closed, nobody waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._large = self._closed = False

    def enter(self, large: bool) -> None:
        """Wait until an item may be made."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._inside or not (large or self._large)
            )
            self._inside += 1
            self._large = large

    def leave(self) -> None:
        """An item is put away, or could not be made."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _End:
    """The end of the items, with the exception that ended them, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextlib.contextmanager
def prefetch(
    items: Generator[T, None, None], size: int, leave: Callable[[], bool] = never
) -> Iterator[Iterator[T]]:
    """The items, of which a thread makes up to `size` before they are asked for.

    Args:
        items: run in that thread, and closed there when the block ends.
        leave: whether the thread is to be left; there are no more items then.
    """
    made: queue.Queue[Any] = queue.Queue(size)
    stop = threading.Event()

    def put(item: Any) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                made.put(item, timeout=_WAIT)
                return

    def work() -> None:
        end = _End()
        try:
            with contextlib.closing(items):
                for item in items:
                    put(item)
                    if stop.is_set():
                        break
        except BaseException as error:  # raised again where the items are taken
            end = _End(error)
        put(end)

    def taken() -> Iterator[T]:
        while not leave():
            with contextlib.suppress(queue.Empty):
                item = made.get(timeout=_WAIT)
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                yield item

    thread = threading.Thread(target=work, name=_NAMES[0], daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stop.set()
        while thread.is_alive() and not leave():
            thread.join(_WAIT)


def result_of(work: Callable[[], T], leave: Callable[[], bool]) -> T:
    """The result of work that runs in a thread, so that signals are handled meanwhile.

    Args:
        leave: whether the thread is to be left.

    Raises:
        Left: it was.
    """
    with prefetch((work() for _ in range(1)), 1, leave) as results:
        for result in results:
            return result
    raise Left


@contextlib.contextmanager
def in_background(
    work: Callable[[T], None], size: int, leave: Callable[[], bool] = never
) -> Iterator[Callable[[T], None]]:
    """A function that takes an item for `work` in a thread, and waits when `size` of them wait.

    What `work` raises is raised by the next call, or at the end of the block; nothing is worked on
    behind it. At the end of the block all items are done; when the block raises, those that wait
    are dropped.

    Args:
        leave: whether the thread is to be left.

    Raises:
        Left: it was, at work.
    """
    waiting: queue.Queue[Any] = queue.Queue(size)
    stop = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        while not isinstance(item := waiting.get(), _End):
            # Even then it takes them, so that nobody waits for a place in the queue for ever.
            if failed or stop.is_set():
                continue
            try:
                work(item)
            except BaseException as error:  # raised again in the main thread
                failed.append(error)

    def call(item: T) -> None:
        if failed:
            raise failed[0]
        put(item)

    def put(item: Any) -> None:
        while thread.is_alive():
            if leave():
                raise Left
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=_WAIT)
                return

    thread = threading.Thread(target=run, name=_NAMES[1], daemon=True)
    thread.start()
    try:
        yield call
    except BaseException:
        stop.set()
        raise
    finally:
        put(_End())
        while thread.is_alive():
            if leave():
                raise Left
            thread.join(_WAIT)
    if failed:
        raise failed[0]
