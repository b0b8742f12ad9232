"""Which RoI pooler is best for masks: RoIPool, RoIWarp or RoIAlign? On the sample set.

roilab sweep configs/ablations/figures_pooler_mask.py \
    --output outputs/figures_pooler_mask
Results: docs/results; some four minutes a run on two cores with AMX. Data: common/figures.py.
"""

from .common.figures import overrides as _figures
from .pooler_mask import sweep

sweep.update(base="../figures_mask.py", seeds=[0, 1, 2])
sweep.overrides.update(_figures)
