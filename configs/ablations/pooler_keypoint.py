"""Keypoint AP with RoIPool and RoIAlign: Table 6 of Mask R-CNN.

roilab sweep configs/ablations/pooler_keypoint.py --output outputs/pooler_keypoint
Not run yet.
"""

_published = [f"keypoints/{name}" for name in ("AP", "AP50", "AP75", "APm", "APl")]
sweep = dict(
    base="../keypoint_rcnn_R_50_FPN_1x.py",
    # As in the paper: four samples a bin, and no half-pixel offset. RoIPool takes neither.
    overrides={"pooler.sampling_ratio": 2, "pooler.aligned": False},
    arms={
        "RoIPool": {"pooler.op": "roi_pool"},
        "RoIAlign": {},
        "RoIAlign aligned": {"pooler.aligned": True},  # Detectron2's ROIAlignV2
    },
    baseline="RoIPool",
    metrics=["keypoints/AP", "keypoints/AP50", "keypoints/AP75", "bbox/AP"],
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 6: R50-FPN, COCO minival",
        rows={
            "RoIPool": dict(zip(_published, (59.8, 86.2, 66.7, 55.1, 67.4), strict=True)),
            "RoIAlign": dict(zip(_published, (64.2, 86.6, 69.7, 58.7, 73.0), strict=True)),
        },
    ),
)
