"""Mask R-CNN, R101-FPN: 16 images of COCO a step, 90,000 (1x) or 270,000 (3x) steps.

roilab train --config-file configs/mask_rcnn_R_101_FPN_1x.py --num-gpus 8
Not run here. Detectron2's model zoo reports, for 3x only, box AP 42.9, mask AP 38.6 (8 V100).
"""

from .mask_rcnn_R_50_FPN_1x import (
    data,
    dataloader,
    evaluation,
    lr_multiplier,
    model,
    optimizer,
    pooler,
    train,
    weights,
)

model.backbone.bottom_up.stages.depth = 101
_zoo = "detectron2://COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x/138205316"
weights.coco.file = f"{_zoo}/model_final_a3ec72.pkl"
del weights["torchvision"]  # torchvision has only R50
train.output_dir = "outputs/mask_rcnn_R_101_FPN_${train.schedule}"
