"""A run folder of a model that is sure of what it finds, without the training."""

from collections.abc import Callable

import pytest

from roilab.engine.run_folder import Run

STAGES = "model.backbone.bottom_up.stages"
RESIZE = "detectron2.data.transforms.ResizeShortestEdge"
SMALL = (
    *(f"{STAGES}.{index}.num_blocks=1" for index in range(4)),
    f"{STAGES}.0.norm=FrozenBN",
    *(f"{STAGES}.{index}.norm=''" for index in (1, 2)),
    "model.proposal_generator.in_features=[p3,p4]",
    "model.proposal_generator.anchor_generator.sizes=[[32],[64]]",
    "model.proposal_generator.anchor_generator.strides=[8,16]",
    *(
        f"model.roi_heads.{task}_{key}"
        for task in ("box", "mask", "keypoint")
        for key in ("in_features=[p2,p3]", "pooler.scales=[0.25,0.125]")
    ),
    *(f"{STAGES}.{index}.stride_per_block=[{1 if index == 0 else 2}]" for index in range(4)),
    "model.roi_heads.keypoint_head.conv_dims=[32]",
    "model.roi_heads.mask_head.conv_dims=[32,32]",
    "model.proposal_generator.post_nms_topk=[40,40]",
    "model.roi_heads.box_predictor.test_score_thresh=0.7",
    f"dataloader.test.augmentations=[{{_target_:{RESIZE},short_edge_length:120,max_size:180}}]",
    "train.device=cpu",
)
# What makes heads sure: an untrained one's weights are small.
SURE = {
    "proposal_generator.rpn_head.objectness_logits.weight": 100,
    "roi_heads.box_predictor.cls_score.weight": 5,
    "roi_heads.box_predictor.bbox_pred.weight": 100,
    "roi_heads.mask_head.predictor.weight": 100,
    "roi_heads.keypoint_head.score_lowres.weight": 300,
}


@pytest.fixture(scope="session")
def sure_run(untrained: Callable[..., Run]) -> Run:
    """A model of masks and keypoints of no sense. Do not write into the folder."""
    return untrained(SMALL, SURE)
