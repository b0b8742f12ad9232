"""Gain of a mask head that keeps the spatial layout: Table 2e of Mask R-CNN.

roilab sweep configs/ablations/mask_branch.py --output outputs/mask_branch
Not run yet.
"""

_head = "model.roi_heads.mask_head"
_mlp = {f"{_head}._target_": "roilab.modeling.MLPMaskHead"}

sweep = dict(
    base="../mask_rcnn_R_50_FPN_1x.py",
    arms={
        "MLP 2 layers": _mlp,
        "MLP 3 layers": {**_mlp, f"{_head}.fc_dims": [1024, 1024, 1024]},
        "FCN": {},
    },
    baseline="MLP 2 layers",
    metrics=["segm/AP", "segm/AP50", "segm/AP75", "bbox/AP"],
    published=dict(
        source="Mask R-CNN (arXiv 1703.06870), Table 2e: R50-FPN, COCO minival",
        rows={
            "MLP 2 layers": {"segm/AP": 31.5, "segm/AP50": 53.7, "segm/AP75": 32.8},
            "MLP 3 layers": {"segm/AP": 31.5, "segm/AP50": 54.0, "segm/AP75": 32.6},
            "FCN": {"segm/AP": 33.6, "segm/AP50": 55.2, "segm/AP75": 35.3},
        },
    ),
)
