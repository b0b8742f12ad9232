"""Are coarse features usable with RoIAlign, and with RoIPool? On the sample set.

roilab sweep configs/ablations/figures_pooler_stride.py --output outputs/figures_pooler_stride
Not run yet. Data: common/figures.py.
"""

from .common.figures import on_figures
from .pooler_stride import only, sweep

# Objects are small: with half their median side, 46 pixels, p5 is one cell, p4 nearly three.
on_figures(sweep, "figures_mask", seeds=[0, 1], overrides=only("p4", 16))
