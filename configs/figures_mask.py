"""Masks on the sample set, from scratch, on two CPU cores.

roilab train --config-file configs/figures_mask.py
Not run at full length; `make demo` runs figures_mask_keypoint.py.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .small_mask import data, dataloader, evaluation, lr_multiplier, model, optimizer, pooler, train

# `roilab figures --out datasets/figures`; the files declare the roles of their attributes.
for _split in ("train", "val"):
    _folder = f"datasets/figures/{_split}"
    data[_split].update(files=f"{_folder}/via_project.json", images=_folder)

# The images are small, and look alike.
data.update(augmentation="flip", augmentation_size=256)
data.augmentations.flip.augmentations = [L(T.RandomFlip)(horizontal=True)]
dataloader.train.total_batch_size = 8
dataloader.test.augmentations = []
train.update(lr_batch_size=8, max_iter=500, checkpoint_period=100)
train.output_dir = "outputs/figures_mask"
