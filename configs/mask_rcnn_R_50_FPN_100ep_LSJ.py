"""Mask R-CNN, R50-FPN, from scratch with large-scale jitter: 64 images of COCO a step, 100 epochs.

roilab train --config-file configs/mask_rcnn_R_50_FPN_100ep_LSJ.py --num-gpus 8
Not run here. Detectron2's model zoo reports box AP 44.6, mask AP 40.3 for this recipe of its
new_baselines, which is that of "Simple Copy-Paste" (arXiv 2012.07177) without the copies.
"""

from .common.train import zoo
from .mask_rcnn_R_50_FPN_1x import (
    data,
    dataloader,
    evaluation,
    lr_multiplier,
    model,
    optimizer,
    pooler,
    train,
)

# Nothing is frozen, and batches are normalized over all processes; heads may see an empty batch.
model.backbone.bottom_up.freeze_at = 0
model.backbone.bottom_up.stem.norm = model.backbone.bottom_up.stages.norm = "SyncBN"
model.backbone.norm = "SyncBN"
model.roi_heads.box_head.conv_norm = model.roi_heads.mask_head.conv_norm = "naiveSyncBN_N"
# Two layers with as many channels as their input.
model.proposal_generator.head.conv_dims = [-1, -1]
model.roi_heads.box_head.update(conv_dims=[256, 256, 256, 256], fc_dims=[1024])

data.augmentation = "lsj"
dataloader.train.total_batch_size = 64

# The drops are after 163,889 and 177,546 iterations.
train.schedules = {"100ep": dict(max_iter=184375, drops=[8 / 9, 0.96296])}
train.update(schedule="100ep", init_checkpoint="", lr_batch_size=64)
lr_multiplier.update(warmup_iters=500, warmup_factor=0.067)
optimizer.update(lr=0.1, weight_decay=4e-5)

_folder = "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ/42047764"
weights = dict(coco=zoo(f"{_folder}/model_final_bb69de.pkl"))
train.output_dir = "outputs/mask_rcnn_R_50_FPN_100ep_LSJ"
