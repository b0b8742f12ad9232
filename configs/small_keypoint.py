"""Keypoint R-CNN for your own images, from scratch, on two CPU cores.

roilab train --config-file configs/small_keypoint.py train.output_dir=outputs/mine \
    data.skeleton=SKELETON.json \
    data.train.files=TRAIN.json data.train.images=DIR data.val.files=VAL.json data.val.images=DIR
The skeleton is coco_person or a file that `roilab data skeleton` proposes. Not run at full length.
"""

from .common.small import small_keypoint_rcnn as model
from .small_mask import data, dataloader, evaluation, lr_multiplier, optimizer, pooler, train

train.output_dir = "outputs/small_keypoint"
