"""A small ResNet-FPN R-CNN that two CPU cores train from scratch in minutes.

All norms are GroupNorm, since batches are small and no pretrained statistics exist ("Rethinking
ImageNet Pre-training", arXiv 1811.08883).
"""

import torch
from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import BasicStem, ResNet
from detectron2.modeling.backbone.resnet import BasicBlock
from detectron2.solver.build import get_default_optimizer_params

from roilab.engine.schedule import warmup_cosine

from .models import keypoint_rcnn, mask_keypoint_rcnn, mask_rcnn, pooler

NORM = "GN"
WIDTHS = (64, 96, 160, 256)  # of the stages at strides 4, 8, 16, 32
CHANNELS = 96  # of the pyramid and the heads

# One sample a cell: small objects have about one feature a cell, and RoIAlign's backward, which
# runs on one core, costs as much as its samples (30% of a step with the adaptive number, 13% so).
pooler.sampling_ratio = 1


def _stage(in_channels, out_channels, stride):
    blocks = dict(block_class=BasicBlock, num_blocks=2, stride_per_block=[stride, 1], norm=NORM)
    return L(ResNet.make_stage)(in_channels=in_channels, out_channels=out_channels, **blocks)


def _small(model):
    model = model.copy()
    model.backbone.bottom_up = L(ResNet)(
        stem=L(BasicStem)(in_channels=3, out_channels=WIDTHS[0], norm=NORM),
        stages=[
            _stage(WIDTHS[0], WIDTHS[0], stride=1),
            _stage(WIDTHS[0], WIDTHS[1], stride=2),
            _stage(WIDTHS[1], WIDTHS[2], stride=2),
            _stage(WIDTHS[2], WIDTHS[3], stride=2),
        ],
        out_features=["res2", "res3", "res4", "res5"],
    )
    model.backbone.update(out_channels=CHANNELS, norm=NORM)
    rpn = model.proposal_generator
    rpn.head.in_channels = CHANNELS
    # Small pictures hold no objects that need the finest level's anchors, the costliest of all.
    rpn.in_features = ["p3", "p4", "p5", "p6"]
    rpn.anchor_generator.update(sizes=[[32], [64], [128], [256]], strides=[8, 16, 32, 64])
    rpn.update(batch_size_per_image=128, pre_nms_topk=(400, 400), post_nms_topk=(200, 100))
    heads = model.roi_heads
    heads.batch_size_per_image = 32
    heads.box_head.input_shape.channels = CHANNELS
    heads.box_head.fc_dims = [512]
    heads.box_predictor.input_shape.channels = 512
    for head in heads.keys() & {"mask_head", "keypoint_head"}:
        heads[head].input_shape.channels = CHANNELS
        heads[head].conv_dims = [CHANNELS] * 4
    return model


small_mask_rcnn = _small(mask_rcnn)
small_keypoint_rcnn = _small(keypoint_rcnn)
small_mask_keypoint_rcnn = _small(mask_keypoint_rcnn)

optimizer = L(torch.optim.AdamW)(
    params=L(get_default_optimizer_params)(base_lr="${..lr}", weight_decay_norm=0.0),
    lr=1e-3,
    weight_decay=0.05,
    fused=True,  # one kernel for all parameters
)
# A warm-up over a tenth of the run, at most 1,000 iterations; lr_multiplier.warmup_iters=N sets it.
lr_multiplier = L(warmup_cosine)(max_iter="${train.max_iter}", warmup_iters=None)
