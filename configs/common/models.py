"""Mask R-CNN and Keypoint R-CNN, R50-FPN, of Detectron2, with parts that can be exchanged.

Without changes they are Detectron2's own, with the same weights, losses and detections.
docs/heads.md lists all parts; each is one edit away, here or on the command line:
    pooler.op=roi_pool                                                # every RoI pooler
    model.roi_heads.mask_pooler.op=roi_pool                           # one of them
    model.roi_heads.mask_head._target_=roilab.modeling.MLPMaskHead    # another mask head
    model.roi_heads.keypoint_head._target_=roilab.modeling.SimCCKeypointHead
    model.roi_heads.keypoint_head.decoder=dark                        # another decoder of heat maps
"""

from detectron2.config import LazyCall as L

from roilab.engine.config import upstream
from roilab.modeling import KeypointHead, MaskHead, RoIPooler

# For boxes, masks and keypoints together. Each can be set alone at
# model.roi_heads.{box,mask,keypoint}_pooler.
pooler = dict(op="roi_align", aggregation="average", aligned=True, sampling_ratio=0)


def _with_parts(model):
    heads = model.roi_heads
    shared = {key: f"${{pooler.{key}}}" for key in pooler}
    for task in ("box", "mask", "keypoint"):
        if f"{task}_pooler" not in heads:
            continue
        stock = heads[f"{task}_pooler"]
        sizes = dict(output_size=stock.output_size, scales=list(stock.scales))
        heads[f"{task}_pooler"] = L(RoIPooler)(**sizes, **shared)
        # The head takes features of the size that the pooler gives.
        shape = heads[f"{task}_head"].input_shape
        shape.width = shape.height = f"${{...{task}_pooler.output_size}}"
    heads.num_classes = "${data.num_classes}"
    if "mask_head" in heads:
        heads.mask_head._target_ = MaskHead
    if "keypoint_head" in heads:
        heads.keypoint_head.update(_target_=KeypointHead, num_keypoints="${data.num_keypoints}")
    return model


mask_rcnn = _with_parts(upstream("common/models/mask_rcnn_fpn.py").model)
keypoint_rcnn = _with_parts(upstream("common/models/keypoint_rcnn_fpn.py").model)

# A model with both heads: the keypoint model's training settings and the mask model's branch
# (Mask R-CNN Sec. 5, "multi-task").
mask_keypoint_rcnn = keypoint_rcnn.copy()
for _key in ("mask_in_features", "mask_pooler", "mask_head"):
    mask_keypoint_rcnn.roi_heads[_key] = mask_rcnn.roi_heads[_key]
