"""Train every arm with every seed and compare them: one process and one run folder each.

python scripts/sweep.py --base configs/figures_mask_keypoint.py \\
    --arm RoIPool:pooler.op=roi_pool --arm RoIAlign:pooler.op=roi_align \\
    --seeds 0,1 --output outputs/sweep_pooler

Calling it again skips what is done, continues what was cut and tries again what failed.
"""

import argparse
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from _main import run

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from roilab.engine import config
from roilab.sweep import Cell, State, parse_arm, parse_seeds, plan, report, run_cell, state_of

ROOT = Path(__file__).resolve().parent.parent


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", required=True, help="the config that every arm starts from")
    parser.add_argument(
        "--arm",
        required=True,
        action="append",
        metavar="NAME:KEY=VALUE[,KEY=VALUE]",
        help="a setting to compare; the first is the baseline",
    )
    parser.add_argument("--seeds", default="0", help="comma-separated, such as 0,1,2")
    parser.add_argument("--output", required=True, type=Path, help="folder of the sweep")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of all arms")
    return parser.parse_args(arguments)


def main() -> int:
    args = parse(sys.argv[1:])
    arms = [parse_arm(text) for text in args.arm]
    cells = plan(args.base, arms, parse_seeds(args.seeds), args.overrides, args.output)
    # A typo should cost no training.
    lengths = {cell: length(cell) for cell in cells}
    states = {cell: state_of(cell) for cell in cells}
    command = shlex.join(["python", "scripts/sweep.py", *sys.argv[1:]])
    told = circumstances()
    path = args.output / "report.md"

    def write() -> None:
        config.write_text(path, report(command, told, states))

    # What ends this process, such as a batch system, is to end the training too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    train = [sys.executable, str(ROOT / "scripts/train.py")]
    with Display(lengths, states) as display:
        for cell in cells:
            if states[cell].kind == "done":
                continue
            write()
            try:
                states[cell] = run_cell(cell, train, display.start(cell))
            except KeyboardInterrupt:
                states[cell] = state_of(cell)
                write()
                raise
            display.end(cell, states[cell])
    write()
    print(f"\n{path.read_text(encoding='utf-8')}\nreport: {path}")
    return 0 if all(state.kind == "done" for state in states.values()) else 1


def length(cell: Cell) -> int | None:
    """How many iterations a cell has to train."""
    return config.load(cell.base, cell.overrides).train.get("max_iter")


class Display:
    """The cells and how far they are: live bars on a terminal, plain lines elsewhere."""

    def __init__(self, lengths: dict[Cell, int | None], states: dict[Cell, State]) -> None:
        console = Console(stderr=True)
        self.live = console.is_terminal
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=console,
            disable=not self.live,
        )
        self.tasks: dict[Cell, TaskID] = {}
        self.places = {cell: f"[{place}/{len(states)}]" for place, cell in enumerate(states, 1)}
        for cell, state in states.items():
            self.tasks[cell] = self.bars.add_task(
                f"{cell.arm.name}, seed {cell.seed}",
                start=False,
                total=lengths[cell],
                completed=state.iterations,
                state=shown(state),
            )
            if state.kind == "done":
                self.say(cell, "done already")

    def __enter__(self) -> "Display":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def start(self, cell: Cell) -> Callable[[int], None]:
        """Show that a cell trains; the result takes its number of iterations."""
        self.say(cell, f"training, log in {cell.folder / 'stdout.txt'}")
        self.bars.start_task(self.tasks[cell])
        self.bars.update(self.tasks[cell], state="training")
        return lambda done: self.bars.update(self.tasks[cell], completed=done)

    def end(self, cell: Cell, state: State) -> None:
        """Show what became of a cell."""
        self.bars.update(self.tasks[cell], completed=state.iterations, state=shown(state))
        self.bars.stop_task(self.tasks[cell])
        self.say(cell, shown(state))

    def say(self, cell: Cell, text: str) -> None:
        """A line, where there are no bars."""
        if not self.live:
            print(f"{self.places[cell]} {cell.arm.name}, seed {cell.seed}: {text}", flush=True)


def shown(state: State) -> str:
    """A state in few words."""
    return f"failed: {state.error}" if state.kind == "failed" else state.kind


def circumstances() -> str:
    """The commit, torch and the hardware, in a sentence."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    commit = found.stdout.strip() or "unknown"
    return f"Commit {commit}, torch {torch.__version__}, {hardware()}."


def hardware() -> str:
    """The GPU, or the CPU and its cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} CPU cores"


if __name__ == "__main__":
    run(main)
