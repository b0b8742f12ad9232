"""AP of the keypoint heads and decoders of docs/heads.md.

roilab sweep configs/ablations/keypoint_head.py --output outputs/keypoint_head
Not run yet. The decoders read the heat maps of one training; the stock decoder is bicubic.
"""

_head = "model.roi_heads.keypoint_head"
_sigmoid = {f"{_head}._target_": "roilab.modeling.SigmoidKeypointHead"}
_gaussian = {f"{_head}._target_": "roilab.modeling.GaussianKeypointHead"}
_integral = {f"{_head}._target_": "roilab.modeling.IntegralKeypointHead"}
_simcc = {f"{_head}._target_": "roilab.modeling.SimCCKeypointHead"}

sweep = dict(
    base="../keypoint_rcnn_R_50_FPN_1x.py",
    arms={
        "softmax": {},
        **{
            f"softmax {decoder}": {"weights_of": "softmax", f"{_head}.decoder": decoder}
            for decoder in ("quarter_shift", "dark", "local_soft_argmax", "soft_argmax")
        },
        "sigmoid": _sigmoid,
        "Gaussian": _gaussian,
        "Gaussian dark": {"weights_of": "Gaussian", **_gaussian, f"{_head}.decoder": "dark"},
        "integral": _integral,
        "integral and softmax": {**_integral, f"{_head}.heatmap_weight": 1},
        "SimCC": _simcc,
    },
    baseline="softmax",
    metrics=["keypoints/AP", "keypoints/AP50", "keypoints/AP75", "bbox/AP"],
)
