"""Ablations: arms and seeds -> runs -> a comparison."""

from roilab.sweep.cluster import run_on_cluster
from roilab.sweep.definition import load_sweep, resolve
from roilab.sweep.plan import (
    Arm,
    Sweep,
    Trial,
    chosen,
    load_saved_sweep,
    parse_seeds,
    plan,
    save_sweep,
)
from roilab.sweep.report import Report
from roilab.sweep.runner import State, progress_of, state_of
from roilab.sweep.scheduler import run_here, slots

__all__ = [
    "Arm",
    "Report",
    "State",
    "Sweep",
    "Trial",
    "chosen",
    "load_saved_sweep",
    "load_sweep",
    "parse_seeds",
    "plan",
    "progress_of",
    "resolve",
    "run_here",
    "run_on_cluster",
    "save_sweep",
    "slots",
    "state_of",
]
