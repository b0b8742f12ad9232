"""A trained model as one file that runs without RoILab and Detectron2."""

from roilab.export.detector import Detector
from roilab.export.exporter import Exported, export_run
from roilab.export.formats import FORMATS

__all__ = ["FORMATS", "Detector", "Exported", "export_run"]
