"""Shared parts of the commands of `roilab data`: label rules, images, and printed problems."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from roilab import skeleton as skeletons
from roilab import via
from roilab.cli.console import say, with_options
from roilab.curation.harmonize_attributes import with_class_dropdown, with_united_class
from roilab.curation.infer_skeleton import detect_coco_person
from roilab.data.mask_to_polygons import read_annotations
from roilab.data.usable_images import find_images, fit_all_instances
from roilab.errors import UserError
from roilab.escaping import one_line
from roilab.image_files import ImageFolder
from roilab.skeleton import Skeleton
from roilab.text import counted

T = TypeVar("T")
# Parameters that messages of these commands name, beside those of all commands.
OPTIONS = {
    **{field.name: f"--{field.name.replace('_', '-')}" for field in fields(via.LabelRules)},
    "skeleton": "--skeleton",
    "classes": "--class",
    "share": "--train",
}
SHOWN = 20  # problems of a severity that are printed


def in_options(problems: Iterable[via.Problem]) -> tuple[via.Problem, ...]:
    """Problems whose remedies name options in place of arguments."""
    return tuple(
        replace(problem, remedy=with_options(problem.remedy, OPTIONS)) for problem in problems
    )


def rules_of(args: argparse.Namespace) -> via.LabelRules:
    """The label rules of the options, without the skeleton."""
    return via.LabelRules(
        class_attribute=_class_attribute(args.class_attribute),
        class_map=_class_map(args.class_map),
        default_class=args.default_class,
        keypoint_attribute=args.keypoint_attribute,
        instance_attribute=args.instance_attribute,
        visibility_attribute=args.visibility_attribute,
        unlabelled=args.unlabelled,
        keypoint_vertices=args.keypoint_vertices,
    )


def skeleton_of(
    args: argparse.Namespace, annotations: Iterable[via.Annotations]
) -> Skeleton | None:
    """The skeleton that was named, else COCO's where the points of a file carry its names."""
    if args.skeleton is not None:
        return skeletons.load_skeleton(args.skeleton)
    rules = rules_of(args)
    skeleton = next(filter(None, (detect_coco_person(file, rules) for file in annotations)), None)
    if skeleton is not None:
        say(f"skeleton: {skeleton.name}, whose names the points carry", file=sys.stderr)
    return skeleton


def folder_of(args: argparse.Namespace, annotations: via.Annotations) -> ImageFolder:
    """The images of a file: in the folders of --images, else beside it."""
    roots = args.images or [Path(annotations.file).parent]
    return ImageFolder(*roots, default_path=annotations.default_path)


def fitting(
    args: argparse.Namespace,
    annotations: Sequence[via.Annotations],
    labelled: Sequence[via.LabelledSet],
) -> list[via.LabelledSet]:
    """The files with the instances that lie in their images, as training takes them.

    Where an image cannot be used, all its instances stay.
    """
    located = find_images([(file, folder_of(args, file)) for file in annotations])
    return [
        fit_all_instances(file, images.places)[0]
        for file, images in zip(labelled, located, strict=True)
    ]


def progress(items: Sequence[T], unit: str = "image") -> Iterable[T]:
    """A bar on a terminal, nothing elsewhere."""
    return tqdm(items, unit=unit, disable=not sys.stderr.isatty(), leave=False)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show a line on a terminal during work that takes long, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield
        return
    say(f"{text} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def read_all(files: Iterable[Path]) -> list[via.Annotations]:
    """Read files one after the other."""
    annotations = []
    for file in files:
        with working(f"reading {file}"):
            annotations.append(read_annotations(file))
    return annotations


def with_class_choice(
    annotations: via.Annotations, rules: via.LabelRules, skeleton: Skeleton | None
) -> tuple[via.Annotations, list[via.Problem]]:
    """The file with all attributes declared, and its class as a dropdown; a note where it has none.

    VIA exports only dropdowns to COCO.
    """
    declared = via.with_declarations(annotations)
    if not declared.region_attributes:
        return declared, []
    named = rules.class_attribute
    if isinstance(named, str) and named in declared.region_attributes:
        return with_class_dropdown(declared, named), []
    try:
        roles = via.roles_of(annotations, rules, skeleton)
    except UserError as error:
        message = f"the class does not become a dropdown of VIA: {error.message}"
        remedy = "give --class-attribute NAME, or make it a dropdown in VIA to export COCO there"
        return declared, [via.Problem("note", message, remedy, annotations.file)]
    attribute = roles.label
    if roles.flags:
        declared, attribute = with_united_class(declared, roles.flags)
    return (with_class_dropdown(declared, attribute) if attribute else declared), []


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


def _class_attribute(names: Sequence[str] | None) -> str | Sequence[str] | None:
    if names is None or len(names) == 1:
        return names[0] if names else None
    return names


def _class_map(pairs: Iterable[str]) -> dict[str, str | None]:
    result: dict[str, str | None] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not old or not equals:
            raise UserError(
                "not a renaming",
                key="--class-map",
                found=pair,
                expected="OLD=NEW",
                remedy="write OLD=NEW, or OLD= to drop the class",
            )
        result[old] = new or None
    return result
