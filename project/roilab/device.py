"""Device, precision and compute threads of a model, and the peak of the memory in use."""

import os
import resource
import sys

import torch
from detectron2.utils import comm

from roilab.data.workers import available_cores
from roilab.errors import UserError

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def device_of(name: str) -> torch.device:
    """The device of a name, or a UserError; "auto" is CUDA if it is available, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    key = "train.device"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("no CUDA device is available", key=key, found=name, expected="auto or cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        expected = "auto, cpu, cuda or cuda:N"
        raise UserError("no such device", key=key, found=name, expected=expected) from error


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of convolutions and matrix products: float32, bfloat16, float16 (CUDA), or auto.

    Auto is bfloat16 where the hardware multiplies it faster than float32: on CPUs with AMX or
    AVX512-BF16 instructions, on GPUs since Ampere. Elsewhere it is emulated, and slower. Raises
    UserError for another precision, and for one that the device does not have.
    """
    key = "train.precision"
    if precision not in PRECISIONS:
        names = ", ".join(PRECISIONS)
        raise UserError("unknown precision", key=key, found=precision, expected=names)
    if precision == "float16" and device.type == "cpu":
        raise UserError("float16 needs a GPU", key=key, found=precision, expected="bfloat16")
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bfloat16(device) else torch.float32
    return getattr(torch, precision)


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # The processor has the instructions, and ATEN_CPU_CAPABILITY does not rule them out.
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def memory_used() -> int:
    """The peak of the memory in use, in bytes: of the GPU, or of the process."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    # In bytes on macOS, in kilobytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def share_cores(workers: int) -> None:
    """Set the compute threads of this process so that all on this machine's CPU share its cores.

    Compute threads meet at barriers many times per step. If they spin there, a loader's worker that
    occupies the core of one makes all others wait, so that workers get cores of their own. If they
    sleep (OMP_WAIT_POLICY=PASSIVE, which the commands set), a worker costs only its own time. A
    step of the figures model on two cores, in seconds, with a worker, and with a worker and another
    program: 1.7 and 5.1 with two threads that spin, 1.7 and 2.5 with two that sleep, 2.0 and 2.3
    with one. A number that the user set (OMP_NUM_THREADS) stays.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        sleep = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
        cores_of_workers = 0 if sleep else workers
        torch.set_num_threads(max(1, available_cores() // comm.get_local_size() - cores_of_workers))
