"""Mask R-CNN, R101-FPN, 3x: 270,000 iterations of 16 images of COCO.

roilab train --config-file configs/mask_rcnn_R_101_FPN_3x.py --num-gpus 8
Not run here. Detectron2's model zoo has box AP 42.9, mask AP 38.6 (8 V100).
"""

from .common.schedule import lr_3x as lr_multiplier
from .mask_rcnn_R_101_FPN_1x import (
    data,
    dataloader,
    evaluation,
    model,
    optimizer,
    pooler,
    train,
    weights,
)

train.update(max_iter=270000, output_dir="outputs/mask_rcnn_R_101_FPN_3x")
