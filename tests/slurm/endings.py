"""The ways in which the job of a trial ends, and the state of the trial that is expected."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tests.sweep.runs import training, trial_in, wait_for

from roilab.sweep import State, Trial, run_on_cluster

from .here import Slurm, alive

# In place of roilab train: it takes a minute when it begins, or, if it is long, until it is asked
# to end, and no time when it goes on. Asked to end it takes a second to leave a checkpoint.
TRAINING = """
import json, os, pathlib, signal, sys, time
options = dict(word.split("=", 1) for word in sys.argv if "=" in word)
folder = pathlib.Path(options["train.output_dir"].strip("'"))
starts = len(list(folder.glob("start_*")))
asked = []
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: asked.append(number))
(folder / "config.yaml").write_text("")
if options["mode"] == "saved":
    (folder / "model_0000007.pth").write_text("")
(folder / f"part_{starts}").write_text(str(os.getpid()))
(folder / f"part_{starts}").rename(folder / f"start_{starts}")
if options["mode"] == "fails":
    sys.exit("error: the disk is full")
lasts = {"done": 0, "long": 3600}.get(options["mode"], 60)
until = time.monotonic() + (lasts if starts == 0 else 0)
while time.monotonic() < until:
    time.sleep(0.1)
    if asked and options["mode"] != "deaf":
        time.sleep(1)
        (folder / f"model_{10 + starts:07d}.pth").write_text("")
        print("saved", flush=True)
        sys.exit(128 + asked[0])
