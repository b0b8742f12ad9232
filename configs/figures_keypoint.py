"""Keypoints on the sample set, from scratch, on two CPU cores.

python scripts/train.py --config-file configs/figures_keypoint.py
Not run at full length; figures_mask_keypoint.py is what `make demo` runs.
"""

from .common.figures import data, dataloader, lr_multiplier, optimizer, train
from .common.small import pooler
from .common.small import small_keypoint_rcnn as model

data.skeleton = "coco_person"
dataloader.train.keypoints = True
train.output_dir = "outputs/figures_keypoint"
