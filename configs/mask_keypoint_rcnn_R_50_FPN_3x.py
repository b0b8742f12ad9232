"""Mask and Keypoint R-CNN, R50-FPN, 3x: 270,000 iterations of 16 images of COCO.

roilab train --config-file configs/mask_keypoint_rcnn_R_50_FPN_3x.py --num-gpus 8
Not run here. The paper has mask AP 45.1, keypoint AP 64.7 for persons with R50 (Table 5).
"""

from .common.schedule import lr_3x as lr_multiplier
from .mask_keypoint_rcnn_R_50_FPN_1x import (
    data,
    dataloader,
    evaluation,
    model,
    optimizer,
    pooler,
    train,
    weights,
)

train.update(max_iter=270000, output_dir="outputs/mask_keypoint_rcnn_R_50_FPN_3x")
