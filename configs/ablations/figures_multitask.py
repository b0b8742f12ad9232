"""Boxes, masks and keypoints alone and together on the sample set: multitask.py on two CPU cores.

python scripts/sweep.py configs/ablations/figures_multitask.py --output outputs/figures_multitask
Not run yet. The data: see common/figures.py.
"""

from .common.figures import overrides as _figures
from .multitask import sweep

sweep.update(base="../figures_mask_keypoint.py", seeds=[0, 1])
sweep.overrides.update(_figures)
