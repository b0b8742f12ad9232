"""Do masks need convolutions, or are fully connected layers enough? On the sample set.

roilab sweep configs/ablations/figures_mask_branch.py --output outputs/figures_mask_branch
Not run yet. Data: common/figures.py.
"""

from .common.figures import on_figures
from .mask_branch import sweep

on_figures(sweep, "figures_mask", seeds=[0, 1])
