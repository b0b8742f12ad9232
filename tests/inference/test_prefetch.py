"""Work beside the main thread: in order, bounded, and gone when its block is."""

import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress

import pytest

from roilab.inference import prefetch


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert prefetch.THREAD not in {thread.name for thread in threading.enumerate()}


def numbers(produced: list[int], closed: list[bool], fails_at: int = 10**9) -> Generator[int]:
    try:
        for number in range(1000):
            if number == fails_at:
                raise ValueError("cannot go on")
            produced.append(number)
            yield number
    finally:
        closed.append(True)


def test_items_come_in_order_from_another_thread() -> None:
    threads = set()

    def items() -> Generator[int]:
        for number in range(50):
            threads.add(threading.current_thread().name)
            yield number

    with prefetch.prefetch(items(), 3) as stream:
        assert list(stream) == list(range(50))
    assert threads == {prefetch.THREAD}


def test_no_more_is_made_than_may_wait() -> None:
    produced: list[int] = []
    closed: list[bool] = []
    with prefetch.prefetch(numbers(produced, closed), 4) as stream:
        for _ in range(10):
            next(stream)
        threading.Event().wait(0.2)
        # Those taken, those in the queue, and one in the hand.
        assert len(produced) <= 10 + 4 + 1
    assert closed == [True]


def test_an_error_comes_behind_the_items_before_it() -> None:
    received = []
    closed: list[bool] = []

    def take() -> None:
        with prefetch.prefetch(numbers([], closed, fails_at=7), 2) as items:
            received.extend(items)
            raise AssertionError("not reached")

    with pytest.raises(ValueError, match="cannot go on"):
        take()
    assert closed == [True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_block_that_raises_ends_both(error: type[BaseException]) -> None:
    closed: list[bool] = []
    begun, gate = threading.Event(), threading.Event()
    done = []

    def work(number: int) -> None:
        begun.set()
        gate.wait()
        done.append(number)

    with (
        suppress(error),
        prefetch.prefetch(numbers([], closed), 2) as items,
        prefetch.in_background(work, 3) as later,
    ):
        later(next(items))
        later(next(items))
        begun.wait()
        threading.Timer(1, gate.set).start()  # by then, what waits has been dropped
        raise error
    assert closed == [True]
    assert done == [0]  # what waited is dropped


def test_all_is_done_at_the_end_of_the_block_in_order() -> None:
    done: list[int] = []
    with prefetch.in_background(done.append, 2) as later:
        for number in range(100):
            later(number)
    assert done == list(range(100))


def test_an_error_behind_stops_what_is_before_it() -> None:
    done: list[int] = []
    submitted = []

    def work(number: int) -> None:
        if number == 5:
            raise OSError("the disk is full")
        done.append(number)

    def give() -> None:
        with prefetch.in_background(work, 2) as later:
            for number in range(1000):
                submitted.append(number)
                later(number)

    with pytest.raises(OSError, match="the disk is full"):
        give()
    assert done == list(range(5))
    assert len(submitted) < 20


def test_an_error_of_the_last_item_is_not_lost() -> None:
    def work(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ValueError, match="3"), prefetch.in_background(work, 9) as later:
        later(3)


def test_the_call_after_an_error_raises_it() -> None:
    def work(number: int) -> None:
        raise ValueError(number)

    def give() -> None:
        with prefetch.in_background(work, 9) as later:
            later(3)
            while prefetch.is_any_running():
                time.sleep(0.01)
            later(4)
            pytest.fail("the error waits for more items")

    with pytest.raises(ValueError, match="3"):
        give()


def stuck(begun: threading.Event, end: threading.Event) -> Generator[int, None, None]:
    yield 1
    begun.set()
    end.wait()


def test_a_thread_that_is_stuck_can_be_left() -> None:
    begun, end = threading.Event(), threading.Event()
    with prefetch.prefetch(stuck(begun, end), 1, begun.is_set) as items:
        assert list(items) in ([1], [])
    assert prefetch.is_any_running()
    end.set()
    while prefetch.is_any_running():
        time.sleep(0.01)


def test_work_that_is_stuck_can_be_left() -> None:
    begun, end = threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.set()
        end.wait()

    with pytest.raises(prefetch.Abandoned), prefetch.in_background(work, 1, begun.is_set) as later:
        later(1)
    with pytest.raises(prefetch.Abandoned):
        prefetch.result_of(end.wait, begun.is_set)
    end.set()
    assert prefetch.result_of(lambda: 3, lambda: False) == 3
    while prefetch.is_any_running():
        time.sleep(0.01)


def test_large_items_go_by_themselves() -> None:
    alone, produced = prefetch.LargeItemGate(), []

    def items() -> Generator[int, None, None]:
        for number in range(6):
            alone.enter(large=number in (2, 3))
            produced.append(number)
            yield number

    with prefetch.prefetch(items(), 4) as stream, contextlib.closing(alone):
        for number in stream:
            inside = len(produced) - number
            assert inside == 1 or number not in (2, 3)
            assert number not in (0, 1) or produced[-1] < 2
            alone.leave()


def test_nobody_waits_for_a_large_item_when_it_is_closed() -> None:
    alone = prefetch.LargeItemGate()
    alone.enter(large=True)
    second = threading.Thread(target=alone.enter, kwargs={"large": True}, daemon=True)
    second.start()
    second.join(0.1)
    assert second.is_alive(), "it waits for the first"
    alone.close()
    second.join(60)
    assert not second.is_alive()
