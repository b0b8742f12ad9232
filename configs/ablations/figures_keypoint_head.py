"""Keypoint heads and decoders on the sample set: keypoint_head.py on two CPU cores.

python scripts/sweep.py configs/ablations/figures_keypoint_head.py \
    --output outputs/figures_keypoint_head
Not run yet. The data: see common/figures.py.
"""

from .common.figures import overrides as _figures
from .keypoint_head import sweep

sweep.update(base="../figures_keypoint.py", seeds=[0, 1])
sweep.overrides.update(_figures)
