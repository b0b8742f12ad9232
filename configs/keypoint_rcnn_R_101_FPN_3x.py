"""Keypoint R-CNN, R101-FPN, 3x: 270,000 iterations of 16 images of COCO.

roilab train --config-file configs/keypoint_rcnn_R_101_FPN_3x.py --num-gpus 8
Not run here. Detectron2's model zoo has box AP 56.4, keypoint AP 66.1 (8 V100).
"""

from .common.schedule import lr_3x as lr_multiplier
from .keypoint_rcnn_R_101_FPN_1x import (
    data,
    dataloader,
    evaluation,
    model,
    optimizer,
    pooler,
    train,
    weights,
)

train.update(max_iter=270000, output_dir="outputs/keypoint_rcnn_R_101_FPN_3x")
