"""Masks on the sample set, from scratch, on two CPU cores.

python scripts/train.py --config-file configs/figures_mask.py
Not run at full length; figures_mask_keypoint.py is what `make demo` runs.
"""

from .common.figures import data, dataloader, lr_multiplier, optimizer, train
from .common.small import pooler
from .common.small import small_mask_rcnn as model

dataloader.train.masks = True
train.output_dir = "outputs/figures_mask"
