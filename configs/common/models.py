"""Detectron2's own Mask R-CNN and Keypoint R-CNN, R50-FPN, with one knob for every RoI pooler."""

from detectron2.config import LazyCall as L

from roilab.engine.config import upstream
from roilab.modeling.poolers import roi_pooler

# RoIPool, RoIAlign or RoIAlignV2: for boxes, masks and keypoints together. Each can be set alone at
# model.roi_heads.{box,mask,keypoint}_pooler.op.
pooler = dict(op="RoIAlignV2", sampling_ratio=0)


def _with_one_knob(model):
    heads = model.roi_heads
    for key in ("box_pooler", "mask_pooler", "keypoint_pooler"):
        if key in heads:
            heads[key] = L(roi_pooler)(
                op="${pooler.op}",
                sampling_ratio="${pooler.sampling_ratio}",
                output_size=heads[key].output_size,
                scales=list(heads[key].scales),
            )
    heads.num_classes = "${data.num_classes}"
    if "keypoint_head" in heads:
        heads.keypoint_head.num_keypoints = "${data.num_keypoints}"
    return model


mask_rcnn = _with_one_knob(upstream("common/models/mask_rcnn_fpn.py").model)
keypoint_rcnn = _with_one_knob(upstream("common/models/keypoint_rcnn_fpn.py").model)

# Both heads in one: the keypoint model's training settings, the mask model's mask branch
# (Mask R-CNN Sec. 5, "multi-task").
mask_keypoint_rcnn = keypoint_rcnn.copy()
for _key in ("mask_in_features", "mask_pooler", "mask_head"):
    mask_keypoint_rcnn.roi_heads[_key] = mask_rcnn.roi_heads[_key]
