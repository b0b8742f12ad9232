"""Draw the sample set: scenes with people and cars, annotated in one VIA 2 project a split.

    python scripts/make_figures.py --out datasets/figures

A second call with the same arguments finds the set and draws nothing.
"""

import shlex
from pathlib import Path

from _arguments import Parser
from _main import run

from rich.console import Console
from rich.progress import Progress

from roilab.data.figures import write_figures


def main() -> int:
    """Draw it and say where it is."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--train", type=int, default=800, metavar="N", help="training images")
    parser.add_argument("--val", type=int, default=64, metavar="N", help="validation images")
    parser.add_argument("--size", type=int, default=256, metavar="S", help="pixels a side")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="same seed, same bytes")
    options = parser.parse_args()

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=options.train + options.val)
        paths = write_figures(
            options.out,
            train=options.train,
            val=options.val,
            size=options.size,
            seed=options.seed,
            progress=lambda done: bar.update(task, completed=done),
        )
    if paths.reused:
        print(f"Already drawn; delete {options.out} to start over.")
    for path in (paths.train, paths.val, paths.skeleton):
        print(path)
    val = [str(paths.val), "--images", str(paths.val.parent), "--skeleton", str(paths.skeleton)]
    print(f"Next: {shlex.join(['python', 'scripts/data.py', 'draw', *val])}")
    return 0


if __name__ == "__main__":
    run(main)
