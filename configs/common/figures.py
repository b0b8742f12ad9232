"""The sample set (`python scripts/make_figures.py --out datasets/figures`) on two CPU cores."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .data import data, dataloader
from .small import lr_multiplier, optimizer
from .train import train

data.train.update(files="datasets/figures/train/via_project.json", images="datasets/figures/train")
data.val.update(files="datasets/figures/val/via_project.json", images="datasets/figures/val")
data.update(
    class_attribute="class",
    keypoint_attribute="keypoint",
    instance_attribute="instance",
    visibility_attribute="visibility",
)

dataloader.train.update(
    augmentations=[L(T.RandomFlip)(horizontal=True)], total_batch_size=8, num_workers=1
)
dataloader.test.update(augmentations=[], num_workers=1)

train.update(
    init_checkpoint="",
    lr_batch_size=8,
    max_iter=500,
    clip_norm=1.0,
    eval_period=0,
    checkpoint_period=100,
)
