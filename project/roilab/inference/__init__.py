"""Prediction with a trained run on new images: sources, predictions, pictures and files."""

from roilab.image_files import read_rgb
from roilab.inference.formats import predictions_to_coco, to_json, via_annotations, via_record
from roilab.inference.predictor import Prediction, Predictor
from roilab.inference.rendering import draw_prediction
from roilab.inference.sources import expand_inputs

__all__ = [
    "Prediction",
    "Predictor",
    "draw_prediction",
    "expand_inputs",
    "predictions_to_coco",
    "read_rgb",
    "to_json",
    "via_annotations",
    "via_record",
]
