"""Keypoints with each RoI pooler on the sample set: pooler_keypoint.py on two CPU cores.

python scripts/sweep.py configs/ablations/figures_pooler_keypoint.py \
    --output outputs/figures_pooler_keypoint
Not run yet. The data: see common/figures.py.
"""

from .common.figures import overrides as _figures
from .pooler_keypoint import sweep

sweep.update(base="../figures_keypoint.py", seeds=[0, 1, 2])
sweep.overrides.update(_figures)
