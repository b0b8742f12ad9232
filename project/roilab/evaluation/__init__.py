"""COCO average precision for boxes, masks and keypoints."""

from roilab.evaluation.ap import average_precision
from roilab.evaluation.evaluator import Evaluation, evaluate, predict
from roilab.evaluation.table import ap_table

__all__ = ["Evaluation", "ap_table", "average_precision", "evaluate", "predict"]
