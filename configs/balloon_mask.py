"""Mask R-CNN on the balloon set (VIA 1, no attributes), from scratch, on two CPU cores.

roilab train --config-file configs/balloon_mask.py data.rules.default_class=balloon
Put the set (61 and 13 images) into datasets/balloon/{train,val}, or name another place with
data.train.files, data.train.images, data.val.files and data.val.images. Its files state no class,
so the command does; a class in this config would also be that of other data.
About 15 minutes on one of two cores, in bfloat16; box AP 40.0, mask AP 47.0, the means of five
seeds (docs/results/balloon.md).
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from roilab.data.copy_paste import CopyPaste

from .common.augmentation import preset
from .small_mask import data, dataloader, evaluation, lr_multiplier, model, optimizer, pooler, train

for _split in ("train", "val"):
    _folder = f"datasets/balloon/{_split}"
    data[_split].update(files=f"{_folder}/via_region_data.json", images=_folder)

# There are few images: large changes of scale and light and balloons of other images add variety
# ("Simple Copy-Paste", arXiv 2012.07177). ablations/balloon_augmentation.py compares them.
data.augmentation = "crops"
data.augmentations.crops = preset(
    [
        L(T.ResizeScale)(min_scale=0.5, max_scale=1.6, target_height=512, target_width=512),
        L(T.FixedSizeCrop)(crop_size=[320, 320]),
        L(T.RandomFlip)(horizontal=True),
        L(T.RandomBrightness)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomContrast)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomSaturation)(intensity_min=0.7, intensity_max=1.3),
    ],
    recompute_boxes=True,
    copy_paste=L(CopyPaste)(),
)

# A picture may have dozens of balloons, also small ones.
model.roi_heads.batch_size_per_image = 64
model.proposal_generator.anchor_generator.sizes = [[24], [48], [96], [192]]

train.update(output_dir="outputs/balloon_mask", max_iter=1500)
