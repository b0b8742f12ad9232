"""Join annotation files of any kind into one VIA 2 project.

An image that is in two files with the same regions is kept once; with different ones that is an
error, and the first is kept. Attributes and their options are united.
"""

import argparse
from pathlib import Path

from data_commands.common import count_of, print_problems, refuse_to_overwrite, status_of
from roilab import via
from roilab.data.merge import merge
from roilab.data.read import read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `merge` takes."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="annotation files")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="OUT", help="the project to write"
    )


def main(args: argparse.Namespace) -> int:
    """Read, join, write, and say what did not fit."""
    refuse_to_overwrite(args.output, args.files)
    merged = merge([read(file) for file in args.files], str(args.output))
    problems = [*merged.problems, *via.write_project(args.output, merged, args.output.stem)]
    print_problems(problems)
    regions = sum(len(image.regions) for image in merged.images)
    print(f"{args.output}: {len(merged.images)} images, {regions} regions, {count_of(problems)}")
    return status_of(problems)
