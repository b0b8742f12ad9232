"""Mask and Keypoint R-CNN, R101-FPN, 3x: 270,000 iterations of 16 images of COCO.

roilab train --config-file configs/mask_keypoint_rcnn_R_101_FPN_3x.py --num-gpus 8
Not run here, and without a published figure.
"""

from .common.schedule import lr_3x as lr_multiplier
from .mask_keypoint_rcnn_R_101_FPN_1x import (
    data,
    dataloader,
    evaluation,
    model,
    optimizer,
    pooler,
    train,
    weights,
)

train.update(max_iter=270000, output_dir="outputs/mask_keypoint_rcnn_R_101_FPN_3x")
