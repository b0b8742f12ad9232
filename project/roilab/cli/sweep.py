"""Train every arm of an ablation with every seed and compare them.

    roilab sweep configs/ablations/figures_pooler_mask.py --output outputs/poolers
    roilab sweep configs/figures_mask.py pooler.op=roi_pool,roi_align --seeds 0,1,2 \\
        --output outputs/poolers
    roilab sweep report outputs/poolers

Each arm and seed is a process with a run folder of its own. Calling it again skips what is done,
continues what was cut and tries again what failed. `key=a,b` makes an arm of each value.
"""

import argparse
import re
import shlex
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from roilab.cli.console import say
from roilab.cli.parser import Parser, add_trust
from roilab.engine import config, trusted
from roilab.engine.signals import Interrupted, on_signals
from roilab.errors import UserError
from roilab.escaping import one_line
from roilab.sweep import (
    Report,
    State,
    Sweep,
    Trial,
    chosen,
    load_saved_sweep,
    load_sweep,
    parse_seeds,
    plan,
    progress_of,
    resolve,
    run_here,
    run_on_cluster,
    save_sweep,
    slots,
    state_of,
)

TRAIN = (sys.executable, "-m", "roilab", "train")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="roilab sweep", description=__doc__)
    parser.add_argument(
        "file",
        type=config.find_config,
        help="a sweep, such as ablations/figures_pooler_mask, or a training config",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of all arms")
    parser.add_argument("--output", required=True, type=Path, help="folder of the sweep")
    parser.add_argument("--seeds", help="comma-separated, such as 0,1,2 (default: the file's)")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="train these arms alone")
    parser.add_argument("--dry-run", action="store_true", help="say what would be trained")
    add_trust(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--jobs", type=int, metavar="N", help="trainings at a time (default: one a GPU, or one)"
    )
    where.add_argument(
        "--slurm",
        nargs="+",
        metavar="KEY=VALUE",
        help="submit each training to SLURM: timeout_min=600 slurm_partition=gpu gpus_per_node=1, "
        "see docs/ablations.md; cluster=local tries it here",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["report"]:
        return main_report(arguments[1:])
    args = parse(arguments)
    trusted.allow(args.trust)
    if args.jobs is not None and args.jobs < 1:
        raise UserError("too few trainings at a time", key="--jobs", found=args.jobs, expected=1)
    parameters = dict(map(parameter, args.slurm or ()))
    # A typo should cost no training.
    sweep = resolve(load_sweep(args.file, args.overrides))
    if args.seeds is not None:
        sweep = replace(sweep, seeds=parse_seeds(args.seeds))
    asked = chosen(plan(sweep, args.output), args.only)
    wanted = [cell for cell in asked if state_of(cell).kind != "done"]
    if args.dry_run:
        cells = plan(sweep, args.output)
        Console().print(Display(sweep, {cell: state_of(cell) for cell in cells}).table())
        say(f"{len(wanted)} of {len(cells)} would be trained")
        return 0
    command = shlex.join(["roilab", "sweep", *arguments])
    sweep, commands = save_sweep(sweep, command, args.output)
    states = {cell: state_of(cell) for cell in plan(sweep, args.output)}
    report, display = Report(sweep, commands), Display(sweep, states)

    def told(cell: Trial, state: State) -> None:
        display.tell(cell, state)
        if state.kind not in ("queued", "training"):
            try_to_write(report, args.output, states)

    try:
        # What ends this process, such as a batch system or a closed terminal, is to end the
        # trainings.
        with on_signals(end), display:
            # Those that take another's weights come when these are there.
            for wave in ([c for c in wanted if not c.source], [c for c in wanted if c.source]):
                if wave and args.slurm:
                    jobs = args.output / "jobs"
                    run_on_cluster(
                        wave, TRAIN, jobs, parameters, told=told, refresh=display.refresh
                    )
                elif wave:
                    run_here(wave, TRAIN, slots(args.jobs), told=told, refresh=display.refresh)
    except KeyboardInterrupt:
        say("what was trained is saved; the same command goes on", file=sys.stderr)
        raise
    report.write(args.output, states)
    say(f"\n{report.headline(states)}\nreport: {args.output / 'report.html'}, .md, .csv, .tex")
    return 0 if all(states[cell].kind == "done" for cell in asked) else 1


def end(number: int, frame: FrameType | None) -> None:
    """End the work where it is."""
    raise Interrupted(number)


def try_to_write(report: Report, folder: Path, states: dict[Trial, State]) -> None:
    """Write the report of what is there; whatever stands in its way ends no training."""
    try:
        report.write(folder, states)
    except Exception as error:  # of files, data, memory
        say(f"the report cannot be written yet: {error}", file=sys.stderr)


def main_report(arguments: list[str]) -> int:
    """Compare what a sweep has left so far."""
    parser = Parser(prog="roilab sweep report", description=main_report.__doc__)
    parser.add_argument("folder", type=Path, help="what --output named")
    add_trust(parser)
    args = parser.parse_args(arguments)
    trusted.allow(args.trust)
    folder = args.folder
    sweep, commands = load_saved_sweep(folder)
    Report(sweep, commands).write(folder, {cell: state_of(cell) for cell in plan(sweep, folder)})
    say((folder / "report.md").read_text(encoding="utf-8"))
    return 0


def parameter(text: str) -> tuple[str, Any]:
    """`key=value` of an executor, a number or a truth value where it looks like one."""
    key, equals, value = text.partition("=")
    try:
        if equals and key:
            # YAML takes 2:30 for 150.
            return key, value if re.fullmatch(r"[\d:]+:[\d:]+", value) else yaml.safe_load(value)
    except yaml.YAMLError:
        pass
    raise UserError("a parameter cannot be read", key="--slurm", found=text, expected="key=value")


class Display:
    """The cells and how far they are: a live table on a terminal, plain lines elsewhere."""

    def __init__(self, sweep: Sweep, states: dict[Trial, State]) -> None:
        self.metric = sweep.metrics[0]
        self.states = states
        console = Console(stderr=True)
        self.live = Live(self.table(), console=console) if console.is_terminal else None
        self.places = {cell: f"[{place}/{len(states)}]" for place, cell in enumerate(states, 1)}

    def __enter__(self) -> "Display":
        if self.live is not None:
            self.live.start()
        for cell, state in self.states.items():
            if state.kind == "done":
                self.say(cell, "done already")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.update(self.table())
            self.live.stop()

    def tell(self, cell: Trial, state: State) -> None:
        """Note that a cell begins, or what became of it."""
        self.states[cell] = state
        log = f", log in {cell.folder / 'stdout.txt'}" if state.kind == "training" else ""
        self.say(cell, state.text + log)

    def refresh(self) -> None:
        if self.live is not None:
            self.live.update(self.table())

    def table(self) -> Table:
        """A table with the state of every cell."""
        table = Table()
        for title in ("arm", "seed", "iteration", "eta", self.metric, "state"):
            table.add_column(title, justify="left" if title in ("arm", "state") else "right")
        for cell, state in self.states.items():
            progress, total = progress_of(cell), cell.arm.max_iter
            eta, value = "", progress.latest.get(self.metric)
            if state.kind == "training" and progress.seconds and total:
                left = progress.seconds * (total - progress.iterations)
                eta = str(timedelta(seconds=round(left)))
            table.add_row(
                Text(one_line(cell.arm.name)),
                str(cell.seed),
                f"{progress.iterations}/{total}",
                eta,
                "" if value is None else f"{value:.1f}",
                Text(one_line(state.text)),
            )
        return table

    def say(self, cell: Trial, text: str) -> None:
        """A line, where there is no table."""
        if self.live is None:
            say(f"{self.places[cell]} {cell.arm.name}, seed {cell.seed}: {text}", flush=True)
