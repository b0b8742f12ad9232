"""Is the config that fits the balloon set better than its base? On photographs, from scratch.

roilab sweep configs/ablations/balloon_suggest.py --output outputs/balloon_suggest \
    data.rules.default_class=balloon
Not run yet. The second arm is what roilab config suggest writes for this set: docs/suggest.md.
"""

_splits = {
    split: {
        f"data.{split}.files": f"datasets/balloon/{split}/via_region_data.json",
        f"data.{split}.images": f"datasets/balloon/{split}",
    }
    for split in ("train", "val")
}

sweep = dict(
    base="../small_mask.py",
    overrides={**_splits["train"], **_splits["val"]},
    arms={
        "small_mask": {},
        "suggested": {"data.augmentation": "copy_paste", "train.max_iter": 1520},
    },
    baseline="small_mask",
    metrics=["segm/AP", "segm/AP50", "bbox/AP"],
)
