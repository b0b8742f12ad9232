"""Train every arm of an ablation with every seed, and compare the arms.

    roilab sweep configs/ablations/figures_pooler_mask.py --output outputs/poolers
    roilab sweep configs/figures_mask.py pooler.op=roi_pool,roi_align --seeds 0,1,2 \\
        --output outputs/poolers
    roilab sweep configs/figures_mask.py --seeds 0,1,2 --output outputs/repeated
    roilab sweep report outputs/poolers

Each arm and seed is a process with a run folder of its own. The same command again skips trainings
that are done, continues those that were interrupted, and repeats those that failed. `key=a,b` makes
an arm of each value. `roilab sweep report` compares what a sweep has finished so far.
"""

import contextlib
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from roilab.cli.arguments import parser_of
from roilab.cli.console import say
from roilab.engine import config, trusted
from roilab.engine.signals import Interrupted, on_signals
from roilab.errors import UserError
from roilab.escaping import one_line
from roilab.sweep import (
    State,
    Sweep,
    Trial,
    check_classes_of_metrics,
    check_files_of_folds,
    load_sweep,
    resolve,
    run_here,
    run_on_cluster,
)
from roilab.sweep.plan import load_saved_sweep, parse_seeds, plan_trials, save_sweep, select_trials
from roilab.sweep.report import write_report
from roilab.sweep.results import ResultsReader
from roilab.sweep.runner import training_slots
from roilab.sweep.state import iterations_of, logged_values, state_of


def train_command(
    program: Sequence[str], config_file: str, overrides: Sequence[str], resume: bool
) -> list[str]:
    """The command of a training; `program` runs `roilab train`."""
    options = ["--resume"] if resume else []
    return [*program, "--config-file", config_file, *options, *overrides]


TRAIN = partial(train_command, (sys.executable, "-m", "roilab", "train"))


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["report"]:
        return main_report(arguments[1:])
    args = parser_of("sweep", __doc__).parse_args(arguments)
    trusted.allow(args.trust)
    parameters = dict(map(parameter, args.slurm or ()))
    # A typo should cost no training.
    seeds = None if args.seeds is None else parse_seeds(args.seeds)
    sweep = resolve(load_sweep(config.find_config(args.file), args.overrides, seeds))
    trials = plan_trials(sweep, args.output)
    selected = select_trials(trials, args.only)
    open_trials = [trial for trial in selected if state_of(trial).kind != "done"]
    if args.dry_run:
        Console().print(Display(sweep, {trial: state_of(trial) for trial in trials}).table())
        say(f"{len(open_trials)} of {len(trials)} would be trained")
        return 0

    check_files_of_folds(sweep)
    check_classes_of_metrics(sweep)
    command = shlex.join(["roilab", "sweep", *arguments])
    sweep = save_sweep(sweep, command, args.output)
    states = {trial: state_of(trial) for trial in plan_trials(sweep, args.output)}
    reader = ResultsReader(sweep.metrics)
    display = Display(sweep, states)

    def on_update(trial: Trial, state: State) -> None:
        display.update(trial, state)
        if state.kind not in ("queued", "training"):
            try:
                write_report(sweep, states, args.output, reader)
            except Exception as error:  # of files, data, memory: no failure of it ends a training
                say(f"the report cannot be written yet: {error}", file=sys.stderr)

    options: dict[str, Any] = {"on_update": on_update, "refresh": display.refresh}
    # Trials that begin with the weights of others come after these.
    first = [trial for trial in open_trials if not trial.source]
    second = [trial for trial in open_trials if trial.source]
    try:
        # Whatever ends this process, such as a batch system or a closed terminal, also ends the
        # trainings.
        with on_signals(end), display:
            for group in filter(None, (first, second)):
                if args.slurm:
                    run_on_cluster(group, TRAIN, args.output / "jobs", parameters, **options)
                else:
                    run_here(group, TRAIN, training_slots(args.jobs), **options)
    except KeyboardInterrupt:
        say("what was trained is saved; the same command continues", file=sys.stderr)
        raise
    headline = write_report(sweep, states, args.output, reader)
    say(f"\n{headline}\nreport: {args.output / 'report.html'}, .md, .csv, .tex")
    return 0 if all(states[trial].kind == "done" for trial in selected) else 1


def end(number: int, frame: FrameType | None) -> None:
    """Handle a signal: interrupt the work where it is."""
    raise Interrupted(number)


def main_report(arguments: list[str]) -> int:
    """Compare the trainings of a sweep that are finished so far."""
    args = parser_of("sweep report", main_report.__doc__).parse_args(arguments)
    trusted.allow(args.trust)
    folder = args.folder
    sweep = load_saved_sweep(folder)
    states = {trial: state_of(trial) for trial in plan_trials(sweep, folder)}
    write_report(sweep, states, folder, ResultsReader(sweep.metrics))
    say((folder / "report.md").read_text(encoding="utf-8"))
    return 0


def parameter(text: str) -> tuple[str, Any]:
    """`key=value` of an executor, a number or a truth value where it looks like one."""
    key, equals, value = text.partition("=")
    with contextlib.suppress(yaml.YAMLError):
        if equals and key:
            is_time = re.fullmatch(r"[\d:]+:[\d:]+", value)  # YAML takes 2:30 for 150
            return key, value if is_time else yaml.safe_load(value)
    raise UserError("a parameter cannot be read", key="--slurm", found=text, expected="key=value")


class Display:
    """The trials and their progress: a live table on a terminal, plain lines elsewhere."""

    def __init__(self, sweep: Sweep, states: dict[Trial, State]) -> None:
        self.metric = sweep.metrics[0]
        self.states = states
        console = Console(stderr=True)
        self.live = None
        if console.is_terminal:
            self.live = Live(get_renderable=self.table, console=console, auto_refresh=False)
        self.places = {trial: f"[{place}/{len(states)}]" for place, trial in enumerate(states, 1)}

    def __enter__(self) -> "Display":
        if self.live is not None:
            self.live.start()
        for trial, state in self.states.items():
            if state.kind == "done":
                self.say(trial, "done already")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, trial: Trial, state: State) -> None:
        """Note that a trial begins or ends."""
        self.states[trial] = state
        log = f", log in {trial.folder / 'stdout.txt'}" if state.kind == "training" else ""
        self.say(trial, state.text + log)

    def refresh(self) -> None:
        if self.live is not None:
            self.live.refresh()

    def table(self) -> Table:
        """A table with the state of every trial."""
        table = Table()
        folds = any(trial.fold is not None for trial in self.states)
        for title in (
            "arm",
            *(["fold"] if folds else []),
            "seed",
            "iteration",
            "eta",
            self.metric,
            "state",
        ):
            table.add_column(title, justify="left" if title in ("arm", "state") else "right")
        for trial, state in self.states.items():
            values = logged_values(trial)
            total = trial.arm.max_iter
            iterations = iterations_of(values)
            value = values.get(self.metric)
            seconds = values.get("time")
            eta = ""
            if state.kind == "training" and seconds and total:
                eta = str(timedelta(seconds=round(seconds * (total - iterations))))
            table.add_row(
                Text(one_line(trial.arm.name)),
                *([str(trial.fold)] if folds else []),
                str(trial.seed),
                f"{iterations}/{total}",
                eta,
                "" if value is None else f"{value:.1f}",
                Text(one_line(state.text)),
            )
        return table

    def say(self, trial: Trial, text: str) -> None:
        """Print a line where there is no table."""
        if self.live is None:
            say(f"{self.places[trial]} {trial.arm.name}, {trial.place}: {text}", flush=True)
