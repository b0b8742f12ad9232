"""Shared parts of the commands of `roilab data`: label rules, images, and printed problems."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from roilab import skeleton as skeletons
from roilab import via
from roilab.cli.console import say, with_options
from roilab.curation.infer_skeleton import detect_coco_person
from roilab.data.cityscapes import image_folder
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import find_images, fit_all_instances
from roilab.errors import UserError
from roilab.escaping import one_line, printable
from roilab.image_files import ImageFolder
from roilab.skeleton import Skeleton
from roilab.text import counted

# Parameters that messages of these commands name, beside those of all commands.
OPTIONS = {
    **{field.name: f"--{field.name.replace('_', '-')}" for field in fields(via.LabelRules)},
    "skeleton": "--skeleton",
    "classes": "--class",
    "share": "--train",
    "folds": "--folds",
    "files": "FILE",
}
SHOWN = 20  # problems of a severity that are printed


def in_options(problems: Iterable[via.Problem]) -> tuple[via.Problem, ...]:
    """Problems whose remedies name options in place of arguments."""
    return tuple(
        replace(problem, remedy=with_options(problem.remedy, OPTIONS)) for problem in problems
    )


def rules_of(args: argparse.Namespace) -> via.LabelRules:
    """The label rules of the options, without the skeleton."""
    values: dict[str, Any] = {
        field.name: getattr(args, field.name)
        for field in fields(via.LabelRules)
        if field.name in args
    }
    if values["class_attribute"] and len(values["class_attribute"]) == 1:
        (values["class_attribute"],) = values["class_attribute"]
    renamed: dict[str, str | None] = {}
    for pair in values.get("class_map", ()):
        old, equals, new = pair.partition("=")
        if not old or not equals:
            raise UserError(
                "not a renaming",
                key="--class-map",
                found=pair,
                expected="OLD=NEW",
                remedy="write OLD=NEW, or OLD= to drop the class",
            )
        renamed[old] = new or None
    return via.LabelRules(**values | {"class_map": renamed})


def skeleton_of(args: argparse.Namespace, files: Iterable[via.Annotations]) -> Skeleton | None:
    """The skeleton that was named, else COCO's where the points of a file carry its names."""
    if args.skeleton is not None:
        return skeletons.load_skeleton(args.skeleton)
    rules = rules_of(args)
    skeleton = next(filter(None, (detect_coco_person(file, rules) for file in files)), None)
    if skeleton is not None:
        say(f"skeleton: {skeleton.name}, whose names the points carry", file=sys.stderr)
    return skeleton


def folder_of(args: argparse.Namespace, annotations: via.Annotations) -> ImageFolder:
    """The images of a file: in the folders of --images, else beside it."""
    roots = args.images or [image_folder(annotations.file)]
    return ImageFolder(*roots, default_path=annotations.default_path)


def label(
    args: argparse.Namespace, files: Sequence[via.Annotations]
) -> tuple[Skeleton | None, list[via.LabelledSet]]:
    """The skeleton, and the files with the instances that lie in their images, as in training.

    Where an image cannot be used, all its instances stay.
    """
    with working("labelling"):
        rules, skeleton = rules_of(args), skeleton_of(args, files)
        labelled = [via.build_instances(file, rules, skeleton) for file in files]
        located = find_images([(file, folder_of(args, file)) for file in files])
        return skeleton, [
            fit_all_instances(file, images.places)
            for file, images in zip(labelled, located, strict=True)
        ]


def working(text: str) -> Status:
    """Within the block, show a line on a terminal, nothing elsewhere."""
    return Console(stderr=True).status(escape(printable(f"{text} ...")))


def read_all(files: Iterable[Path]) -> list[via.Annotations]:
    """Read files one after the other."""
    annotations = []
    for file in files:
        with working(f"reading {file}"):
            annotations.append(read_annotations(file))
    return annotations


def print_problems(problems: Iterable[via.Problem]) -> None:
    """Print the problems, the most severe first; long lists are cut."""
    problems = in_options(problems)
    for severity in via.SEVERITIES:
        listed = [problem for problem in problems if problem.severity == severity]
        for problem in listed[:SHOWN]:
            place = [
                problem.image or Path(problem.file).name,
                None if problem.region is None else f"region {problem.region}",
                problem.attribute and f"attribute {problem.attribute}",
            ]
            say(one_line(f"{severity}: {', '.join(filter(None, place))}"))
            say(f"  {one_line(problem.message)}")
            if problem.remedy:
                say(f"  remedy: {one_line(problem.remedy)}")
        if len(listed) > SHOWN:
            say(f"... and {counted(len(listed) - SHOWN, f'more {severity}')}")


def count_of(problems: Iterable[via.Problem]) -> str:
    """Count the problems of each severity, in words."""
    counts = Counter(problem.severity for problem in problems)
    return ", ".join(counted(counts[severity], severity) for severity in via.SEVERITIES)


def status_of(problems: Iterable[via.Problem]) -> int:
    """The exit status: 1 where something is left out."""
    return int(any(problem.severity == "error" for problem in problems))


def refuse_to_overwrite(path: Path, sources: Iterable[Path]) -> None:
    """Refuse to overwrite a source, or a file that somebody may have corrected by hand.

    Raises:
        UserError: there is a file already, or a folder.
    """
    if path.is_dir():
        raise UserError(
            "the file to write is a folder", file=path, remedy="give the name of a file in it"
        )
    if path.exists():
        is_source = any(source.exists() and path.samefile(source) for source in sources)
        raise UserError(
            "the file would be written over",
            file=path,
            found="a file that is read" if is_source else "a file",
            remedy="give another name" if is_source else "give another name, or remove it first",
        )
