"""One process or several: started by us, by torchrun, on one machine or many."""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from detectron2.engine import launch
from detectron2.utils import comm
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from roilab.errors import UserError

_GRACE = 10  # seconds that the first process has to meet the mistake that another has met


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
) -> None:
    """Run `work(argument)` in each of the processes: NCCL on GPUs, gloo on the CPU.

    Args:
        processes: on this machine, one a GPU. torchrun, where it started us, knows better.
        machines, rank: how many machines, and which is this.
        url: where the processes meet; `auto` is for one machine.

    Raises:
        UserError: more processes than GPUs, or a number that makes no sense.
        SystemExit: a process failed; it has said why.
    """
    if under_torchrun():
        _join_torchrun()
        _in_a_process(work, argument)
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
    try:
        launch(_in_a_process, processes, machines, rank, url, args=(work, argument))
    except torch.multiprocessing.ProcessExitedException as error:
        sys.exit(error.exit_code)


def _join_torchrun() -> None:
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    comm.create_local_process_group(int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _in_a_process(work: Callable[[Any], None], argument: Any) -> NoReturn:
    """Run `work(argument)` as one of several processes, and end the process.

    The first process that ends with a mistake has the others ended. Where all meet it, the first
    process of each machine says it; a mistake that another alone meets, that one says.
    """
    try:
        work(argument)
        distributed.destroy_process_group()
        status = 0
    except (UserError, OSError) as error:
        if comm.get_local_rank() > 0:
            time.sleep(_GRACE)
        sys.stderr.write(f"error: {error}\n")
        status = 2
    except KeyboardInterrupt:
        status = 130
    _exit(status)


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


def largest(values: Tensor) -> Tensor:
    """The largest of each value over all processes, in each of them."""
    if comm.get_world_size() > 1:
        values = values.clone()
        distributed.all_reduce(values, distributed.ReduceOp.MAX)
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
    if comm.get_world_size() == 1:
        return flag
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    return bool(mean(torch.tensor(float(flag), device=device)) > 0)


def from_main(value: Any) -> Any:
    """What the main process has, in all of them."""
    return comm.all_gather(value)[0]
