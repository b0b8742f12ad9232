"""COCO average precision for boxes, masks and keypoints."""

from roilab.evaluation.ap import average_precision
from roilab.evaluation.evaluator import Evaluation, evaluate, predict

__all__ = ["Evaluation", "average_precision", "evaluate", "predict"]
