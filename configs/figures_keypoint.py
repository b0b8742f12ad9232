"""Keypoints on the sample set, from scratch, on two CPU cores.

roilab train --config-file configs/figures_keypoint.py
Not run at full length; `make demo` runs figures_mask_keypoint.py.
"""

from .common.small import small_keypoint_rcnn as model
from .figures_mask import data, dataloader, evaluation, lr_multiplier, optimizer, pooler, train

data.skeleton = "coco_person"
train.output_dir = "outputs/figures_keypoint"
