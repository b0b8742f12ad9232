"""Do keypoints need RoIAlign, or is RoIPool enough? On the sample set.

roilab sweep configs/ablations/figures_pooler_keypoint.py --output outputs/figures_pooler_keypoint
Results: docs/results; about four minutes a run on two cores with AMX. Data: common/figures.py.
"""

from .common.figures import on_figures
from .pooler_keypoint import sweep

on_figures(sweep, "figures_keypoint", seeds=[0, 1, 2])
