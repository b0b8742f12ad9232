"""Parts of a model that look inside regions of interest."""

from roilab.modeling.decoders import DECODERS as DECODERS
from roilab.modeling.keypoint_heads import GaussianKeypointHead as GaussianKeypointHead
from roilab.modeling.keypoint_heads import IntegralKeypointHead as IntegralKeypointHead
from roilab.modeling.keypoint_heads import KeypointHead as KeypointHead
from roilab.modeling.keypoint_heads import SigmoidKeypointHead as SigmoidKeypointHead
from roilab.modeling.keypoint_heads import SimCCKeypointHead as SimCCKeypointHead
from roilab.modeling.mask_heads import MaskHead as MaskHead
from roilab.modeling.mask_heads import MaskScoringHead as MaskScoringHead
from roilab.modeling.mask_heads import MLPMaskHead as MLPMaskHead
from roilab.modeling.mask_heads import MultinomialMaskHead as MultinomialMaskHead
from roilab.modeling.mask_heads import point_rend as point_rend
from roilab.modeling.poolers import RoIPooler as RoIPooler
from roilab.modeling.torchvision_weights import (
    TorchvisionAnchorGenerator as TorchvisionAnchorGenerator,
)
