"""Do masks need a head with a layout in space, convolutions or layers? On the sample set.

roilab sweep configs/ablations/figures_mask_branch.py \
    --output outputs/figures_mask_branch
Not run yet. The data: see common/figures.py.
"""

from .common.figures import overrides as _figures
from .mask_branch import sweep

sweep.update(base="../figures_mask.py", seeds=[0, 1])
sweep.overrides.update(_figures)
