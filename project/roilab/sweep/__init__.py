"""Ablations: arms and seeds -> runs -> a comparison."""

from roilab.sweep.cluster import run_on_cluster as run_on_cluster
from roilab.sweep.definition import check_classes_of_metrics as check_classes_of_metrics
from roilab.sweep.definition import check_files_of_folds as check_files_of_folds
from roilab.sweep.definition import load_sweep as load_sweep
from roilab.sweep.definition import resolve as resolve
from roilab.sweep.plan import Sweep as Sweep
from roilab.sweep.plan import Trial as Trial
from roilab.sweep.runner import run_here as run_here
from roilab.sweep.state import State as State
