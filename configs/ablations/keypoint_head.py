"""AP of the keypoint heads and decoders of docs/heads.md.

roilab sweep configs/ablations/keypoint_head.py --output outputs/keypoint_head
Not run yet. The decoders read the heat maps of one training; the stock decoder is bicubic.
"""

_head = "model.roi_heads.keypoint_head"


def _of(name):
    return {f"{_head}._target_": f"roilab.modeling.{name}KeypointHead"}


sweep = dict(
    base="../keypoint_rcnn_R_50_FPN_1x.py",
    overrides={},
    arms={
        "softmax": {},
        **{
            f"softmax {decoder}": {"weights_of": "softmax", f"{_head}.decoder": decoder}
            for decoder in ("quarter_shift", "dark", "local_soft_argmax", "soft_argmax")
        },
        "sigmoid": _of("Sigmoid"),
        "Gaussian": _of("Gaussian"),
        "Gaussian dark": {"weights_of": "Gaussian", **_of("Gaussian"), f"{_head}.decoder": "dark"},
        "integral": _of("Integral"),
        "integral and softmax": {**_of("Integral"), f"{_head}.heatmap_weight": 1},
        "SimCC": _of("SimCC"),
    },
    baseline="softmax",
    seeds=[0],
    metrics=["keypoints/AP", "keypoints/AP50", "keypoints/AP75", "bbox/AP"],
)
