"""Which RoI pooler is best for masks: RoIPool, RoIWarp or RoIAlign? On the sample set.

roilab sweep configs/ablations/figures_pooler_mask.py --output outputs/figures_pooler_mask
Results: docs/results; about four minutes a run on two cores with AMX. Data: common/figures.py.
"""

from .common.figures import on_figures
from .pooler_mask import sweep

on_figures(sweep, "figures_mask", seeds=[0, 1, 2])
