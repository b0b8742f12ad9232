"""Which augmentation improves boxes, masks and keypoints? On the sample set.

roilab sweep configs/ablations/figures_augmentation.py --output outputs/figures_augmentation
Not run yet. Data: common/figures.py; the presets: ../common/augmentation.py.
"""

from .common.figures import on_figures

_copy_paste = {"_target_": "roilab.data.copy_paste.CopyPaste"}
sweep = dict(
    arms={
        "flip": {},
        "large-scale jitter": {"data.augmentation": "lsj"},
        "small": {"data.augmentation": "small"},
        "copy-paste": {"data.augmentations.flip.copy_paste": _copy_paste},
        "small and copy-paste": {"data.augmentation": "copy_paste"},
    },
    baseline="flip",
    metrics=["bbox/AP", "segm/AP", "keypoints/AP"],
)
_size = {"data.augmentation_size": 128}
on_figures(sweep, "figures_mask_keypoint", seeds=[0, 1, 2], overrides=_size)
