"""Mask R-CNN for your own images, from scratch, on two CPU cores.

roilab train --config-file configs/small_mask.py train.output_dir=outputs/mine \
    data.train.files=TRAIN.json data.train.images=DIR data.val.files=VAL.json data.val.images=DIR
Images are scaled to at most 512 pixels. Not run at full length: the AP depends on the data.
balloon_mask.py, which differs in its augmentations, has mask AP 47.0 from 61 images.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .common.augmentation import preset, scaled
from .common.data import data, dataloader
from .common.small import lr_multiplier, optimizer, pooler
from .common.small import small_mask_rcnn as model
from .common.train import evaluation, train

# The command line names the data.
data.train.update(files=None, images=None)
data.val.update(files=None, images=None)

data.update(augmentation="mild", augmentation_size=512)
data.augmentations.mild = preset(
    [
        scaled(0.6, 1.0),
        L(T.RandomFlip)(horizontal=True),
        L(T.RandomBrightness)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomContrast)(intensity_min=0.7, intensity_max=1.3),
    ]
)
_resize = L(T.ResizeShortestEdge)(short_edge_length=512, max_size=512)
data.augmentations.flip.augmentations = [_resize, L(T.RandomFlip)(horizontal=True)]
dataloader.train.update(total_batch_size=4, num_workers=1)
dataloader.test.update(augmentations=[_resize], num_workers=1)

# The learning rate follows a cosine.
del train["schedule"], train["schedules"]
train.update(output_dir="outputs/small_mask", init_checkpoint="", lr_batch_size=4, clip_norm=1.0)
train.update(max_iter=1000, eval_period=0, checkpoint_period=500)
