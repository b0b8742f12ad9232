"""List what is wrong in annotation files and with their images, the most severe first.

An error leaves something out, a warning may be a mistake, a note counts what is left out as asked
or says how an attribute is read.
The exit status is 0 where there is no error and 1 where there is.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from roilab import via
from roilab.cli.console import say
from roilab.cli.data_commands.common import (
    add_images,
    add_labels,
    count_of,
    folder_of,
    in_options,
    output_file,
    print_problems,
    progress,
    rules_of,
    skeleton_of,
)
from roilab.curation.check import Findings, examine, refused
from roilab.data.read import read
from roilab.data.resolve_images import locate
from roilab.errors import UserError
from roilab.files import write_whole
from roilab.text import counts_line

_SHOWN = 20  # how many of many classes are listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `check`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="annotation files")
    add_images(parser)
    parser.add_argument(
        "--json", type=output_file, metavar="OUT", help="write the findings there as well"
    )
    add_labels(parser)


def main(args: argparse.Namespace) -> int:
    """Examine the files, print the problems and a summary of each."""
    rules = rules_of(args)
    sources: dict[Path, via.Annotations | UserError] = {}
    for file in args.files:
        try:
            sources[file] = read(file)
        except UserError as error:
            sources[file] = error
    readable = [each for each in sources.values() if isinstance(each, via.Annotations)]
    skeleton = skeleton_of(args, readable)
    folders = {each.file: folder_of(args, each) for each in readable}
    # Files that are checked together are used together: two of them may hold one image.
    found = locate([(each, folders[each.file]) for each in readable])
    located = {each.file: images for each, images in zip(readable, found, strict=True)}
    findings = [
        refused(file, source)
        if isinstance(source, UserError)
        else examine(source, folders[source.file], rules, skeleton, progress, located[source.file])
        for file, source in sources.items()
    ]
    if args.json is not None:
        shown = [replace(each, problems=in_options(each.problems)) for each in findings]
        data = {"files": [each.to_dict() for each in shown]}
        write_whole(args.json, json.dumps(data, indent=2) + "\n")
    print_problems(problem for each in findings for problem in each.problems)
    for each in findings:
        _print_summary(each)
    return int(any(each.errors for each in findings))


def _print_summary(findings: Findings) -> None:
    rows = {
        "file": f"{findings.file} ({findings.container})",
        "images": f"{findings.images}, {findings.empty_images} of them empty",
        "regions": findings.regions,
        "instances": findings.instances,
        **({"crowds": findings.crowds} if findings.crowds else {}),
        "keypoints": findings.keypoints,
        "classes": counts_line(findings.classes, _SHOWN) or "none",
        "shapes": counts_line(findings.shapes, _SHOWN) or "none",
        "problems": count_of(findings.problems),
    }
    say()
    for name, value in rows.items():
        say(f"{name:<11}{value}")
