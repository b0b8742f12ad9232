"""Where and with which precision a model runs."""

import os

import torch
from detectron2.utils import comm

from roilab.errors import UserError

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def device_of(name: str) -> torch.device:
    """`auto` is CUDA where there is any, else the CPU.

    Raises:
        UserError: CUDA is asked for but not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            "no CUDA device is available", key="train.device", found=name, expected="auto or cpu"
        )
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UserError(
            "no such device", key="train.device", found=name, expected="auto, cpu, cuda or cuda:N"
        ) from error


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of the heavy operations: float32, bfloat16, float16 (CUDA only), or auto.

    Auto is bfloat16 where the hardware multiplies it faster than float32: on CPUs with AMX or
    AVX512-BF16 instructions, on GPUs since Ampere. Elsewhere it is emulated, and slower.

    Raises:
        UserError: no such precision, or not on this device.
    """
    if precision not in PRECISIONS:
        raise UserError(
            "unknown precision",
            key="train.precision",
            found=precision,
            expected=", ".join(PRECISIONS),
        )
    if precision == "float16" and device.type == "cpu":
        raise UserError(
            "float16 needs a GPU", key="train.precision", found=precision, expected="bfloat16"
        )
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.get_device_capability(device) >= (8, 0)
        else:
            probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
            fast = any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
        return torch.bfloat16 if fast else torch.float32
    return getattr(torch, precision)


def share_cores(workers: int) -> None:
    """Let the processes on this machine's CPU use all cores but those of their loaders' workers.

    With a compute thread on every core, each loader worker stops one of them now and then, and all
    others wait for it at the next barrier. Measured on two shared cores: two threads and a worker
    took between 0.45 and 8 seconds for a step of the figures model, one thread always 0.72.
    A number that the user set (OMP_NUM_THREADS) is left alone.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
        cores = len(allowed(0)) if allowed is not None else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // comm.get_local_size() - workers))
