"""Jobs of a real SLURM, which the tests start and stop: none is waited for when it is gone."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sweep.runs import training, trial_in

from roilab.errors import UserError
from roilab.sweep import State, run_on_cluster

from .endings import ENDINGS, Ending, check, run
from .here import Slurm, missing

pytestmark = pytest.mark.skipif(missing() != "", reason=missing() or "-")

# `all`, names with commas between, or those of each run of the tests.
CHOSEN = os.environ.get("ROILAB_SLURM_ENDINGS", "")
ROOT = Path(__file__).resolve().parents[2]
# Those of each run of the tests, by how SLURM knows the processes of a job.
SOME = {
    "linuxproc": ("done", "scancel", "warned", "training_killed", "machine_lost"),
    "pgid": ("scancel", "scancel_deaf", "wrapper_killed"),
}
# Those in which SLURM sends signals to processes, or processes outlive each other.
KILLED = ("scancel", "scancel_kill", "scancel_term", "scancel_deaf")
KILLED += ("requeue", "training_killed", "wrapper_killed", "killed")
# How SLURM knows the processes of a job; what does not depend on it is tried with the first.
TRACKING = ("linuxproc", "pgid")


@pytest.fixture(scope="module", params=TRACKING)
def slurm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Slurm]:
    daemons = Slurm(tmp_path_factory.mktemp("slurm"), request.param)
    daemons.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SLURM_CONF", "PATH"):
            patch.setenv(name, daemons.environment[name])
        patch.setenv("PYTHONPATH", str(ROOT / "project"))
        patch.setattr("roilab.sweep.cluster._ASK_SECONDS", (1.0, 2.0))
        yield daemons
    daemons.stop()


def report(slurm: Slurm, states: dict[str, list[State]]) -> None:
    """A line a trial, which `pytest -s` shows."""
    for name, passed in states.items():
        words = " > ".join(state.text for state in passed)
        sys.stdout.write(f"{slurm.tracking} {name}: {words}\n")


def is_chosen(ending: Ending, tracking: str) -> bool:
    if CHOSEN == "all":
        return tracking == TRACKING[0] or ending.name in KILLED
    return ending.name in (CHOSEN.split(",") if CHOSEN else SOME[tracking])


def test_trials_end_with_their_reason(slurm: Slurm, tmp_path: Path) -> None:
    endings = [end for end in ENDINGS if not end.alone and is_chosen(end, slurm.tracking)]
    if not endings:
        pytest.skip("none of them is chosen")
    states = run(slurm, tmp_path, endings)
    report(slurm, states)
    for ending in endings:
        check(ending, states[ending.name], tmp_path)


@pytest.mark.parametrize("ending", [e for e in ENDINGS if e.alone], ids=lambda e: e.name)
def test_an_end_of_all_jobs_of_a_machine(slurm: Slurm, tmp_path: Path, ending: Ending) -> None:
    if not is_chosen(ending, slurm.tracking):
        pytest.skip("make fuzz tries it, with one tracking")
    states = run(slurm, tmp_path, [ending])
    report(slurm, states)
    check(ending, states[ending.name], tmp_path)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"slurm_partition": "none_such"}, "Invalid partition name specified"),
        ({"gpus_per_node": 8}, r"Invalid generic resource \(gres\) specification"),
        ({"mem_gb": 100_000}, "Memory specification can not be satisfied"),
        ({"slurm_constraint": "none_such"}, "Invalid feature specification"),
    ],
)
def test_what_sbatch_refuses_is_said_in_its_words(
    slurm: Slurm, tmp_path: Path, parameter: dict[str, object], words: str
) -> None:
    trial, train, jobs = trial_in(tmp_path), training(tmp_path, ""), tmp_path / "jobs"
    with pytest.raises(UserError, match=f"^sbatch refuses the jobs: [^\n]*{words}") as caught:
        run_on_cluster([trial], train, jobs, parameter, on_update=print, refresh=lambda: None)
    assert all(f"{key}={value}" in str(caught.value.found) for key, value in parameter.items())
