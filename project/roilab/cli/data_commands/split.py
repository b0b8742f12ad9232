"""Divide an annotation file into train and val, two VIA 2 projects.

Which part an image is in follows from its content and the seed, whatever its name and its place in
the file; copies of one picture stay together, and each class is divided by the same share, in both
parts where it can be. Images that are not there are told apart by name and size. A class that is
text becomes a dropdown.
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

from roilab import via
from roilab.cli.console import say
from roilab.cli.data_commands.common import (
    add_images,
    add_labels,
    fitting,
    folder_of,
    print_problems,
    progress,
    read_all,
    refuse_to_overwrite,
    rules_of,
    skeleton_of,
    status_of,
    with_class_choice,
    working,
)
from roilab.cli.options import option
from roilab.curation.split import divide
from roilab.text import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `split`."""
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
    (annotations,) = read_all([args.file])
    with working("labelling"):
        rules, skeleton = rules_of(args), skeleton_of(args, [annotations])
        (labelled,) = fitting(
            args, [annotations], [via.build_instances(annotations, rules, skeleton)]
        )
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
        lost = counted(missing, "image is", "images are")
        message = f"{lost} not in {folder}: copies among them are not recognised"
        problems.append(
            via.Problem("warning", message, "give the folder that holds them", annotations.file)
        )
    problems += _in_one_part(labelled, chosen)
    declared, more = with_class_choice(annotations, rules, skeleton)
    problems += more
    for target, is_train in zip(targets, (True, False), strict=True):
        images = tuple(each for each in declared.images if (each.key in chosen) is is_train)
        with working(f"writing {target}"):
            problems += via.write_project(target, replace(declared, images=images), target.stem)
    print_problems(problems)
    _print_table(labelled, chosen)
    found = counted(copies, "image is a copy of another", "images are copies of others")
    say(f"{found}, in the same part")
    say(*targets, sep="\n")
    return status_of(problems)


def _in_one_part(labelled: via.LabelledSet, chosen: set[str]) -> list[via.Problem]:
    """Warnings of classes that one part lacks: nothing is learnt of them, or nothing measured."""
    images: dict[str, list[bool]] = {name: [] for name in labelled.classes}
    for image in labelled.images:
        for name in {each.label for each in image.instances}:
            images[name].append(image.record.key in chosen)
    return [
        via.Problem(
            severity="warning",
            message=f"the class '{name}' is in {'train' if parts[0] else 'val'} only, "
            f"in {counted(len(parts), 'image')}",
            remedy="annotate more images of it, or drop it with "
            f"{option('--class-map', {name: None})}",
            file=labelled.file,
        )
        for name, parts in images.items()
        if len(set(parts)) == 1
    ]


def _print_table(labelled: via.LabelledSet, chosen: set[str]) -> None:
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for image in labelled.images:
        part = counts[image.record.key in chosen]
        part["images"] += 1
        part.update(each.label for each in image.instances)
    rows = ["images", *labelled.classes]
    width = max(map(len, rows)) + 2
    say(f"{'':<{width}}{'train':>8}{'val':>8}{'share':>8}")
    for row in rows:
        train, val = counts[True][row], counts[False][row]
        say(f"{row:<{width}}{train:>8}{val:>8}{train / max(1, train + val):>8.2f}")
