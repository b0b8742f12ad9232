"""Gain of RoIAlign on coarse features, of stride 32: Table 2d of Mask R-CNN, with FPN.

roilab sweep configs/ablations/pooler_stride.py --output outputs/pooler_stride
Not run yet. The proposals come from all levels of the pyramid, boxes and masks from p5 alone.
"""


def only(level, stride):
    """Let boxes and masks read one level of the pyramid."""
    return {
        f"model.roi_heads.{task}_{key}": [value]
        for task in ("box", "mask")
        for key, value in (("in_features", level), ("pooler.scales", 1 / stride))
    }


_metrics = ["segm/AP", "segm/AP50", "segm/AP75", "bbox/AP", "bbox/AP50", "bbox/AP75"]
sweep = dict(
    base="../mask_rcnn_R_50_FPN_1x.py",
    # As in the paper: four samples a bin, and no half-pixel offset. RoIPool takes neither.
    overrides={"pooler.sampling_ratio": 2, "pooler.aligned": False, **only("p5", 32)},
    arms={"RoIPool": {"pooler.op": "roi_pool"}, "RoIAlign": {}},
    baseline="RoIPool",
    metrics=_metrics,
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 2d: R50-C5, stride 32, COCO minival",
        rows={
            "RoIPool": dict(zip(_metrics, (23.6, 46.5, 21.6, 28.2, 52.7, 26.9), strict=True)),
            "RoIAlign": dict(zip(_metrics, (30.9, 51.8, 32.1, 34.0, 55.3, 36.4), strict=True)),
        },
    ),
)
