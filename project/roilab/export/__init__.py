"""A trained model as one file that runs without RoILab and Detectron2."""

from roilab.export.detector import Detector
from roilab.export.formats import FORMATS
from roilab.export.write import Exported, export_run

__all__ = ["FORMATS", "Detector", "Exported", "export_run"]
