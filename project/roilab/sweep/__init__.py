"""Ablations: arms and seeds -> runs -> a comparison."""

from roilab.sweep.cluster import run_on_cluster
from roilab.sweep.definition import load_sweep, resolve
from roilab.sweep.plan import (
    Arm,
    Sweep,
    Trial,
    load_saved_sweep,
    parse_seeds,
    plan_trials,
    save_sweep,
    select_trials,
)
from roilab.sweep.report import Report
from roilab.sweep.runner import run_here, training_slots
from roilab.sweep.state import State, progress_of, state_of

__all__ = [
    "Arm",
    "Report",
    "State",
    "Sweep",
    "Trial",
    "load_saved_sweep",
    "load_sweep",
    "parse_seeds",
    "plan_trials",
    "progress_of",
    "resolve",
    "run_here",
    "run_on_cluster",
    "save_sweep",
    "select_trials",
    "state_of",
    "training_slots",
]
