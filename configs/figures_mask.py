"""Masks on the sample set, from scratch, on two CPU cores.

roilab train --config-file configs/figures_mask.py
Not run at full length; `make demo` runs figures_mask_keypoint.py.
"""

from .common.figures import use_figures
from .small_mask import data, dataloader, evaluation, lr_multiplier, model, optimizer, pooler, train

use_figures(data, dataloader, train)
train.output_dir = "outputs/figures_mask"
