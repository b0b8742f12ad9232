"""Ablations: arms and seeds -> runs -> a table."""

from roilab.sweep.plan import Arm, Cell, parse_arm, parse_seeds, plan
from roilab.sweep.report import report
from roilab.sweep.run import State, run_cell, state_of

__all__ = [
    "Arm",
    "Cell",
    "State",
    "parse_arm",
    "parse_seeds",
    "plan",
    "report",
    "run_cell",
    "state_of",
]
