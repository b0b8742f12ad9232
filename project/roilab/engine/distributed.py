"""One process or several: launched here or by torchrun, on one machine or many."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NoReturn

import torch
from detectron2.utils import comm
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from roilab.data.workers import END_SIGNALS, signals_blocked
from roilab.engine.signals import Interrupted, Stop, end_on_signals, on_signals, signal_name
from roilab.errors import UserError
from roilab.text import counted

log = logging.getLogger(__name__)

LOST_PEER = "another process of the training is gone"
_GRACE = 10  # seconds in which the first process may meet the same mistake as another
_SAVING = 300  # seconds that processes have to write a checkpoint
_TIMEOUT = timedelta(minutes=30)  # for collective operations, such as waiting for the AP
_SHARED_URL = "a URL that all machines reach, such as tcp://HOST:PORT"
_CUT_OFF = 3  # exit status of a process that has lost another

Work = Callable[[Any], None]
Report = Callable[[BaseException], object]


def under_torchrun() -> bool:
    """Whether torchrun has started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"))


def launch(
    work: Work,
    argument: Any,
    report: Report,
    *,
    num_gpus: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    saved: Callable[[], str] = str,
) -> None:
    """Run `work(argument)` in each process, as Detectron2's `launch`: NCCL on GPUs, gloo on CPUs.

    A signal that asks this process to end goes to all of them.

    Args:
        report: prints the mistake of a process; like `work`, it can be pickled.
        num_gpus: processes on this machine, one a GPU, or on the CPU. torchrun, where it started
            this process, knows better.
        num_machines, machine_rank: how many machines, and which is this, from 0.
        dist_url: where the processes meet; `auto` is for one machine.
        saved: describes what is saved of the work, where a process is lost.

    Raises:
        UserError: more processes than GPUs, machines that do not fit, or a process is lost.
        Interrupted: a signal ended it.
        SystemExit: a process failed, and has reported why.
    """
    if under_torchrun():
        size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        meet = partial(_join_group, int(os.environ["LOCAL_RANK"]), size)
        _run_process(meet, work, argument, report)
    _check_processes(num_gpus, num_machines, machine_rank, dist_url)
    if num_gpus * num_machines == 1:
        work(argument)
        return
    if num_machines > 1:
        minutes = _TIMEOUT.total_seconds() / 60
        awaited = f"the processes of {num_machines} machines at {dist_url}"
        log.warning("waiting for %s, for up to %d minutes", awaited, minutes)
    if dist_url == "auto":
        with socket.create_server(("127.0.0.1", 0)) as free:
            dist_url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    group = {"world_size": num_gpus * num_machines, "timeout": _TIMEOUT}
    context = multiprocessing.get_context("spawn")
    processes = []
    for local in range(num_gpus):
        rank = machine_rank * num_gpus + local
        meet = partial(_join_group, local, num_gpus, rank=rank, init_method=dist_url, **group)
        processes.append(context.Process(target=_rank, args=(meet, work, argument, report)))
    _run_all(processes, saved)


def _check_processes(num_gpus: int, num_machines: int, machine_rank: int, dist_url: str) -> None:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else None
    if gpus is not None and num_gpus > gpus:
        requested = counted(num_gpus, "GPU was", "GPUs were")
        message = f"{requested} requested and {counted(gpus, 'is', 'are')} visible"
        raise UserError(message, key="num_gpus", found=num_gpus, expected=f"1 to {gpus}")
    for key, value, is_valid, expected in (
        ("num_gpus", num_gpus, num_gpus >= 1, "1 or more: processes on GPUs, or on the CPU"),
        ("num_machines", num_machines, num_machines >= 1, "1 or more"),
        ("machine_rank", machine_rank, 0 <= machine_rank < num_machines, "a machine, from 0"),
        ("dist_url", dist_url, num_machines == 1 or dist_url != "auto", _SHARED_URL),
    ):
        if not is_valid:
            message = "the processes and machines do not fit together"
            machines = counted(num_machines, "machine")
            raise UserError(message, key=key, found=f"{value}, with {machines}", expected=expected)


def _run_all(processes: Sequence[BaseProcess], saved: Callable[[], str]) -> None:
    """Start processes and wait until they have ended; where one fails, the others are ended."""
    stop = Stop("every process of the training ends after its step")

    def handle(number: int, frame: FrameType | None = None) -> None:
        _send(processes, signal.SIGKILL if stop.is_repeated(number) else number)
        stop.handle(number)

    resource_tracker.ensure_running()  # as it starts, it unblocks signals
    with on_signals(handle):
        # While a process starts, Ctrl-C would be a traceback, and other signals end it at once.
        with signals_blocked([signal.SIGINT]):
            try:
                for process in processes:
                    process.start()
            except OSError:  # the processes that wait for it would wait for long
                _send(processes, signal.SIGKILL)
                raise
        failed = _first_failure(processes)
        if failed is None:
            return
        patience = 0
        number = _end_signal(failed.exitcode)
        if number:
            _send(processes, number)  # the others may have to write a checkpoint
            patience = _SAVING
        elif failed.exitcode == _CUT_OFF:
            patience = _GRACE  # it may be ahead of the process that it has lost
        _join(processes, patience)
        statuses = [process.exitcode for process in processes]  # None: it is killed
        _send(processes, signal.SIGKILL)
        _join(processes)
    raise _failure(statuses, saved)


