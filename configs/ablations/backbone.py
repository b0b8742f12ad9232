"""Gain of a deeper backbone: R50-FPN and R101-FPN of Table 2a of Mask R-CNN.

roilab sweep configs/ablations/backbone.py --output outputs/backbone
Not run yet.
"""

sweep = dict(
    base="../mask_rcnn_R_50_FPN_1x.py",
    arms={"R50-FPN": {}, "R101-FPN": "../mask_rcnn_R_101_FPN_1x.py"},
    baseline="R50-FPN",
    metrics=["segm/AP", "segm/AP50", "segm/AP75", "bbox/AP"],
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 2a: COCO minival",
        rows={
            "R50-FPN": {"segm/AP": 33.6, "segm/AP50": 55.2, "segm/AP75": 35.3},
            "R101-FPN": {"segm/AP": 35.4, "segm/AP50": 57.3, "segm/AP75": 37.5},
        },
    ),
)
