"""Ablations on the sample set, scenes of 128 pixels: a run takes minutes on two cores.

roilab figures --out datasets/figures_128 --size 128 --train 1600 --val 256
"""

_rpn = "model.proposal_generator"

_overrides = {
    "data.train.files": "datasets/figures_128/train/via_project.json",
    "data.train.images": "datasets/figures_128/train",
    "data.val.files": "datasets/figures_128/val/via_project.json",
    "data.val.images": "datasets/figures_128/val",
    # Objects have sides of 25 to 78 pixels (5% and 95%), half as large as in 256-pixel scenes.
    # 99.8% of them overlap one of these anchors by half, 96% one of the base config's anchors.
    f"{_rpn}.in_features": ["p2", "p3", "p4"],
    f"{_rpn}.anchor_generator.sizes": [[24], [48], [96]],
    f"{_rpn}.anchor_generator.strides": [4, 8, 16],
    "train.max_iter": 500,
    "train.log_period": 20,
    "train.eval_period": 0,
    "train.checkpoint_period": 250,
}


def on_figures(sweep, base, *, seeds, **changes):
    """Turn an ablation into its twin on the sample set.

    Args:
        base: the config that all arms share, such as figures_mask.
        changes: new values of the sweep; `overrides` are added to those of the ablation.
    """
    own = sweep.get("overrides", {})
    more = changes.pop("overrides", {})
    sweep.update(base=f"../{base}.py", seeds=list(seeds), **changes)
    sweep["overrides"] = {**own, **_overrides, **more}
