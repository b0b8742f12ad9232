"""Mask R-CNN on the balloon set (VIA 1, no attributes), from scratch, on two CPU cores.

python scripts/train.py --config-file configs/balloon_mask.py
The set (61 and 13 images) belongs in datasets/balloon/{train,val}, or wherever you say with
data.train.files, data.train.images, data.val.files and data.val.images.
About 11 minutes on two cores with AMX; box AP 26.3, mask AP 28.7 (docs/results/balloon.md).
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .common.data import data, dataloader
from .common.small import lr_multiplier, optimizer, pooler
from .common.small import small_mask_rcnn as model
from .common.train import train

data.default_class = "balloon"
data.train.files = "datasets/balloon/train/via_region_data.json"
data.train.images = "datasets/balloon/train"
data.val.files = "datasets/balloon/val/via_region_data.json"
data.val.images = "datasets/balloon/val"

# Few images: large changes of scale and light make them go further (large-scale jitter, "Simple
# Copy-Paste", arXiv 2012.07177).
dataloader.train.update(
    augmentations=[
        L(T.ResizeScale)(min_scale=0.5, max_scale=1.6, target_height=512, target_width=512),
        L(T.FixedSizeCrop)(crop_size=[320, 320]),
        L(T.RandomFlip)(horizontal=True),
        L(T.RandomBrightness)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomContrast)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomSaturation)(intensity_min=0.7, intensity_max=1.3),
    ],
    total_batch_size=4,
    masks=True,
    recompute_boxes=True,
    num_workers=1,
)
dataloader.test.update(
    augmentations=[L(T.ResizeShortestEdge)(short_edge_length=512, max_size=512)], num_workers=1
)

# Up to dozens of balloons in a picture, and small ones.
model.roi_heads.batch_size_per_image = 64
model.proposal_generator.anchor_generator.sizes = [[24], [48], [96], [192]]

train.update(
    output_dir="outputs/balloon_mask",
    init_checkpoint="",
    lr_batch_size=4,
    max_iter=1100,
    clip_norm=1.0,
    eval_period=0,
    checkpoint_period=500,
)
