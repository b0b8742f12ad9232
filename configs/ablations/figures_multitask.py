"""Do boxes, masks and keypoints help each other? On the sample set.

roilab sweep configs/ablations/figures_multitask.py --output outputs/figures_multitask
Results: docs/results; about four minutes a run on two cores with AMX. Data: common/figures.py.
"""

from .common.figures import on_figures
from .multitask import sweep

on_figures(sweep, "figures_mask_keypoint", seeds=[0, 1])
