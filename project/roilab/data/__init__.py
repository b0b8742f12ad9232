"""VIA and COCO annotations as Detectron2 data sets, and their loaders."""
