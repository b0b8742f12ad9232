"""A trained model as one file that runs without RoILab and Detectron2."""

from roilab.export.detector import Detector as Detector
from roilab.export.exporter import Exported as Exported
from roilab.export.exporter import export_run as export_run
from roilab.export.formats import FORMATS as FORMATS
