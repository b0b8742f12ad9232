"""Work beside the main thread: items made ahead of it, and results put away behind it.

Queues are short, so that no more is held in memory than keeps both sides busy. What a thread raises
is raised in the main thread, and no thread outlives its block, however that ends.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_WAIT = 0.05  # seconds between two looks whether a thread has ended


class _End:
    """What comes behind the last item, and why, if not because there are no more."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextlib.contextmanager
def ahead(items: Generator[T, None, None], size: int) -> Iterator[Iterator[T]]:
    """The items, of which a thread makes up to `size` before they are asked for.

    Args:
        items: run in that thread, and closed there when the block ends.
    """
    made: queue.Queue[Any] = queue.Queue(size)
    stop = threading.Event()

    def work() -> None:
        end = _End()
        try:
            with contextlib.closing(items):
                for item in items:
                    made.put(item)
                    if stop.is_set():
                        break
        except BaseException as error:  # raised again where the items are taken
            end = _End(error)
        made.put(end)

    def taken() -> Iterator[T]:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stop.set()
        while thread.is_alive():
            # It may wait for a place in the queue.
            with contextlib.suppress(queue.Empty):
                made.get(timeout=_WAIT)


@contextlib.contextmanager
def behind(work: Callable[[T], None], size: int) -> Iterator[Callable[[T], None]]:
    """A function that takes an item for `work` in a thread, and waits when `size` of them wait.

    What `work` raises is raised by the next call, or at the end of the block; nothing is worked on
    behind it. At the end of the block all items are done; when the block raises, those that wait
    are dropped.
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
        waiting.put(item)

    thread = threading.Thread(target=run, name="behind", daemon=True)
    thread.start()
    try:
        yield call
    except BaseException:
        stop.set()
        raise
    finally:
        waiting.put(_End())
        thread.join()
    if failed:
        raise failed[0]
