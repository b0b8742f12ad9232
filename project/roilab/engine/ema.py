"""An exponential moving average of a model's weights (Polyak and Juditsky, 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """The average of the weights over the steps, kept beside the model.

    In the first steps the average is over fewer: the decay is (1 + n) / (10 + n) until it reaches
    `decay`, so that the random initial weights are soon forgotten. Buffers that are not floats are
    copied.

    Args:
        decay: the share of the old average that stays, in (0, 1); 0.999: about 1,000 steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the model's weights after a step."""
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        new = model.state_dict()
        floats = [name for name, value in self.weights.items() if value.is_floating_point()]
        averages = [self.weights[name] for name in floats]
        torch._foreach_lerp_(averages, [new[name] for name in floats], 1 - keep)
        for name in self.weights.keys() - set(floats):
            self.weights[name].copy_(new[name])

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Within the block, the model has the average as its weights."""
        raw = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(raw)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        return {"steps": self.steps, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        self.weights = {n: state["weights"][n].to(old.device) for n, old in self.weights.items()}
