"""Learning-rate schedules whose warm-up is in iterations.

Detectron2 states the warm-up as a fraction of its 90,000 iterations, so that a schedule cut to the
size of a small data set loses it.
"""

from collections.abc import Sequence

from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import (
    CosineParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
)

# fvcore's schedule counts in steps but is scale-invariant; a run of two iterations, tried to see
# whether all is well, has fewer than it needs for its drops.
_STEPS = 270_000


def warmup_steps(max_iter: int, warmup_iters: int, drops: Sequence[float]) -> ParamScheduler:
    """Linear warm-up, then a tenth of the rate after each of `drops` (shares of the run)."""
    steps = MultiStepParamScheduler(
        values=[0.1**index for index in range(len(drops) + 1)],
        milestones=[round(share * _STEPS) for share in drops],
        num_updates=_STEPS,
    )
    return _warm_up(steps, max_iter, warmup_iters)


def warmup_cosine(max_iter: int, warmup_iters: int, end: float = 0.01) -> ParamScheduler:
    """Linear warm-up, then a cosine from 1 to `end` times the learning rate."""
    return _warm_up(CosineParamScheduler(1.0, end), max_iter, warmup_iters)


def _warm_up(scheduler: ParamScheduler, max_iter: int, warmup_iters: int) -> ParamScheduler:
    return WarmupParamScheduler(
        scheduler,
        warmup_factor=0.001,
        warmup_length=min(1.0, warmup_iters / max_iter),
        warmup_method="linear",
    )
