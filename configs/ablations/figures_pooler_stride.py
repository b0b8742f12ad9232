"""Does RoIAlign make coarse features usable, which RoIPool is not for? On the sample set.

roilab sweep configs/ablations/figures_pooler_stride.py \
    --output outputs/figures_pooler_stride
Not run yet. The data: see common/figures.py.
"""

from .common.figures import overrides as _figures
from .pooler_stride import only, sweep

sweep.update(base="../figures_mask.py", seeds=[0, 1])
# Objects are small: with half their median side, 46 pixels, p5 is one cell, p4 nearly three.
sweep.overrides.update({**_figures, **only("p4", 16)})
