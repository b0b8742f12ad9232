"""One training step, and all that changes with it."""

import contextlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import Tensor, nn

from roilab.data.loaders import Batch
from roilab.data.seeding import STEP, seed_everything
from roilab.device import dtype_of
from roilab.engine import config, distributed
from roilab.engine.build import build_model, build_optimizer, compile_backbone, train_mode
from roilab.engine.checkpoint import refuse_other_weights
from roilab.engine.ema import MovingAverage


class NonFiniteLoss(ArithmeticError):
    """A loss that is infinite or no number; the message has all of the step's."""

    def __init__(self, losses: dict[str, float]) -> None:
        super().__init__(", ".join(f"{name} {value:g}" for name, value in losses.items()))


class Trainer:
    """A model with its optimizer, learning-rate schedule, loss scaler and average.

    Args:
        model: gives a dict of losses in training mode.
        schedule: of the learning rate, for an optimizer.
        dtype: of the heavy operations; weights and losses stay float32.
        clip_norm: the largest norm of all gradients together; None: not clipped.
        ema: the decay of the weights' moving average; None: none is kept.
        seed: of what the model draws, with the iteration's number.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Callable[[torch.optim.Optimizer], LRMultiplier],
        *,
        dtype: torch.dtype = torch.float32,
        clip_norm: float | None = None,
        ema: float | None = None,
        seed: int = 0,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.parallel: Any = distributed.parallel(model)
        self.schedule = schedule(optimizer)
        self.device = next(model.parameters()).device
        self.dtype, self.clip_norm, self.seed = dtype, clip_norm, seed
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=dtype == torch.float16)
        self.ema = None if ema is None else MovingAverage(model, ema)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, of the largest group of parameters."""
        groups = self.optimizer.param_groups
        return max(groups, key=lambda g: sum(p.numel() for p in g["params"]))["lr"]

    def step(self, iteration: int, batches: Sequence[Batch]) -> dict[str, float]:
        """One step on the mean gradient of the batches; returns the mean losses by name.

        Losses are means over the processes, too.

        Raises:
            NotFinite: a loss is not; the weights are those before the step.
        """
        train_mode(self.model)
        self.optimizer.zero_grad()
        sums: dict[str, float] = {}
        for number, batch in enumerate(batches):
            seed_everything(self.seed, STEP, iteration, number, comm.get_rank())
            with self._quiet(number < len(batches) - 1):
                losses = self._losses(batch)
                if distributed.any_process(losses is None) or losses is None:
                    raise NonFiniteLoss({"region proposals": math.nan})
                losses = distributed.of_whole_batch(losses, getattr(self.model, "loss_counts", {}))
                for name, value in self._values(losses).items():
                    sums[name] = sums.get(name, 0.0) + value / len(batches)
                total = torch.stack(list(losses.values())).sum() / len(batches)
                self.scaler.scale(total).backward()
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.ema is not None:
            self.ema.update(self.model)
        return sums

    def replay(self, iteration: int, batches: Sequence[Batch]) -> list[dict[str, float]]:
        """The losses of each batch of a step, finite or not; nothing is learnt."""
        train_mode(self.model)
        replayed = []
        for number, batch in enumerate(batches):
            seed_everything(self.seed, STEP, iteration, number, comm.get_rank())
            with torch.no_grad():
                losses = self._losses(batch)
            if losses is None:
                replayed.append({"region proposals": math.nan})
            else:
                replayed.append({name: float(value) for name, value in losses.items()})
        return replayed

    def _quiet(self, quiet: bool) -> AbstractContextManager[None]:
        """Several processes exchange their gradients once a step, not once a batch."""
        return self.parallel.no_sync() if quiet and self.parallel is not self.model else _nothing()

    def _losses(self, batch: Batch) -> dict[str, Tensor] | None:
        """By name; None where Detectron2 finds that proposals are infinite or no numbers."""
        plain = self.dtype == torch.float32
        with _nothing() if plain else torch.autocast(self.device.type, self.dtype):
            try:
                return self.parallel(batch)
            except FloatingPointError:
                return None

    def _values(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """As numbers; one transfer from the device for all."""
        stacked = torch.stack([value.detach().float() for value in losses.values()])
        values = dict(zip(losses, distributed.mean(stacked).tolist(), strict=True))
        if not all(map(math.isfinite, values.values())):
            raise NonFiniteLoss(values)
        return values

    def state_dict(self) -> dict[str, Any]:
        """All that a step depends on, beside its number and its batches."""
        parts = {key: getattr(self, key).state_dict() for key in self._parts()}
        return {"model": self.model.state_dict(), **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state.

        Raises:
            UserError: it is of another model.
            KeyError, ValueError: parts are missing, or do not fit.
        """
        refuse_other_weights(self.model.state_dict(), state["model"])
        self.model.load_state_dict(state["model"])
        for key in self._parts():
            getattr(self, key).load_state_dict(state[key])

    def _parts(self) -> list[str]:
        average = [] if self.ema is None else ["ema"]
        return ["optimizer", "schedule", "scaler", *average]


def _nothing() -> AbstractContextManager[None]:
    return contextlib.nullcontext()


def build_trainer(cfg: DictConfig, model: nn.Module | None = None) -> Trainer:
    """The trainer of a config; a model that is given has its initial weights."""
    model = build_model(cfg, training=True) if model is None else model
    multiplier = config.build(cfg.lr_multiplier, "lr_multiplier")
    trainer = Trainer(
        model,
        build_optimizer(cfg, model),
        lambda optimizer: LRMultiplier(optimizer, multiplier, cfg.train.max_iter),
        dtype=dtype_of(cfg.train.precision, next(model.parameters()).device),
        clip_norm=cfg.train.clip_norm,
        ema=cfg.train.ema,
        seed=cfg.train.seed,
    )
    if cfg.train.compile:
        compile_backbone(model)
    return trainer
