"""Which augmentation is best for the 61 training images of the balloon set? By cross-validation.

roilab data split datasets/balloon/train/via_region_data.json --default-class balloon --folds 5 \
    --output datasets/balloon/folds
roilab sweep configs/ablations/balloon_augmentation.py --output outputs/balloon_augmentation \
    data.rules.default_class=balloon
Not run yet. All arms train for 1,500 iterations of four crops of 320 pixels, whose scale 1 is an
image of 512 pixels; the 13 validation images of the set are not used.
"""

_images = "datasets/balloon/train"
_crops = "data.augmentations.crops"
_copy_paste = {"_target_": "roilab.data.copy_paste.CopyPaste"}
_always = {f"{_crops}.copy_paste": {**_copy_paste, "probability": 1.0}}
# Brightness, contrast and saturation, from grey to twice as colourful: balloons have any colour.
_stronger_light = {
    f"{_crops}.augmentations.{place}.intensity_{end}": value
    for place, ends in ((3, (0.5, 1.5)), (4, (0.5, 1.5)), (5, (0.0, 2.0)))
    for end, value in zip(("min", "max"), ends, strict=True)
}


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
        "crops": {},  # balloon_mask as it is: changes of scale and light
        "copy-paste": {f"{_crops}.copy_paste": _copy_paste},
        "copy-paste always": _always,
        "copy-paste always, stronger light": {**_always, **_stronger_light},
    },
    baseline="crops",
    metrics=["segm/AP", "segm/AP50", "bbox/AP"],
)
