"""Divide an annotation file into train and val, two VIA 2 projects.

Which part an image is in follows from its content and the seed, whatever its name and its place in
the file; copies of one picture stay together, and each class is divided by the same share. Images
that are not there are told apart by name and size.
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

from data_commands.common import (
    add_images,
    add_labels,
    folder_of,
    print_problems,
    progress,
    refuse_to_overwrite,
    rules_of,
    skeleton_of,
    status_of,
)
from roilab import via
from roilab.data.read import read
from roilab.data.split import divide


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `split` takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the annotation file")
    parser.add_argument(
        "--train", type=float, default=0.8, metavar="SHARE", help="of the images (default: 0.8)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the division (default: 0)")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for train.json and val.json (default: that of the file)",
    )
    add_images(parser)
    add_labels(parser)


def main(args: argparse.Namespace) -> int:
    """Divide, write both parts, and print what they hold."""
    output = args.output or args.file.parent
    targets = [output / "train.json", output / "val.json"]
    for target in targets:
        refuse_to_overwrite(target, [args.file])
    annotations = read(args.file)
    labelled = via.label(annotations, rules_of(args), skeleton_of(args, [annotations]))
    folder = folder_of(args, annotations)
    chosen, copies, missing = divide(
        labelled,
        lambda record: folder.find(record.filename, record.size),
        args.train,
        args.seed,
        progress,
    )
    problems = list(labelled.problems)
    if missing:
        message = f"{missing} images are not in {folder}: copies among them are not recognised"
        problems.append(
            via.Problem("warning", message, "give the folder that holds them", annotations.file)
        )
    declared = via.with_declarations(annotations)
    for target, is_train in zip(targets, (True, False), strict=True):
        images = tuple(each for each in declared.images if (each.key in chosen) is is_train)
        problems += via.write_project(target, replace(declared, images=images), target.stem)
    print_problems(problems)
    _print_table(labelled, chosen)
    print(f"{copies} images are copies of others and lie in the same part as those")
    print(*targets, sep="\n")
    return status_of(problems)


def _print_table(labelled: via.LabelledSet, chosen: set[str]) -> None:
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for image in labelled.images:
        part = counts[image.record.key in chosen]
        part["images"] += 1
        part.update(each.label for each in image.instances)
    rows = ["images", *labelled.classes]
    width = max(map(len, rows)) + 2
    print(f"{'':<{width}}{'train':>8}{'val':>8}{'share':>8}")
    for row in rows:
        train, val = counts[True][row], counts[False][row]
        print(f"{row:<{width}}{train:>8}{val:>8}{train / max(1, train + val):>8.2f}")
