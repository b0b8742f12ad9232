"""One process or several: started by us, by torchrun, on one machine or many."""

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

LOST_PEER = "another process of the training is gone"
_GRACE = 10  # seconds that the first process has to meet the mistake that another has met
_SAVING = 300  # seconds that processes have to write a checkpoint
_TIMEOUT = timedelta(minutes=30)  # for what processes do together, such as waiting for the AP
_CUT_OFF = 3  # exit status of a process that has lost another


def under_torchrun() -> bool:
    """Whether torchrun has started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"))


def start(
    work: Callable[[Any], None],
    argument: Any,
    *,
    processes: int,
    machines: int = 1,
    rank: int = 0,
    url: str = "auto",
    saved: Callable[[], str] = str,
) -> None:
    """Run `work(argument)` in each of the processes: NCCL on GPUs, gloo on the CPU.

    A signal to this process, which asks for an end, goes to all of them.

    Args:
        processes: on this machine, one a GPU. torchrun, where it started us, knows better.
        machines, rank: how many machines, and which is this.
        url: where the processes meet; `auto` is for one machine.
        saved: says what is left of the work, where a process is lost.

    Raises:
        UserError: more processes than GPUs, a number that makes no sense, or a process is lost.
        Interrupted: a signal ended it.
        SystemExit: a process failed; it has said why.
    """
    if under_torchrun():
        _in_a_process(_meet_under_torchrun, work, argument)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else None
    if processes < 1 or (gpus is not None and processes > gpus):
        raise UserError(
            "so many GPUs are not here",
            key="--num-gpus",
            found=processes,
            expected=f"1 to {gpus}" if gpus is not None else "1 or more: processes on the CPU",
        )
    if machines < 1 or not 0 <= rank < machines or (machines > 1 and url == "auto"):
        raise UserError(
            "the machines do not add up",
            key="--num-machines, --machine-rank, --dist-url",
            found=f"{machines}, {rank}, {url}",
            expected="ranks from 0; with several machines, a URL such as tcp://HOST:PORT",
        )
    if processes * machines == 1:
        work(argument)
        return
    if machines > 1:
        minutes = _TIMEOUT.total_seconds() / 60
        where = f"for the processes of {machines} machines at {url}"
        sys.stderr.write(f"waiting {where}, for up to {minutes:.0f} minutes\n")
    if url == "auto":
        url = f"tcp://127.0.0.1:{_free_port()}"
    context = multiprocessing.get_context("spawn")
    _run_all(
        [
            context.Process(
                target=_rank, args=(work, argument, local, processes, machines, rank, url)
            )
            for local in range(processes)
        ],
        saved,
    )


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
    return port


def _run_all(ranks: Sequence[BaseProcess], saved: Callable[[], str]) -> None:
    """Start processes and wait until they have ended; where one fails, the others are ended.

    Raises:
        UserError, Interrupted, SystemExit: as `start`.
    """
    stop = Stop("every process of the training ends after its step")

    def handle(number: int, frame: FrameType | None = None) -> None:
        _send(ranks, signal.SIGKILL if stop.is_again(number) else number)
        stop.ask(number)

    resource_tracker.ensure_running()  # as it starts, it lets signals come
    with on_signals(handle):
        # While a process starts, Ctrl-C would be a traceback, and other signals end it at once.
        with signals_blocked([signal.SIGINT]):
            try:
                for each in ranks:
                    each.start()
            except OSError:  # those that wait for it would do so for long
                _send(ranks, signal.SIGKILL)
                raise
        failed = _first_failure(ranks)
        if failed is None:
            return
        if number := _ended_by(failed):
            _send(ranks, number)  # the others may have to write a checkpoint
        # One that has lost another may be ahead of it.
        _join(ranks, _SAVING if number else _GRACE if failed.exitcode == _CUT_OFF else 0)
        codes = [each.exitcode for each in ranks]
        _send(ranks, signal.SIGKILL)
        _join(ranks)
    _raise_failure(ranks, codes, saved)


def _raise_failure(
    ranks: Sequence[BaseProcess], codes: Sequence[int | None], saved: Callable[[], str]
) -> NoReturn:
    """Say why processes ended.

    Args:
        codes: their exit statuses; None: it was killed when the others had ended.
    """
    numbers = [_ended_by(each) for each in ranks]
    for code in codes:
        if code is not None and code > 0 and code != _CUT_OFF and code - 128 not in END_SIGNALS:
            sys.exit(code)  # it has said why
    for place, code in enumerate(codes):
        if code is not None and code < 0 and not numbers[place]:
            raise UserError(
                f"a process of the training was ended by {signal_name(-code)}",
                found=f"process {place} of {len(ranks)}",
                expected="no other program, and no limit of memory, that ends it",
                remedy=f"look for what did, such as the system's log; {saved()}",
            )
    if any(numbers):
        raise Interrupted(max(numbers))
    raise UserError(
        LOST_PEER, remedy=f"look at what the processes of the other machines say; {saved()}"
    )


def _ended_by(process: BaseProcess) -> int:
    """The signal that asked a process to end; 0: none did."""
    code = process.exitcode or 0
    number = -code if code < 0 else code - 128
    return number if number in END_SIGNALS else 0


def _send(ranks: Sequence[BaseProcess], number: int) -> None:
    for each in ranks:
        if each.pid is not None and each.is_alive():
            os.kill(each.pid, number)


def _first_failure(ranks: Sequence[BaseProcess]) -> BaseProcess | None:
    """The first process that fails; None: all have ended well."""
    running = list(ranks)
    while running:
        connection.wait([each.sentinel for each in running])
        for each in running[:]:
            if each.is_alive():
                continue
            if each.exitcode:
                return each
            running.remove(each)
    return None


def _join(ranks: Sequence[BaseProcess], seconds: float | None = None) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    for each in ranks:
        each.join(None if end is None else max(0.0, end - time.monotonic()))


def _rank(
    work: Callable[[Any], None],
    argument: Any,
    local: int,
    processes: int,
    machines: int,
    machine: int,
    url: str,
) -> NoReturn:
    """One of the processes that `start` begins."""
    end_on_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def meet() -> None:
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(local)
        distributed.init_process_group(
            "nccl" if cuda else "gloo",
            init_method=url,
            world_size=processes * machines,
            rank=machine * processes + local,
            timeout=_TIMEOUT,
        )
        comm.create_local_process_group(processes)

    _in_a_process(meet, work, argument)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _meet_under_torchrun() -> None:
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    comm.create_local_process_group(int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _in_a_process(meet: Callable[[], None], work: Callable[[Any], None], argument: Any) -> NoReturn:
    """Meet the others, run `work(argument)` as one of several processes, and end the process.

    The first process that ends with a mistake has the others ended. Where all meet it, the first
    process of each machine says it; a mistake that another alone meets, that one says.
    """
    try:
        _meet(meet)
        work(argument)
        distributed.destroy_process_group()
        status = 0
    except (UserError, OSError) as error:
        status = 2
        if isinstance(error, UserError) and error.message == LOST_PEER and not under_torchrun():
            _exit(_CUT_OFF)  # the process that has begun them all knows more
        if comm.get_local_rank() > 0:
            time.sleep(_GRACE)
        sys.stderr.write(f"error: {error}\n")
    except KeyboardInterrupt as error:
        status = getattr(error, "status", 130)
    _exit(status)


def _meet(meet: Callable[[], None]) -> None:
    """Let the processes know each other.

    Raises:
        UserError: some do not come within half an hour, or there is no such place to meet.
    """
    try:
        meet()
    except (RuntimeError, ValueError) as error:  # of torch.distributed, by what is wrong
        raise UserError(
            "the processes of the training do not meet",
            key="--dist-url",
            found=str(error).splitlines()[0],
            expected="one address that all machines reach, and as many processes as were named",
            remedy="start the command on each machine within half an hour, with its own "
            "--machine-rank and the same --num-machines, --num-gpus and --dist-url tcp://HOST:PORT",
        ) from error


def _exit(status: int) -> NoReturn:
    """End this process without the interpreter's own end.

    gloo's threads go on for as long as anything refers to their group, as Detectron2 and a model in
    parallel do. One that lets go of its last tensor while the interpreter ends would abort it.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def parallel(model: nn.Module) -> nn.Module:
    """The model, averaging its gradients over the processes if there are several."""
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
    """Losses whose mean over the processes is that of the items of all, and not that of the means.

    Args:
        losses: of this process, by name.
        counts: over how many items each of them is a mean here; one without is left as it is.
    """
    names = sorted(counts)
    if comm.get_world_size() == 1 or not names:
        return dict(losses)
    device = next(iter(losses.values())).device
    here = torch.tensor([float(counts[name]) for name in names], device=device)
    shares = dict(zip(names, here / mean(here).clamp(min=1e-9), strict=True))
    return {name: loss * shares[name] if name in shares else loss for name, loss in losses.items()}


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return bool(largest(flag))


def largest(number: int) -> int:
    """The largest of the numbers of all processes, in each of them."""
    if comm.get_world_size() == 1:
        return number
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    value = torch.tensor(int(number), device=device)
    distributed.all_reduce(value, distributed.ReduceOp.MAX)
    return int(value)


def lost_peer(error: BaseException, saved: str) -> UserError | None:
    """The error for an exception, of gloo or NCCL, that another process is gone; else None."""
    is_known = isinstance(error, distributed.DistError) or "/gloo/transport/" in str(error)
    if comm.get_world_size() == 1 or not is_known:
        return None
    return UserError(LOST_PEER, found=str(error).splitlines()[0], remedy=saved)


def from_main(value: Any) -> Any:
    """Broadcast an object from the main process to all processes."""
    return comm.all_gather(value)[0]
