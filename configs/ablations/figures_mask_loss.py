"""Should classes compete for the pixels of a mask: softmax or sigmoids? On the sample set.

roilab sweep configs/ablations/figures_mask_loss.py --output outputs/figures_mask_loss
Not run yet. Data: common/figures.py.
"""

from .common.figures import on_figures
from .mask_loss import sweep

on_figures(sweep, "figures_mask", seeds=[0, 1])
