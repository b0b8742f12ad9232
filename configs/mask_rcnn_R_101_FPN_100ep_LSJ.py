"""Mask R-CNN, R101-FPN, from scratch with large-scale jitter: 64 images of COCO a step, 100 epochs.

roilab train --config-file configs/mask_rcnn_R_101_FPN_100ep_LSJ.py --num-gpus 8
Not run here. Detectron2's model zoo reports box AP 46.4, mask AP 41.6.
"""

from .mask_rcnn_R_50_FPN_100ep_LSJ import (
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
_folder = "detectron2://new_baselines/mask_rcnn_R_101_FPN_100ep_LSJ/42025812"
weights.coco.file = f"{_folder}/model_final_4f7b58.pkl"
train.output_dir = "outputs/mask_rcnn_R_101_FPN_100ep_LSJ"
