"""Which augmentation is best for the 61 training images of the balloon set? By cross-validation.

roilab data split datasets/balloon/train/via_region_data.json --default-class balloon --folds 5 \
    --output datasets/balloon/folds
roilab sweep configs/ablations/balloon_augmentation.py --output outputs/balloon_augmentation \
    data.rules.default_class=balloon
All arms train for 1,500 iterations of four crops of 320 pixels, whose scale 1 is an image of 512
pixels; the 13 validation images of the set are not used. Copy-paste gains 13.2 mask AP, 10.3 to
16.1 (docs/results/balloon.md).
"""

_images = "datasets/balloon/train"
_copy_paste = "data.augmentations.crops.copy_paste"


sweep = dict(
    base="../balloon_mask.py",
    overrides={
        "data.train.images": _images,
        "data.val.images": _images,
        "train.max_iter": 1500,
    },
    folds=[
        {
            f"data.{split}.files": f"datasets/balloon/folds/fold_{fold}/{split}.json"
            for split in ("train", "val")
        }
        for fold in range(5)
    ],
    arms={
        "crops": {_copy_paste: None},  # changes of scale and light
        "with copy-paste": {
            _copy_paste: {"_target_": "roilab.data.copy_paste.CopyPaste", "probability": 1.0}
        },
    },
    baseline="crops",
    metrics=["segm/AP", "segm/AP50", "bbox/AP"],
)
