"""Masks with each RoI pooler on the sample set: pooler_mask.py on two CPU cores.

python scripts/sweep.py configs/ablations/figures_pooler_mask.py \
    --output outputs/figures_pooler_mask
Not run yet. The data: see common/figures.py.
"""

from .common.figures import overrides as _figures
from .pooler_mask import sweep

sweep.update(base="../figures_mask.py", seeds=[0, 1, 2])
sweep.overrides.update(_figures)
