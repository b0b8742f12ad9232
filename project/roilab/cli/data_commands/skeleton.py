"""Propose a skeleton file from the points of annotation files.

Names and links are those that a COCO file declares; else the names come in order of their
frequency, and links are left for you to fill in. Swaps come from left and right. With --sigmas and
files of several people about the same images, the sigmas of OKS are estimated from how far their
points lie apart.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roilab import skeleton as skeletons
from roilab import via
from roilab.cli.console import say
from roilab.cli.data_commands.common import (
    add_labels,
    output_file,
    read_all,
    refuse_to_overwrite,
    rules_of,
    working,
)
from roilab.curation.infer_skeleton import estimate_sigmas, propose, with_sigmas
from roilab.files import write_whole
from roilab.skeleton import DEFAULT_SIGMA, Skeleton
from roilab.text import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `skeleton`."""
    parser.add_argument(
        "--from",
        dest="files",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="annotation files; with --sigmas, one a person",
    )
    parser.add_argument("--sigmas", action="store_true", help="estimate the sigmas of OKS")
    parser.add_argument(
        "--class",
        dest="classes",
        nargs="+",
        default=[],
        metavar="C",
        help="classes that have these keypoints (default: found)",
    )
    parser.add_argument(
        "--output", type=output_file, metavar="S.json", help="default: the terminal"
    )
    add_labels(parser)


def main(args: argparse.Namespace) -> int:
    """Propose, estimate, write, and say what is left to do."""
    if args.output is not None:
        refuse_to_overwrite(args.output, args.files)
    files = read_all(args.files)
    if args.skeleton is not None:
        proposed = skeletons.load_skeleton(args.skeleton)
    else:
        name = args.output.stem if args.output is not None else "skeleton"
        with working("counting points"):
            proposed = propose(files, name, args.keypoint_attribute, args.classes)
            if not args.classes:
                proposed = _with_found_classes(args, files, proposed)
    if args.sigmas:
        with working("comparing points"):
            labelled = [via.build_instances(each, rules_of(args), proposed) for each in files]
            sigmas = estimate_sigmas(labelled, proposed)
        proposed = with_sigmas(proposed, sigmas)
        for keypoint in proposed.keypoints:
            found = sigmas.get(keypoint)
            text = (
                f"{found.value:.4f} from {counted(found.objects, 'object')}"
                if found
                else "not repeated"
            )
            say(f"sigma of {keypoint}: {text}", file=sys.stderr)
    text = json.dumps(proposed.to_dict(), indent=2) + "\n"
    if args.output is not None:
        write_whole(args.output, text)
        say(f"skeleton: {args.output}")
    else:
        say(text, end="")
    links = "" if proposed.links else ", and fill in links (pairs of names that pictures join)"
    say(
        f"look at classes ({', '.join(proposed.classes)}) and swaps{links}"
        + ("" if args.sigmas else f"; a sigma of {DEFAULT_SIGMA} is a guess"),
        file=sys.stderr,
    )
    return 0


def _with_found_classes(
    args: argparse.Namespace, files: Sequence[via.Annotations], proposed: Skeleton
) -> Skeleton:
    """The skeleton with the classes that own labelled keypoints when every class may have them."""
    rules = rules_of(args)
    every = {name for file in files for name in via.build_instances(file, rules, proposed).classes}
    if not every:
        return proposed
    candidate = replace(proposed, classes=tuple(sorted(every)))
    owners = {
        instance.label
        for file in files
        for image in via.build_instances(file, rules, candidate).images
        for instance in image.instances
        if any(v for _, _, v in instance.keypoints or ())
    }
    return replace(candidate, classes=tuple(sorted(owners or every)))
