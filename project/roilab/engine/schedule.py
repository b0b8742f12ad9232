"""Learning-rate schedules for small data, with the warm-up in iterations."""

from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler, ParamScheduler


def warmup_cosine(max_iter: int, warmup_iters: int, end: float = 0.01) -> ParamScheduler:
    """Linear warm-up, then a cosine from 1 to `end` times the learning rate.

    Detectron2 states the warm-up as a fraction of its 90,000 iterations, of which a short schedule
    leaves only a few.
    """
    return WarmupParamScheduler(
        CosineParamScheduler(1.0, end),
        warmup_factor=0.001,
        warmup_length=min(1.0, warmup_iters / max_iter),
        warmup_method="linear",
    )
