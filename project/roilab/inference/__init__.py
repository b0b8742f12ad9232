"""A trained run on new images: where they come from, what is predicted, where it goes."""

from roilab.image_files import read_rgb
from roilab.inference.predictor import Prediction, Predictor
from roilab.inference.rendering import draw_prediction, overview, picture_names, to_json
from roilab.inference.sources import image_files
from roilab.inference.to_annotations import predictions_to_coco, via_annotations, via_record

__all__ = [
    "Prediction",
    "Predictor",
    "draw_prediction",
    "image_files",
    "overview",
    "picture_names",
    "predictions_to_coco",
    "read_rgb",
    "to_json",
    "via_annotations",
    "via_record",
]
