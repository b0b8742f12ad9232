"""Mask and Keypoint R-CNN, R50-FPN: 16 images of COCO a step, 90,000 (1x) or 270,000 (3x) steps.

roilab train --config-file configs/mask_keypoint_rcnn_R_50_FPN_1x.py --num-gpus 8
Not run here. The paper reports mask AP 45.1, keypoint AP 64.7 for persons with R50 (Table 5).
"""

from .common.models import mask_keypoint_rcnn as model
from .keypoint_rcnn_R_50_FPN_1x import (
    data,
    dataloader,
    evaluation,
    lr_multiplier,
    optimizer,
    pooler,
    train,
    weights,
)

model.backbone.bottom_up.freeze_at = 2
for _name in ("coco", "torchvision"):  # neither has a model with both heads
    weights[_name].may_differ.append("roi_heads.mask_head.*")
train.output_dir = "outputs/mask_keypoint_rcnn_R_50_FPN_${train.schedule}"
