"""Losses of the mask head on the sample set: mask_loss.py on two CPU cores.

python scripts/sweep.py configs/ablations/figures_mask_loss.py --output outputs/figures_mask_loss
Not run yet. The data: see common/figures.py.
"""

from .common.figures import overrides as _figures
from .mask_loss import sweep

sweep.update(base="../figures_mask.py", seeds=[0, 1])
sweep.overrides.update(_figures)
