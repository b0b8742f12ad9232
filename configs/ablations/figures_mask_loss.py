"""Should classes compete for a mask's pixels, a softmax or sigmoids? On the sample set.

roilab sweep configs/ablations/figures_mask_loss.py --output outputs/figures_mask_loss
Not run yet. The data: see common/figures.py.
"""

from .common.figures import overrides as _figures
from .mask_loss import sweep

sweep.update(base="../figures_mask.py", seeds=[0, 1])
sweep.overrides.update(_figures)
