"""Parts of a model that look inside regions of interest."""

from roilab.modeling.decoders import DECODERS
from roilab.modeling.keypoint_heads import (
    GaussianKeypointHead,
    IntegralKeypointHead,
    KeypointHead,
    SigmoidKeypointHead,
    SimCCKeypointHead,
)
from roilab.modeling.mask_heads import (
    MaskHead,
    MaskScoringHead,
    MLPMaskHead,
    MultinomialMaskHead,
    point_rend,
)
from roilab.modeling.poolers import RoIPooler
from roilab.modeling.torchvision_weights import TorchvisionAnchorGenerator

__all__ = [
    "DECODERS",
    "GaussianKeypointHead",
    "IntegralKeypointHead",
    "KeypointHead",
    "MLPMaskHead",
    "MaskHead",
    "MaskScoringHead",
    "MultinomialMaskHead",
    "RoIPooler",
    "SigmoidKeypointHead",
    "SimCCKeypointHead",
    "TorchvisionAnchorGenerator",
    "point_rend",
]
