"""Detectron2's optimizer, and its 1x and 3x schedules (12 and 36 epochs of COCO)."""

from detectron2.config import LazyCall as L

from roilab.engine.config import upstream
from roilab.engine.schedule import warmup_steps

optimizer = upstream("common/optim.py").SGD
optimizer.fused = True  # one kernel for all parameters

# A warm-up of 1,000 iterations, at most a tenth of the run; lr_multiplier.warmup_iters=N sets it.
lr_1x = L(warmup_steps)(max_iter="${train.max_iter}", warmup_iters=None, drops=[2 / 3, 8 / 9])
# The drops come 60,000 and 20,000 iterations before the end ("Rethinking ImageNet Pre-training").
lr_3x = L(warmup_steps)(max_iter="${train.max_iter}", warmup_iters=None, drops=[7 / 9, 25 / 27])
