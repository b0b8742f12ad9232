"""Pictures of instances, from arrays and a skeleton. No torch, no Detectron2.

Coordinates are continuous: the pixel of column c and row r covers [c, c + 1) x [r, r + 1).
"""

from roilab.draw.instances import Mask as Mask
from roilab.draw.instances import draw_instances as draw_instances
from roilab.draw.palette import PALETTE as PALETTE
from roilab.draw.palette import Picture as Picture
from roilab.draw.sheets import fit as fit
from roilab.draw.sheets import grid as grid
from roilab.draw.sheets import side_by_side as side_by_side
from roilab.draw.sheets import titled as titled