def _failure(statuses: Sequence[int | None], saved: Callable[[], str]) -> BaseException:
    """The exception to raise after the exit statuses of all processes; None is of a killed one."""
    for status in statuses:
        if status and status > 0 and status != _CUT_OFF and not _end_signal(status):
            return SystemExit(status)  # the process has reported why
    for rank, status in enumerate(statuses):
        if status and status < 0 and not _end_signal(status):
            return UserError(
                f"a process of the training was ended by {signal_name(-status)}",
                found=f"process {rank} of {len(statuses)}",
                expected="no other program, and no limit of memory, that ends it",
                remedy=f"look for what did, such as the system's log; {saved()}",
            )
    number = max(map(_end_signal, statuses))
    if number:
        return Interrupted(number)
    remedy = f"look at the output of the processes on the other machines; {saved()}"
    return UserError(LOST_PEER, remedy=remedy)


def _end_signal(status: int | None) -> int:
    """The signal that asked a process with this exit status to end; 0: none."""
    status = status or 0
    number = -status if status < 0 else status - 128
    return number if number in END_SIGNALS else 0


def _send(processes: Sequence[BaseProcess], number: int) -> None:
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, number)


def _first_failure(processes: Sequence[BaseProcess]) -> BaseProcess | None:
    """The first process that fails; None: all have ended well."""
    running = list(processes)
    while running:
        connection.wait([process.sentinel for process in running])
        for process in [process for process in running if not process.is_alive()]:
            if process.exitcode:
                return process
            running.remove(process)
    return None


def _join(processes: Sequence[BaseProcess], seconds: float | None = None) -> None:
    """Wait until all have ended, for so many seconds together; None: for as long as it takes."""
    end = None if seconds is None else time.monotonic() + seconds
    for process in processes:
        process.join(None if end is None else max(0.0, end - time.monotonic()))


def _rank(meet: Callable[[], None], work: Work, argument: Any, report: Report) -> NoReturn:
    end_on_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _run_process(meet, work, argument, report)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _join_group(local_rank: int, local_size: int, **options: Any) -> None:
    """Meet the other processes within half an hour; `options` are of `init_process_group`."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank)
    try:
        distributed.init_process_group("nccl" if cuda else "gloo", **options)
        comm.create_local_process_group(local_size)
    except (RuntimeError, ValueError) as error:  # torch.distributed raises either
        raise UserError(
            "the processes of the training do not meet",
            key="dist_url",
            found=str(error).splitlines()[0],
            expected="one address that all machines reach, and as many processes as were named",
            remedy="start the command on each machine within half an hour, with its own "
            "machine_rank=RANK and the same num_machines=MACHINES, num_gpus=GPUS and "
            'dist_url="tcp://HOST:PORT"',
        ) from error


def _run_process(meet: Callable[[], None], work: Work, argument: Any, report: Report) -> NoReturn:
    """Meet the others, run `work(argument)` as one of several processes, and end the process.

    The first process that ends with a mistake has the others ended. Where all meet it, the first
    process of each machine reports it; a mistake that another process alone meets, that one does.
    """
    try:
        meet()
        work(argument)
        distributed.destroy_process_group()
        status = 0
    except (UserError, OSError) as error:
        status = 2
        if isinstance(error, UserError) and error.message == LOST_PEER and not under_torchrun():
            _exit(_CUT_OFF)  # the process that has launched them knows more
        if comm.get_local_rank() > 0:
            time.sleep(_GRACE)
        report(error)
    except KeyboardInterrupt as error:
        status = getattr(error, "status", 130)
    _exit(status)


def _exit(status: int) -> NoReturn:
    """End this process without the shutdown of the interpreter.

    gloo's threads run for as long as anything refers to their group, as Detectron2 and a model in
    parallel do. One that drops its last tensor while the interpreter shuts down would abort it.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def parallel(model: nn.Module) -> nn.Module:
    """The model; with several processes, one that averages its gradients over them."""
    if comm.get_world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    devices = [torch.cuda.current_device()] if on_gpu else None
    return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def mean(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes, in each of them."""
    count = comm.get_world_size()
    if count > 1:
        values = values.clone()
        distributed.all_reduce(values)
        values /= count
    return values


def of_whole_batch(losses: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Losses whose mean over the processes is the mean over all items, not the mean of the means.

    Args:
        losses: of this process, by name.
        counts: the number of items that each is a mean over here; a loss without one stays.
    """
    names = sorted(counts)
    if comm.get_world_size() == 1 or not names:
        return dict(losses)
    device = next(iter(losses.values())).device
    own = torch.tensor([float(counts[name]) for name in names], device=device)
    shares = dict(zip(names, own / mean(own).clamp(min=1e-9), strict=True))
    return {name: loss * shares[name] if name in shares else loss for name, loss in losses.items()}


def lost_peer(error: BaseException, remedy: str) -> UserError | None:
    """The error for an exception, of gloo or NCCL, that another process is gone; else None."""
    is_known = isinstance(error, distributed.DistError) or "/gloo/transport/" in str(error)
    if comm.get_world_size() == 1 or not is_known:
        return None
    return UserError(LOST_PEER, found=str(error).splitlines()[0], remedy=remedy)
