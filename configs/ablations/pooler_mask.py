"""Mask AP with RoIPool, RoIWarp and RoIAlign, maximum and average: Table 2c of Mask R-CNN with FPN.

roilab sweep configs/ablations/pooler_mask.py --output outputs/pooler_mask
Not run yet.
"""

sweep = dict(
    base="../mask_rcnn_R_50_FPN_1x.py",
    # As in the paper: four samples a bin, and no half-pixel offset. RoIPool takes neither.
    overrides={"pooler.sampling_ratio": 2, "pooler.aligned": False},
    arms={
        "RoIPool": {"pooler.op": "roi_pool"},
        "RoIWarp max": {"pooler.op": "roi_warp", "pooler.aggregation": "max"},
        "RoIWarp average": {"pooler.op": "roi_warp"},
        "RoIAlign max": {"pooler.aggregation": "max"},
        "RoIAlign average": {},
        "RoIAlign aligned": {"pooler.aligned": True},  # Detectron2's ROIAlignV2
    },
    baseline="RoIPool",
    metrics=["segm/AP", "segm/AP50", "segm/AP75", "bbox/AP"],
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 2c: R50-C4, stride 16, COCO minival",
        rows={
            "RoIPool": {"segm/AP": 26.9, "segm/AP50": 48.8, "segm/AP75": 26.4},
            "RoIWarp max": {"segm/AP": 27.2, "segm/AP50": 49.2, "segm/AP75": 27.1},
            "RoIWarp average": {"segm/AP": 27.1, "segm/AP50": 48.9, "segm/AP75": 27.1},
            "RoIAlign max": {"segm/AP": 30.2, "segm/AP50": 51.0, "segm/AP75": 31.8},
            "RoIAlign average": {"segm/AP": 30.3, "segm/AP50": 51.2, "segm/AP75": 31.5},
        },
    ),
)
