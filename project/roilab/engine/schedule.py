"""Learning-rate schedules and their warm-up, by default a tenth of the run, at most 1,000 steps.

Detectron2's warm-up is a fraction of 90,000 iterations, so that a schedule that is cut to the size
of a small data set loses it. With its 1,000 iterations, a short run would be all warm-up.
"""

import logging
from collections.abc import Callable, Sequence

from detectron2.solver import WarmupParamScheduler
from fvcore.common import param_scheduler

from roilab.errors import UserError

log = logging.getLogger(__name__)

# fvcore's schedule counts in steps but is scale-invariant; a trial run of two iterations has fewer
# than its drops need.
_STEPS = 270_000
_LONGEST_WARM_UP = 1000  # Detectron2's; shorter runs warm up for a tenth of their iterations
_WARMUP_FACTOR = 0.001  # the share of the rate at which the warm-up begins, Detectron2's
_CLOSE = 0.95  # the share of the learning rate from which on a peak is not warned of
_PROBES = 2000  # iterations at which the peak is looked for


def warmup_length(max_iter: int) -> int:
    """The iterations of warm-up of a run whose config leaves them open."""
    return min(_LONGEST_WARM_UP, max_iter // 10)


def warmup_steps(
    max_iter: int,
    warmup_iters: int | None,
    drops: Sequence[float],
    warmup_factor: float = _WARMUP_FACTOR,
) -> WarmupParamScheduler:
    """Linear warm-up from `warmup_factor` of the rate, then a tenth of the rate after each of
    `drops` (shares of the run).
    """
    values = [0.1**index for index in range(len(drops) + 1)]
    milestones = [round(share * _STEPS) for share in drops]
    steps = param_scheduler.MultiStepParamScheduler(values, _STEPS, milestones)
    return _warm_up(steps, max_iter, warmup_iters, warmup_factor)


def warmup_cosine(
    max_iter: int, warmup_iters: int | None = None, end: float = 0.01
) -> WarmupParamScheduler:
    """Linear warm-up, then a cosine from 1 to `end` times the learning rate."""
    return _warm_up(param_scheduler.CosineParamScheduler(1.0, end), max_iter, warmup_iters)


def _warm_up(
    scheduler: param_scheduler.ParamScheduler,
    max_iter: int,
    warmup_iters: int | None,
    warmup_factor: float = _WARMUP_FACTOR,
) -> WarmupParamScheduler:
    if warmup_iters is None:
        warmup_iters = warmup_length(max_iter)
    if warmup_iters < 0:
        message = "this is not a number of iterations"
        expected = "a whole number from 0, or null for a tenth of the run"
        raise UserError(message, key="warmup_iters", found=warmup_iters, expected=expected)
    share_of_run = min(1.0, warmup_iters / max_iter)
    return WarmupParamScheduler(scheduler, warmup_factor, share_of_run, "linear")


def peak_learning_rate(multiplier: Callable[[float], float], max_iter: int) -> tuple[float, int]:
    """The largest share of the learning rate that a run reaches, and its iteration, from 1."""
    steps = (*range(0, max_iter, max(1, max_iter // _PROBES)), max_iter - 1)
    best = max(steps, key=lambda step: multiplier(step / max_iter))
    return multiplier(best / max_iter), best + 1


def warn_of_low_peak(
    multiplier: Callable[[float], float], max_iter: int, learning_rate: float
) -> None:
    """Warn where a run ends before it has reached its learning rate."""
    share, iteration = peak_learning_rate(multiplier, max_iter)
    if share < _CLOSE:
        log.warning(
            "the rate never reaches optimizer.lr=%g: its peak is %.3g (%.2g%%), at iteration %d of "
            "%d; train longer (train.max_iter), or warm up for a shorter time "
            "(lr_multiplier.warmup_iters=null takes a tenth of the run)",
            learning_rate,
            learning_rate * share,
            100 * share,
            iteration,
            max_iter,
        )
