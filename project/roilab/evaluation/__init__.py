"""COCO average precision for boxes, masks and keypoints."""

from roilab.evaluation.ap import GroundTruth as GroundTruth
from roilab.evaluation.ap import average_precision as average_precision
from roilab.evaluation.evaluator import Evaluation as Evaluation
from roilab.evaluation.evaluator import evaluate as evaluate
from roilab.evaluation.evaluator import predict as predict
from roilab.evaluation.tta import Views as Views
