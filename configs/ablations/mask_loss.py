"""Classes that compete for the cells of a mask or do not: Table 2b of Mask R-CNN, with FPN.

roilab sweep configs/ablations/mask_loss.py --output outputs/mask_loss
Not run yet.
"""

sweep = dict(
    base="../mask_rcnn_R_50_FPN_1x.py",
    arms={
        "softmax": {"model.roi_heads.mask_head._target_": "roilab.modeling.MultinomialMaskHead"},
        "sigmoid": {},
        "class-agnostic": {"model.roi_heads.mask_head.num_classes": 1},
    },
    baseline="softmax",
    metrics=["segm/AP", "segm/AP50", "segm/AP75", "bbox/AP"],
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 2b and the text below it (class-agnostic): "
        "R50-C4, COCO minival",
        rows={
            "softmax": {"segm/AP": 24.8, "segm/AP50": 44.1, "segm/AP75": 25.1},
            "sigmoid": {"segm/AP": 30.3, "segm/AP50": 51.2, "segm/AP75": 31.5},
            "class-agnostic": {"segm/AP": 29.7},
        },
    ),
)
