"""Detectron2's optimizer and its 1x and 3x schedules; `train.schedule` selects one of them."""

from detectron2.config import LazyCall as L

from roilab.engine.config import upstream
from roilab.engine.schedule import warmup_steps

optimizer = upstream("common/optim.py").SGD
optimizer.fused = True  # one kernel for all parameters

# A warm-up of 1,000 iterations, at most a tenth of the run; lr_multiplier.warmup_iters=N sets it.
_drops = "${train.schedules.${train.schedule}.drops}"
lr_multiplier = L(warmup_steps)(max_iter="${train.max_iter}", warmup_iters=None, drops=_drops)
