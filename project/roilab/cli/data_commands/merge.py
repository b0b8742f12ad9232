"""Join annotation files of any kind into one VIA 2 project.

An image that is in two files with the same regions is kept once; with different ones that is an
error, and the first is kept. Attributes and their options are united; the class, whatever each file
calls it, gets the name that it has in the first, as do keypoints and what ties and hides them. So
corrected predictions can be joined to what the model was trained with. A class that is text becomes
a dropdown.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from roilab import skeleton as skeletons
from roilab import via
from roilab.cli.console import say
from roilab.cli.data_commands.common import (
    add_roles,
    count_of,
    output_file,
    print_problems,
    progress,
    read_all,
    refuse_to_overwrite,
    rules_of,
    status_of,
    with_class_choice,
    working,
)
from roilab.curation.check import fitting_skeleton
from roilab.curation.harmonize_attributes import own_rules
from roilab.curation.merge import merge
from roilab.skeleton import Skeleton
from roilab.text import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `merge`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="annotation files")
    parser.add_argument(
        "--output", required=True, type=output_file, metavar="OUT", help="the project to write"
    )
    add_roles(parser)


def main(args: argparse.Namespace) -> int:
    """Read, join, write, and say what did not fit."""
    refuse_to_overwrite(args.output, args.files)
    sources = read_all(args.files)
    rules = rules_of(args)
    skeleton = _skeleton(args, sources, rules)
    merged = merge(sources, str(args.output), rules, skeleton, progress)
    merged, more = with_class_choice(merged, own_rules(merged, rules), skeleton)
    problems = [*merged.problems, *more]
    with working(f"writing {args.output}"):
        problems += via.write_project(args.output, merged, args.output.stem)
    print_problems(problems)
    regions = sum(len(image.regions) for image in merged.images)
    counts = f"{counted(len(merged.images), 'image')}, {counted(regions, 'region')}"
    say(f"{args.output}: {counts}, {count_of(problems)}")
    return status_of(problems)


def _skeleton(
    args: argparse.Namespace, sources: Sequence[via.Annotations], rules: via.LabelRules
) -> Skeleton | None:
    """The skeleton that was named, else COCO's where it fits a file, whose names may be its own."""
    if args.skeleton is not None:
        return skeletons.load_skeleton(args.skeleton)
    declared = map(via.with_declarations, sources)
    found = (fitting_skeleton(each, own_rules(each, rules)) for each in declared)
    return next(filter(None, found), None)
