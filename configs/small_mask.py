"""Mask R-CNN for your own images, from scratch, on two CPU cores.

roilab train --config-file configs/small_mask.py train.output_dir=outputs/mine \
    data.train.files=TRAIN.json data.train.images=DIR data.val.files=VAL.json data.val.images=DIR
Images are scaled to at most 512 pixels. Not run at full length: the AP depends on the data.
balloon_mask.py, which differs in its augmentations, has mask AP 28.7 from 61 images.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .common.data import data, dataloader
from .common.small import lr_multiplier, optimizer, pooler
from .common.small import small_mask_rcnn as model
from .common.train import evaluation, train

# The command line names the data.
data.train.update(files=None, images=None)
data.val.update(files=None, images=None)

dataloader.train.update(
    augmentations=[
        L(T.ResizeScale)(min_scale=0.6, max_scale=1.0, target_height=512, target_width=512),
        L(T.RandomFlip)(horizontal=True),
        L(T.RandomBrightness)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomContrast)(intensity_min=0.7, intensity_max=1.3),
    ],
    total_batch_size=4,
    num_workers=1,
)
dataloader.test.num_workers = 1
dataloader.test.augmentations = [L(T.ResizeShortestEdge)(short_edge_length=512, max_size=512)]

# The learning rate follows a cosine.
del train["schedule"], train["schedules"]
train.update(output_dir="outputs/small_mask", init_checkpoint="", lr_batch_size=4, clip_norm=1.0)
train.update(max_iter=1000, eval_period=0, checkpoint_period=500)
