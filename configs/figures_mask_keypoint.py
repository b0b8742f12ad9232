"""Masks and keypoints on the sample set, from scratch, on two CPU cores."""

import detectron2.data.transforms as T
import torch
from detectron2.config import LazyCall as L
from detectron2.solver.build import get_default_optimizer_params

from roilab.engine.schedule import warmup_cosine

from .common.data import data, dataloader
from .common.small import pooler
from .common.small import small_mask_keypoint_rcnn as model
from .common.train import train

data.train.update(files="datasets/figures/train/via_project.json", images="datasets/figures/train")
data.val.update(files="datasets/figures/val/via_project.json", images="datasets/figures/val")
data.update(
    class_attribute="class",
    keypoint_attribute="keypoint",
    instance_attribute="instance",
    visibility_attribute="visibility",
    skeleton="coco_person",
)

dataloader.train.update(
    augmentations=[L(T.RandomFlip)(horizontal=True)],
    total_batch_size=8,
    masks=True,
    keypoints=True,
    num_workers=1,
)
dataloader.test.update(augmentations=[], num_workers=1)

optimizer = L(torch.optim.AdamW)(
    params=L(get_default_optimizer_params)(base_lr="${..lr}", weight_decay_norm=0.0),
    lr=1e-3,
    weight_decay=0.05,
)
lr_multiplier = L(warmup_cosine)(max_iter="${train.max_iter}", warmup_iters=100)

train.update(
    output_dir="outputs/figures_mask_keypoint",
    init_checkpoint="",
    max_iter=1200,
    precision="auto",
    clip_norm=1.0,
    eval_period=0,
    checkpoint_period=200,
)
