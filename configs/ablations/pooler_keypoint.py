"""Keypoint AP with RoIPool and RoIAlign: Table 6 of Mask R-CNN.

roilab sweep configs/ablations/pooler_keypoint.py --output outputs/pooler_keypoint
Not run yet.
"""

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
    seeds=[0],
    metrics=["keypoints/AP", "keypoints/AP50", "keypoints/AP75", "bbox/AP"],
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 6: R50-FPN, COCO minival",
        rows={
            "RoIPool": {
                "keypoints/AP": 59.8,
                "keypoints/AP50": 86.2,
                "keypoints/AP75": 66.7,
                "keypoints/APm": 55.1,
                "keypoints/APl": 67.4,
            },
            "RoIAlign": {
                "keypoints/AP": 64.2,
                "keypoints/AP50": 86.6,
                "keypoints/AP75": 69.7,
                "keypoints/APm": 58.7,
                "keypoints/APl": 73.0,
            },
        },
    ),
)
