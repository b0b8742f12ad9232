"""Boxes, masks and keypoints of persons, separately and together: Table 5 of Mask R-CNN.

roilab sweep configs/ablations/multitask.py --output outputs/multitask
Not run yet.
"""

_no_masks = {"model.roi_heads.mask_in_features": None}
# The skeleton stays: all arms see the same images, those with keypoints.
_no_keypoints = {"model.roi_heads.keypoint_in_features": None}

sweep = dict(
    base="../mask_keypoint_rcnn_R_50_FPN_1x.py",
    arms={
        "box only": {**_no_masks, **_no_keypoints},
        "mask only": _no_keypoints,
        "keypoint only": _no_masks,
        "mask and keypoint": {},
    },
    baseline="mask and keypoint",  # the only one that has all metrics
    metrics=["bbox/AP", "segm/AP", "keypoints/AP"],
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 5: R50-FPN, the class person of COCO minival",
        rows={
            "box only": {"bbox/AP": 52.5},
            "mask only": {"bbox/AP": 53.6, "segm/AP": 45.8},
            "keypoint only": {"bbox/AP": 50.7, "keypoints/AP": 64.2},
            "mask and keypoint": {"bbox/AP": 52.0, "segm/AP": 45.1, "keypoints/AP": 64.7},
        },
    ),
)
