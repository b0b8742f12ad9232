"""Which keypoint head and which decoder are the most exact? On the sample set.

roilab sweep configs/ablations/figures_keypoint_head.py --output outputs/figures_keypoint_head
Results: docs/results; about four minutes a run on two cores with AMX. Data: common/figures.py.
"""

from .common.figures import on_figures
from .keypoint_head import sweep

on_figures(sweep, "figures_keypoint", seeds=[0, 1])
