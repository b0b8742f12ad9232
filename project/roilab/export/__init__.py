"""A trained model as one file that runs without RoILab and Detectron2."""
