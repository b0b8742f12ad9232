"""Running the cells of a sweep on this machine, several at a time."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event

import torch

from roilab.data.workers import cores
from roilab.sweep.plan import Trial
from roilab.sweep.runner import POLL_SECONDS, State, Told, failed, run_cell


class _Cancelled(Exception):
    """A cell is to end because the sweep does."""


def run_here(
    cells: Sequence[Trial],
    train: Sequence[str],
    slots: Sequence[Mapping[str, str]],
    *,
    told: Told,
    refresh: Callable[[], object],
) -> None:
    """Run cells as processes of this machine; an interrupt ends them, so that they can go on.

    Args:
        train: the training command: the interpreter and roilab train.
        slots: how many run at a time, and what is set in the environment of each.
        told: is called in this thread when a cell begins (`training`) and with what became of it.
        refresh: is called about twice a second.
    """
    free: SimpleQueue[Mapping[str, str]] = SimpleQueue()
    for slot in slots:
        free.put(slot)
    begun: SimpleQueue[Trial] = SimpleQueue()
    over = Event()

    def watch() -> None:
        if over.is_set():
            raise _Cancelled

    def run(cell: Trial) -> State:
        watch()
        slot = free.get()
        begun.put(cell)
        try:
            return run_cell(cell, train, environment=slot, watch=watch)
        finally:
            free.put(slot)

    with ThreadPoolExecutor(len(slots)) as pool:
        waiting = {pool.submit(run, cell): cell for cell in cells}
        try:
            while waiting:
                over_now = [future for future in waiting if future.done()]
                while not begun.empty():  # after: what is over has begun
                    told(begun.get(), State("training"))
                for future in over_now:
                    told(waiting.pop(future), _outcome(future))
                refresh()
                time.sleep(POLL_SECONDS)
        finally:
            over.set()
            pool.shutdown(cancel_futures=True)


def _outcome(future: Future[State]) -> State:
    """The state of a cell after its training; an error costs this cell alone."""
    try:
        return future.result()
    except Exception as error:
        return failed(error)


def slots(jobs: int | None) -> list[dict[str, str]]:
    """The environments of so many trainings at a time; None: one a GPU, or one on the CPU."""
    if torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
        count = jobs or len(gpus)
        return [{"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} for index in range(count)]
    count = jobs or 1
    if count == 1 or "OMP_NUM_THREADS" in os.environ:
        return [{} for _ in range(count)]
    threads = max(1, cores() // count)
    return [{"OMP_NUM_THREADS": str(threads)} for _ in range(count)]
