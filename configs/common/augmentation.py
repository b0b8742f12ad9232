"""Presets of the training's augmentation, see docs/augmentation.md.

`data.augmentation` names one, and `dataloader.train` has what it holds. A preset of your own, in a
config file: data.augmentations.mine = preset([...]); data.augmentation = "mine".
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from roilab.data.copy_paste import CopyPaste

_SIZE = "${data.augmentation_size}"


def preset(augmentations, recompute_boxes=False, copy_paste=None):
    """Arguments of the training loader (roilab.data.loaders.train_loader) under one name."""
    return dict(augmentations=augmentations, recompute_boxes=recompute_boxes, copy_paste=copy_paste)


def scaled(min_scale, max_scale):
    """The image at a random scale, 1 fits it into the square of `data.augmentation_size`."""
    scales = dict(min_scale=min_scale, max_scale=max_scale)
    return L(T.ResizeScale)(**scales, target_height=_SIZE, target_width=_SIZE)


def _square():
    """A random part of this size, or a smaller image with grey at its right and its bottom.

    A mask that is no polygon ends where the image does; by Detectron2's default, it would go on.
    """
    return L(T.FixedSizeCrop)(crop_size=[_SIZE, _SIZE], seg_pad_value=0)


def _small():
    return [
        scaled(0.5, 1.6),
        L(T.RandomRotation)(angle=[-10, 10]),  # whole: the crop takes a part of it
        _square(),
        L(T.RandomFlip)(horizontal=True),
        L(T.RandomBrightness)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomContrast)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomSaturation)(intensity_min=0.7, intensity_max=1.3),
    ]


_sides = dict(short_edge_length=[640, 672, 704, 736, 768, 800], max_size=1333)
presets = dict(
    # As Detectron2's model zoo.
    flip=preset(
        [
            L(T.ResizeShortestEdge)(**_sides, sample_style="choice"),
            L(T.RandomFlip)(horizontal=True),
        ]
    ),
    # Large-scale jitter, as Detectron2's new_baselines: for long trainings.
    lsj=preset(
        [scaled(0.1, 2.0), _square(), L(T.RandomFlip)(horizontal=True)], recompute_boxes=True
    ),
    # Less of it, with changes of light and small rotations: for few images.
    small=preset(_small(), recompute_boxes=True),
    # The same with instances of other images (Ghiasi et al., arXiv 2012.07177).
    copy_paste=preset(
        _small(),
        recompute_boxes=True,
        copy_paste=L(CopyPaste)(probability=1.0, share=0.5, min_visible=0.1),
    ),
)
