"""RoILab: Mask R-CNN and Keypoint R-CNN on VIA-annotated images. Importing it does nothing."""

__version__ = "0.1.0"
