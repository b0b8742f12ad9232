"""Count what annotation files hold: images, classes, sizes, keypoints, and what occurs together.

Several files are counted together. What lies outside its image is left out, as in training, where
the image is there. --html writes the same as a page with plots.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from roilab import via
from roilab.cli.console import say
from roilab.cli.data_commands.common import (
    add_images,
    add_labels,
    count_of,
    fitting,
    output_file,
    progress,
    read_all,
    rules_of,
    skeleton_of,
    working,
)
from roilab.curation.stats import SIZES, Stats, statistics
from roilab.files import write_whole
from roilab.reporting import statistics_page
from roilab.text import counted

_SHOWN = 30  # how many of many rows of a table are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `stats`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="annotation files")
    add_images(parser)
    parser.add_argument("--html", type=output_file, metavar="OUT", help="write a page with plots")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the numbers")
    add_labels(parser)


def main(args: argparse.Namespace) -> int:
    """Count and print."""
    files = read_all(args.files)
    with working("labelling"):
        skeleton = skeleton_of(args, files)
        labelled = fitting(
            args, files, [via.build_instances(e, rules_of(args), skeleton) for e in files]
        )
    stats = statistics(list(zip(files, labelled, strict=True)), skeleton, progress)
    _print(stats)
    problems = [problem for each in labelled for problem in each.problems]
    if problems:
        say(f"\n{count_of(problems)}: see check")
    if args.json is not None:
        write_whole(args.json, json.dumps(stats.to_dict(), indent=2) + "\n")
    if args.html is not None:
        write_whole(args.html, statistics_page(stats))
        say(f"\npage: {args.html}")
    return 0


def _print(stats: Stats) -> None:
    crowds = f", {counted(stats.crowds, 'crowd')}" if stats.crowds else ""
    say(
        f"{counted(stats.images, 'image')}, {stats.empty_images} of them empty, "
        f"{counted(stats.instances, 'instance')}{crowds}"
    )
    _table(("shape", "regions"), stats.shapes.items())
    _table(
        ("class", "instances", "images", *SIZES, "area", "median area"),
        (
            (name, each.instances, each.images, *each.sizes, each.area, each.median_area)
            for name, each in stats.classes.items()
        ),
    )
    _table(("instances in an image", "images"), stats.per_image.items())
    _table(
        ("side of the box, pixels", "instances"),
        ((f"{2**k} to {2 ** (k + 1)}", count) for k, count in stats.box_sides.items()),
    )
    if stats.keypoints:
        _table(
            ("keypoint", "visible", "occluded", "not labelled"),
            ((name, *counts) for name, counts in stats.keypoints.items()),
        )
    pairs = [(f"{a} and {b}", count) for (a, b), count in stats.together.items() if a != b]
    if pairs:
        _table(("classes in one image", "images"), pairs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    """Names to the left, numbers to the right, under a head."""
    rows = list(rows)
    cells = [
        [each if isinstance(each, str) else f"{each:,.0f}" for each in row] for row in rows[:_SHOWN]
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    say()
    for row in (head, *cells):
        name, *numbers = row
        right = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
        say("  ".join((f"{name:<{widths[0]}}", *right)))
    if len(rows) > _SHOWN:
        say(f"... and {len(rows) - _SHOWN} more")
