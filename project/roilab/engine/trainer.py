"""One training step, and what a terminal or a log shows of many."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.engine import HookBase, SimpleTrainer
from torch import nn
from tqdm import tqdm

from roilab.errors import UserError

log = logging.getLogger(__name__)


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
    """The dtype of the heavy operations: float32, bfloat16, or auto.

    Auto is bfloat16 where the hardware multiplies it faster than float32: on CPUs with AMX or
    AVX512-BF16 instructions, on GPUs since Ampere. Elsewhere it is emulated, and slower.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise UserError(
            "unknown precision",
            key="train.precision",
            found=precision,
            expected="auto, float32 or bfloat16",
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
    """Let a training on the CPU use all cores but those of its data loader's workers.

    With a compute thread on every core, each loader worker stops one of them now and then, and all
    others wait for it at the next barrier. Measured on two shared cores: two threads and a worker
    took between 0.45 and 8 seconds for a step of the figures model, one thread always 0.72.
    A number that the user set (OMP_NUM_THREADS) is left alone.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
        cores = len(allowed(0)) if allowed is not None else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores - workers))


class Trainer(SimpleTrainer):
    """Detectron2's loop with autocast on any device and gradient clipping.

    Args:
        model, batches, optimizer: as in SimpleTrainer.
        dtype: of the heavy operations; weights and losses stay float32.
        clip_norm: the largest norm of all gradients together; None: not clipped.
        log_period: iterations between two looks at the losses (each look waits for the device).
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[list[dict[str, Any]]],
        optimizer: torch.optim.Optimizer,
        *,
        dtype: torch.dtype,
        clip_norm: float | None,
        log_period: int,
    ) -> None:
        super().__init__(model, batches, optimizer, gather_metric_period=log_period)
        self.dtype = dtype
        self.clip_norm = clip_norm
        self.device = next(model.parameters()).device

    def run_step(self) -> None:
        """One step: batch, losses, gradients, update.

        Raises:
            FloatingPointError: a loss is not finite (seen every `log_period` iterations).
        """
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        with (
            torch.autocast(self.device.type, self.dtype)
            if self.dtype != torch.float32
            else contextlib.nullcontext()
        ):
            losses = self.model(data)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self._write_metrics(losses, data_time)
        self.optimizer.step()


class ProgressBar(HookBase):
    """Iterations, time left, loss and learning rate in one live line on a terminal."""

    def before_train(self) -> None:
        self.bar = tqdm(
            total=self.trainer.max_iter, initial=self.trainer.start_iter, unit="it", file=sys.stderr
        )

    def after_step(self) -> None:
        self.bar.update()
        storage = self.trainer.storage
        if (self.trainer.iter + 1) % self.trainer.gather_metric_period == 0:
            latest = storage.latest()
            self.bar.set_postfix(
                loss=f"{latest.get('total_loss', (float('nan'),))[0]:.3f}",
                lr=f"{latest.get('lr', (float('nan'),))[0]:.2g}",
                refresh=False,
            )

    def after_train(self) -> None:
        self.bar.close()