(folder / "model_final.pth").write_text("")
(folder / "results.json").write_text(json.dumps({"bbox": {"AP": 1.0}}))
"""
SECONDS = 600  # after which a test is given up


@dataclass(frozen=True)
class Ending:
    """A way to end.

    Attributes:
        name: of it, and of the arm that gets it.
        action: called as soon as the training runs; None: nothing, and it need not run.
        kind: of the trial in the end.
        reason: what the last message is to hold, as regular expressions.
        begins_again: whether the trial is queued a second time.
        alone: whether it would end other jobs, too.
    """

    name: str
    action: Callable[["Situation"], object] | None = None
    kind: str = "cut"
    reason: tuple[str, ...] = ()
    mode: str = "usual"
    begins_again: bool = False
    parameters: dict[str, object] = field(default_factory=dict)
    alone: bool = False


@dataclass(frozen=True)
class Situation:
    """A trial whose training has begun."""

    slurm: Slurm
    trial: Trial
    job: str

    @property
    def training(self) -> int:
        """The number of the process that trains."""
        return int((self.trial.folder / "start_0").read_text())

    @property
    def wrapper(self) -> int:
        """The number of the job's own process, which is above it."""
        stat = Path(f"/proc/{self.training}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[1])

    def call(self, *command: str) -> str:
        return self.slurm.call(*command)


def scancel(*options: str) -> Callable[[Situation], object]:
    # It fails where the job is over before all of its processes have the signal.
    return lambda situation: situation.slurm.call("scancel", *options, situation.job, check=False)


def requeue(situation: Situation) -> None:
    situation.call("scontrol", "requeue", situation.job)


def hold(situation: Situation) -> None:
    """Requeue a job so that it waits until it is released."""
    situation.call("scontrol", "requeuehold", situation.job)
    wait_for(lambda: "JobState=PENDING" in situation.call("scontrol", "show", "job", situation.job))
    situation.call("scontrol", "release", situation.job)


def preempt(situation: Situation) -> None:
    """Take the machine from it for a job that goes before."""
    wish = ["--partition=high", "--exclusive", "--output=/dev/null", "--time=1", "--wrap=sleep 1"]
    situation.call("sbatch", *wish)


def kill(who: str, number: int) -> Callable[[Situation], object]:
    return lambda situation: os.kill(getattr(situation, who), number)


def kill_all(situation: Situation) -> None:
    """At once, as a machine without memory may do."""
    for number in (situation.wrapper, situation.training):
        os.kill(number, signal.SIGKILL)


def lose_the_machine(situation: Situation) -> None:
    """It comes back after SLURM has given it up."""
    situation.slurm.kill_machine()
    wait_for(lambda: "down" in situation.call("sinfo", "--noheader", "--format=%t"), 120)
    situation.slurm.start_machine()


def restart_the_controller(situation: Situation) -> None:
    """It is away for some time, in which the job ends."""
    situation.slurm.end("slurmctld.pid")
    os.kill(situation.wrapper, signal.SIGTERM)
    time.sleep(10)
    situation.call("slurmctld")


SAVED = "model_0000010.pth"
SIGTERM, SIGKILL = signal.SIGTERM, signal.SIGKILL
ENDINGS = [
    Ending("done", mode="done", kind="done"),
    Ending("fails", mode="fails", kind="failed", reason=("^error: the disk is full$",)),
    Ending("scancel", scancel(), reason=("CANCELLED", "SIGTERM", SAVED, r"log: /\S+")),
    Ending("scancel_kill", scancel("--signal=KILL", "--full"), reason=("CANCELLED", SAVED)),
    Ending("scancel_term", scancel("--signal=TERM", "--full"), reason=("SIGTERM", SAVED)),
    Ending("scancel_deaf", scancel(), "failed", ("CANCELLED",), "deaf"),
    Ending("killed", kill_all, "failed", ("FAILED, SIGKILL; goes on from model_0000007",), "saved"),
    Ending("requeue", requeue, "done", begins_again=True),
    Ending("hold_release", hold, "done", begins_again=True),
    Ending("warned", scancel("--signal=USR2", "--batch"), "done", begins_again=True),
    Ending(
        "time_limit",
        kind="done",
        mode="long",
        begins_again=True,
        parameters={"timeout_min": 3, "slurm_signal_delay_s": 90},
    ),
    Ending("preempted", preempt, "done", begins_again=True, alone=True),
    Ending(
        "preempted_cancel",
        preempt,
        reason=("PREEMPTED", SAVED),
        parameters={"slurm_partition": "kill"},
        alone=True,
    ),
    Ending("training_killed", kill("training", SIGKILL), "failed", ("killed by SIGKILL",)),
    Ending("training_ended", kill("training", SIGTERM), reason=("saved",)),
    Ending("wrapper_killed", kill("wrapper", SIGKILL), "any", ("FAILED", "SIGKILL")),
    Ending("wrapper_ended", kill("wrapper", SIGTERM), reason=("SIGTERM", SAVED)),
    Ending("machine_lost", lose_the_machine, "done", begins_again=True, alone=True),
    Ending(
        "machine_lost_for_good",
        lose_the_machine,
        "failed",
        ("NODE_FAIL",),
        parameters={"slurm_additional_parameters": {"no-requeue": True}},
        alone=True,
    ),
    Ending("controller_away", restart_the_controller, reason=("SIGTERM", SAVED), alone=True),
    Ending(
        "time_too_long", None, "failed", ("PartitionTimeLimit",), parameters={"timeout_min": 600}
    ),
    Ending(
        "no_python",
        kind="failed",
        reason=("FAILED", "exit status 1"),
        parameters={"slurm_setup": ["exit 1"]},
    ),
]


class Events:
    """The updates of trials."""

    def __init__(self) -> None:
        self.states: dict[Trial, list[State]] = {}

    def __call__(self, trial: Trial, state: State) -> None:
        self.states.setdefault(trial, []).append(state)

    def job(self, trial: Trial) -> str:
        match = re.match(r"SLURM job ([\d_]+)", self.states[trial][0].error)
        assert match is not None
        return match[1]


def run(slurm: Slurm, folder: Path, endings: Sequence[Ending]) -> dict[str, list[State]]:
    """End trials in several ways at once; returns the states of each, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    train, jobs = training(folder, TRAINING), folder / "jobs"
    trials = {
        ending.name: trial_in(folder, ending.name, f"mode={ending.mode}") for ending in endings
    }
    events = Events()
    troubles: list[BaseException] = []
    until = time.monotonic() + SECONDS

    def refresh() -> None:
        assert not troubles, troubles
        assert time.monotonic() < until, events.states

    def submit(parameters: dict[str, object], members: list[Trial]) -> None:
        # More at a time would keep a small machine from starting them in time.
        parameters = {"timeout_min": 30, "slurm_array_parallelism": 8, **parameters}
        run_on_cluster(members, train, jobs, parameters, on_update=events, refresh=refresh)

    def act(ending: Ending) -> None:
        trial = trials[ending.name]
        if ending.action is not None:
            wait_for(lambda: troubles or (trial.folder / "start_0").is_file(), SECONDS)
            time.sleep(0.5)
            ending.action(Situation(slurm, trial, events.job(trial)))

    groups: list[tuple[dict[str, object], list[Trial]]] = []
    for parameters, group in groupby(sorted(endings, key=_parameters), _parameters):
        groups.append((json.loads(parameters), [trials[ending.name] for ending in group]))
    with ThreadPoolExecutor(len(endings) + len(groups)) as pool:
        work = [pool.submit(submit, *group) for group in groups]
        work += [pool.submit(act, ending) for ending in endings]
        try:
            for done in as_completed(work):
                done.result()
        except BaseException as error:  # also Ctrl-C: the others are not to be waited for
            troubles.append(error)
            raise
    return {name: events.states[trial] for name, trial in trials.items()}


def _parameters(ending: Ending) -> str:
    return json.dumps(ending.parameters)


def check(ending: Ending, states: Sequence[State], folder: Path) -> None:
    """Raise AssertionError where a trial did not end as it should."""
    last = states[-1]
    if ending.kind == "any":
        assert last.kind in ("cut", "failed"), states
    else:
        assert last.kind == ending.kind, states
    for reason in ending.reason:
        assert re.search(reason, last.error), last
    queued = [state for state in states if state.kind == "queued"]
    assert ending.begins_again == any("requeued" in state.error for state in queued), states
    # What outlives a job's own process saves and ends.
    for file in (folder / ending.name).glob("seed_0/start_*"):
        wait_for(lambda file=file: not alive(int(file.read_text())))
