"""Train every arm with every seed and compare them: one process and one run folder each.

python scripts/sweep.py --base configs/figures_mask_keypoint.py \\
    --arm RoIPool:pooler.op=RoIPool --arm RoIAlign:pooler.op=RoIAlign \\
    --seeds 0,1 --output outputs/sweep_pooler

Calling it again skips what is done, continues what was cut and tries again what failed.
"""

import argparse
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from _main import run

import torch

from roilab.engine import config
from roilab.sweep import parse_arm, parse_seeds, plan, prepare_cell, report, run_cell, state_of

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
    for arm in arms:
        # A typo should cost no training.
        config.load(args.base, [*args.overrides, *arm.overrides])
    states = {cell: state_of(cell) for cell in cells}
    command = shlex.join(["python", "scripts/sweep.py", *sys.argv[1:]])
    path = args.output / "report.md"
    for number, cell in enumerate(cells, 1):
        place = f"[{number}/{len(cells)}] {cell.arm.name}, seed {cell.seed}"
        if states[cell].kind == "done":
            print(f"{place}: done already")
            continue
        print(f"{place}: training, log in {cell.folder / 'stdout.txt'}", flush=True)
        prepare_cell(cell)
        states[cell] = run_cell(cell, [sys.executable, str(ROOT / "scripts/train.py")])
        config.write_text(path, report(command, circumstances(), states))
        print(f"{place}: {states[cell].error or states[cell].kind}")
    config.write_text(path, report(command, circumstances(), states))
    print(f"\n{path.read_text(encoding='utf-8')}\nreport: {path}")
    return 0 if all(state.kind == "done" for state in states.values()) else 1


def circumstances() -> str:
    """The commit and the hardware, in a line."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"
    )
    return f"Commit {found.stdout.strip() or 'unknown'}, torch {torch.__version__}, {device}."


if __name__ == "__main__":
    run(main)
