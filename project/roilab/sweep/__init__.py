"""Ablations: arms and seeds -> runs -> a comparison."""

from roilab.sweep.cluster import run_on_cluster
from roilab.sweep.definition import load_sweep, resolve
from roilab.sweep.plan import Sweep, Trial
from roilab.sweep.runner import run_here
from roilab.sweep.state import State

__all__ = ["State", "Sweep", "Trial", "load_sweep", "resolve", "run_here", "run_on_cluster"]
