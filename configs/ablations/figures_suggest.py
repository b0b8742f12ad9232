"""Is the config that fits the sample set better than its base? On scenes of 128 pixels.

roilab figures --out datasets/figures_128 --size 128 --train 1600 --val 256
roilab sweep configs/ablations/figures_suggest.py --output outputs/figures_suggest
Not run yet. The second arm is what roilab config suggest writes for this set: docs/suggest.md. The
base enlarges the images to 512 pixels.
"""

_folder = "datasets/figures_128"

sweep = dict(
    base="../small_mask_keypoint.py",
    overrides={
        "data.skeleton": f"{_folder}/skeleton.json",
        "data.train.files": f"{_folder}/train/via_project.json",
        "data.train.images": f"{_folder}/train",
        "data.val.files": f"{_folder}/val/via_project.json",
        "data.val.images": f"{_folder}/val",
    },
    arms={
        "small_mask_keypoint": {},
        "suggested": {
            "data.augmentation_size": 128,
            "dataloader.test.augmentations.0.short_edge_length": 128,
            "dataloader.test.augmentations.0.max_size": 128,
            "train.max_iter": 3000,
        },
    },
    baseline="small_mask_keypoint",
    seeds=[0, 1],
    metrics=["bbox/AP", "segm/AP", "keypoints/AP"],
)
