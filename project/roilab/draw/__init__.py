"""Pictures of instances, from arrays and a skeleton. No torch, no Detectron2.

Coordinates are continuous: the pixel of column c and row r covers [c, c + 1) x [r, r + 1).
"""

from roilab.draw.instances import Mask, draw_instances
from roilab.draw.palette import PALETTE, Picture
from roilab.draw.sheets import fit, grid, side_by_side, titled

__all__ = ["PALETTE", "Mask", "Picture", "draw_instances", "fit", "grid", "side_by_side", "titled"]
