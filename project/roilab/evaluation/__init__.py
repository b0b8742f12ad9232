"""COCO average precision for boxes, masks and keypoints."""

from roilab.evaluation.ap import GroundTruth, average_precision
from roilab.evaluation.evaluator import Evaluation, evaluate, predict

__all__ = ["Evaluation", "GroundTruth", "average_precision", "evaluate", "predict"]
