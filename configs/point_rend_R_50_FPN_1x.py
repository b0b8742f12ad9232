"""Mask R-CNN with PointRend's mask head, R50-FPN: 16 images of COCO a step, 90,000 steps (1x).

roilab train --config-file configs/point_rend_R_50_FPN_1x.py --num-gpus 8
Not run here. Detectron2's PointRend project reports mask AP 36.2 (35.2 with the stock head).
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec

from roilab.modeling import point_rend

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

# The head reads the finest feature map itself.
model.roi_heads.update(
    mask_in_features=["p2"],
    mask_pooler=None,
    mask_head=L(point_rend)(
        input_shape={"p2": ShapeSpec(channels=256, stride=4)}, num_classes="${..num_classes}"
    ),
)
for _name in ("coco", "torchvision"):
    weights[_name].may_differ = ["roi_heads.box_predictor.*", "roi_heads.mask_head.*"]
train.output_dir = "outputs/point_rend_R_50_FPN_${train.schedule}"
