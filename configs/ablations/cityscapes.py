"""Gain of COCO's weights for Cityscapes: the rows of Mask R-CNN in Table 7 of its paper.

roilab sweep configs/ablations/cityscapes.py --output outputs/cityscapes
Not run yet.
"""

sweep = dict(
    base="../mask_rcnn_R_50_FPN_cityscapes.py",
    arms={"fine": {}, "fine + COCO": {"train.schedule": "coco"}},
    baseline="fine",
    metrics=["segm/AP", "segm/AP50"],
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 7: R50-FPN, AP on Cityscapes val",
        rows={"fine": {"segm/AP": 31.5}, "fine + COCO": {"segm/AP": 36.4}},
    ),
)
