"""Prediction with a trained run on new images: sources, predictions, pictures and files."""

from roilab.evaluation import Views as Views
from roilab.image_files import read_rgb as read_rgb
from roilab.inference.formats import predictions_to_coco as predictions_to_coco
from roilab.inference.formats import to_json as to_json
from roilab.inference.formats import via_annotations as via_annotations
from roilab.inference.formats import via_record as via_record
from roilab.inference.predictor import Prediction as Prediction
from roilab.inference.predictor import Predictor as Predictor
from roilab.inference.rendering import draw_prediction as draw_prediction
from roilab.inference.sources import expand_inputs as expand_inputs
